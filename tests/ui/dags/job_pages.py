"""A DAG whose tasks leave what a Slurm task leaves: literal job records, good and bad."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Context, dag, get_current_context, task

from headnode.links import SlurmJobLink
from headnode.slurm.record import JobRecord, Labels, StateChange, Submission, Usage

SUBMITTED = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)


def record_of(context: Context, **changes: Any) -> dict[str, Any]:
    """Return the record of a job that runs, with ``changes``."""
    ti = context["ti"]
    record = JobRecord(
        key=f"{ti.id}/1",
        conn_id="my_cluster",
        host="login.cluster.example.org",
        labels=Labels(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
            try_number=ti.try_number,
        ),
        job_id="4711",
        job_name="train the land-cover model",
        directory="/scratch/headnode/job_pages/train/4711",
        log_path="/scratch/headnode/job_pages/train/4711/job.log",
        script_sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        requested={"partition": "gpu", "nodes": 2, "memory": "8G", "time_limit": "01:00:00"},
        submissions=[Submission(number=1, job_id="4711", at=SUBMITTED)],
        history=[
            StateChange(at=SUBMITTED, state="PENDING", reason="Priority"),
            StateChange(at=SUBMITTED + timedelta(minutes=4), state="PENDING", reason="Resources"),
            StateChange(at=SUBMITTED + timedelta(minutes=7, seconds=12), state="RUNNING"),
        ],
        state="RUNNING",
        nodes="gpu[01-02]",
    )
    return record.model_copy(update=changes).to_xcom()


@dag(schedule=None, tags=["test"])
def job_pages() -> None:
    """Each task leaves one kind of record."""

    @task
    def running() -> None:
        context = get_current_context()
        context["ti"].xcom_push("slurm_job", record_of(context))

    @task
    def out_of_memory() -> None:
        context = get_current_context()
        first = record_of(context)
        end = SUBMITTED + timedelta(minutes=41)
        history = [StateChange.model_validate(change) for change in first["history"]]
        record = record_of(
            context,
            job_name="<script>alert('name')</script>",
            job_id="4712",
            state="OUT_OF_MEMORY",
            reason="OutOfMemory",
            exit_code=None,
            signal=125,
            history=[*history, StateChange(at=end, state="OUT_OF_MEMORY", reason="OutOfMemory")],
            requested={**first["requested"], "sbatch_options": {"constraint": "a100"}, "gpus_per_node": 1},
            submissions=[
                Submission(
                    number=1,
                    job_id="4711",
                    at=SUBMITTED - timedelta(minutes=20),
                    state="NODE_FAIL",
                    exit_code=0,
                    usage=Usage(elapsed_seconds=61),
                ),
                Submission(
                    number=2,
                    job_id="4712",
                    at=SUBMITTED,
                    reason="node gpu07 failed: it is excluded",
                    dependency="afterok:4700",
                    state="OUT_OF_MEMORY",
                    signal=125,
                ),
            ],
            usage=Usage(
                elapsed_seconds=2028,
                allocated_cpus=16,
                cpu_seconds=24931.2,
                max_rss_bytes=4_294_967_296,
                memory_used_bytes=8_589_934_592,
                allocated_memory_bytes=9_663_676_416,
                gpus=2,
                node_count=2,
                energy_joules=1_250_000,
            ),
            error_log_path="/scratch/headnode/job_pages/train/4712/error.log",
        )
        context["ti"].xcom_push("slurm_job", record)

    @task
    def array() -> None:
        context = get_current_context()
        states = {"COMPLETED": "0-2,4-811,813-999", "FAILED": "3", "OUT_OF_MEMORY": "812"}
        record = record_of(context, job_id="4713", job_name="classify tiles", state="FAILED", element_states=states)
        context["ti"].xcom_push("slurm_job", record)

    @task
    def held() -> None:
        context = get_current_context()
        record = record_of(context, job_id="4714", state="PENDING", reason="JobHeldUser", nodes=None)
        context["ti"].xcom_push("slurm_job", record)

    @task
    def mapped(job_id: str) -> None:
        context = get_current_context()
        context["ti"].xcom_push("slurm_job", record_of(context, job_id=job_id))

    @task
    def from_the_future() -> None:
        context = get_current_context()
        context["ti"].xcom_push("slurm_job", {**record_of(context), "schema_version": 99})

    @task
    def damaged() -> None:
        context = get_current_context()
        context["ti"].xcom_push("slurm_job", {**record_of(context), "submissions": "secret <b>"})

    @task
    def no_job() -> None:
        """Leave no record, as any task that is not Slurm's."""

    linked = running.override(task_id="running")()
    linked.operator.operator_extra_links = (SlurmJobLink(),)
    out_of_memory()
    array()
    held()
    mapped.expand(job_id=["5001", "5002"])
    from_the_future()
    damaged()
    no_job()


job_pages()
