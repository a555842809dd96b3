"""Inputs go up, a job with code that is too large for a trigger reads them, and its output comes back."""

from airflow.sdk import DAG

from headnode import DownloadOperator, SlurmJobOperator, UploadOperator

with DAG("staging", schedule=None, params={"inputs": "jobs", "code": "jobs", "results": "/nowhere"}):
    send = UploadOperator(
        task_id="send", source="{{ params.inputs }}", destination="staging/{{ dag_run.run_id }}/inputs"
    )
    job = SlurmJobOperator(
        task_id="job",
        command=["bash", "count.sh", "{{ ti.xcom_pull('send')['path'] }}"],
        code="{{ params.code }}",
    )
    fetch = DownloadOperator(
        task_id="fetch", source="staging/{{ dag_run.run_id }}/inputs/counted", destination="{{ params.results }}/"
    )
    refused = UploadOperator(task_id="refused", source="{{ params.inputs }}", destination="~/.", retries=2)
    send >> job >> fetch
