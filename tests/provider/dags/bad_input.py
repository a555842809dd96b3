"""Tasks that can't work, for reasons that only show when they run. A retry would help none of them."""

from datetime import timedelta

from airflow.sdk import DAG

from headnode import SlurmJobOperator, SlurmJobSensor

with DAG("bad_input", schedule=None, max_active_tasks=32, default_args={"retries": 5, "retry_delay": timedelta(0)}):
    SlurmJobOperator(task_id="unknown_partition", command="true", partition="fastest")
    SlurmJobOperator(task_id="wrong_key", command="true", slurm_conn_id="stranger")
    SlurmJobOperator(task_id="unknown_host_key", command="true", slurm_conn_id="unknown_host")
    SlurmJobOperator(task_id="missing_connection", command="true", slurm_conn_id="absent")
    SlurmJobOperator(task_id="unchecked_host_key", command="true", slurm_conn_id="unchecked")
    SlurmJobOperator(task_id="rendered_time_limit", command="true", time_limit="{{ 'soon' }}")
    SlurmJobOperator(task_id="rendered_job_name", command="true", job_name="{{ 'two\nlines' }}")
    SlurmJobOperator(task_id="rendered_in_triggerer", command="true", nodes="{{ 'no' }}", start_from_trigger=True)
    SlurmJobOperator(task_id="rendered_code", command="true", code="{{ 'nowhere' }}")
    SlurmJobOperator(task_id="missing_for_triggerer", command="true", slurm_conn_id="absent", start_from_trigger=True)
    SlurmJobSensor(task_id="sensor_without_id", job_id="{{ 'none' }}")
    SlurmJobOperator(
        task_id="refusing",
        command="true",
        slurm_conn_id="refusing",
        outage_tolerance=timedelta(seconds=4),
        retries=0,
    )
