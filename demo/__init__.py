"""The demonstration behind ``make demo``: a private Slurm cluster, a private Airflow, one land-cover map."""
