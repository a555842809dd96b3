"""What runs in Airflow's triggerer. Class paths and arguments are stored while tasks are deferred: they are API."""
