"""Each sensor once; what they wait for comes in the run's configuration."""

from datetime import timedelta

from airflow.sdk import DAG, Asset, task

from headnode import NoMaintenanceSensor, RemotePathSensor, SlurmJobSensor, SlurmPartitionSensor

with DAG("sensors", schedule=None, params={"folder": "/nowhere", "job_id": "0", "job_name": "none"}):
    SlurmJobSensor(task_id="job_by_id", job_id="{{ params.job_id }}")
    SlurmJobSensor(task_id="job_by_name", job_name="{{ params.job_name }}", submitted_within=timedelta(minutes=30))
    SlurmJobSensor(task_id="no_such_job", job_name="{{ params.job_name }}.never", wait_for_job=False)
    SlurmPartitionSensor(task_id="partition", partition="gpu", free_nodes=1, free_gpus=2)
    SlurmPartitionSensor(task_id="no_such_partition", partition="nowhere", free_nodes=1)
    SlurmPartitionSensor(task_id="skipped", partition="nowhere", free_nodes=1, soft_fail=True)
    path = RemotePathSensor(
        task_id="path", path="{{ params.folder }}/it's here", non_empty=True, stable_for=timedelta(seconds=2)
    )
    RemotePathSensor(task_id="event", path="{{ params.folder }}", outlets=[Asset("sensed")])
    RemotePathSensor(task_id="too_late", path="{{ params.folder }}/never", timeout=1)
    NoMaintenanceSensor(task_id="maintenance", within=timedelta(hours=1))
    NoMaintenanceSensor(task_id="maintenance_elsewhere", within=timedelta(hours=1), partition="gpu")

    @task
    def use(found):
        """Take what a sensor found, as another task gets it."""
        return found["size"]

    use(path.output)
