"""Pages of headnode in the Airflow UI."""
