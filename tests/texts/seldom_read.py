"""Settings of tests' Airflows whose DAG files do not change by themselves: reading them again takes half of a core."""

SELDOM_READ = {
    # A file that changes is read again at the next refresh all the same.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
}
