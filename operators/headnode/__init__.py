"""headnode: Apache Airflow plans, Slurm on the supercomputer runs, one head node between them."""
