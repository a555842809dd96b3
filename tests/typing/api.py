"""The public API, as type checkers of other repositories see it: checked by mypy, never run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from airflow.sdk import DAG, Asset, AssetWatcher, XComArg, task

import headnode
from headnode import (
    Apptainer,
    Commands,
    Conda,
    DeepHyper,
    DeepSpeed,
    DownloadOperator,
    ExcludeNode,
    Heat,
    Horovod,
    Modules,
    MoreMemory,
    Mpi,
    NoMaintenanceSensor,
    OptunaWorkers,
    RayCluster,
    RayTune,
    RemotePathEventTrigger,
    RemotePathSensor,
    Resubmit,
    SlurmArrayOperator,
    SlurmHook,
    SlurmJob,
    SlurmJobOperator,
    SlurmJobSensor,
    SlurmJobTrigger,
    SlurmPartitionSensor,
    TensorFlowMultiWorker,
    Torchrun,
    TrainOperator,
    TuneOperator,
    UploadOperator,
    VirtualEnv,
    slurm_task,
)
from headnode.errors import HeadnodeError, JobSpecError
from headnode.slurm.record import JobRecord
from headnode.ssh.settings import ClusterSettings

version: str = headnode.__version__

with DAG("typed", schedule=None):
    train = SlurmJobOperator(
        task_id="train",
        slurm_conn_id="my_cluster",
        command=["python", "-m", "train", "--epochs", "{{ params.epochs }}"],
        script=None,
        job_name="training",
        partition="gpu",
        account=None,
        qos=None,
        time_limit="01:00:00",
        nodes=2,
        ntasks=None,
        ntasks_per_node=1,
        cpus_per_task=4,
        gpus_per_node=0,
        memory="8G",
        sbatch_options={"constraint": "a100", "exclusive": True},
        setup="source ~/venv/bin/activate",
        env={"OMP_NUM_THREADS": "4", "SEED": 1},
        secret_env={"TOKEN": "variable:token", "PASSWORD": "connection:{{ params.db }}.password"},
        code="jobs",
        start_from_trigger=False,
        on_out_of_memory=MoreMemory(factor=1.5, limit="64G"),
        on_timeout=Resubmit(times=5, from_checkpoint=True, signal_seconds=300),
        on_node_fail=ExcludeNode(times=2),
        max_pending=timedelta(days=2),
        outage_tolerance=timedelta(hours=1),
        retries=2,
        outlets=[Asset("model://trained")],
    )
    by_site = SlurmJobOperator(
        task_id="by_site",
        site="juwels-booster",
        account="budget",
        launch=Torchrun(nodes=4, gpus_per_node=4, processes_per_node=4),
        environment=Modules("pytorch") + VirtualEnv("requirements.lock") + Commands("export SEED=1"),
        command="train.py",
    )
    by_dicts = SlurmArrayOperator(
        task_id="by_dicts",
        command=["train.py"],
        array="0-9",
        launch={"kind": "mpi", "nodes": "{{ params.nodes }}", "ranks_per_node": 2},
        environment=[Modules(commands=("load GCC",)), Conda("science"), Apptainer(image="torch.sif", bind=("/data",))],
    )
    training = TrainOperator(
        task_id="training",
        command=["train.py"],
        launch=DeepSpeed(),
        nodes="{{ params.nodes }}",
        gpus_per_node=4,
        metric="accuracy",
        mode="max",
        on_timeout=None,
        memory="8G",
    )
    tuning = TuneOperator(
        task_id="tuning",
        objective="tune.py:objective",
        trials="{{ params.trials }}",
        workers=4,
        direction="maximize",
        sampler={"kind": "grid", "space": {"lr": [0.1, 0.01]}},
        pruner="asha",
        seed=None,
        lost_seconds=30.5,
        python=("apptainer", "exec", "tools.sif", "python3"),
        on_timeout=None,
        gpus_per_node=4,
        environment=Modules("optuna"),
        code="jobs",
    )
    for launcher in (
        *(Horovod(), TensorFlowMultiWorker(), Heat(ranks_per_node=2), Mpi(nodes=2, ranks_per_node=2), RayCluster()),
        *(RayTune(), OptunaWorkers(), DeepHyper(ranks_per_node=2)),
    ):
        SlurmJobOperator(task_id=launcher.kind, command=["train.py"], launch=launcher)
    text = SlurmJobOperator(task_id="text", command="hostname; nproc", time_limit=timedelta(minutes=5), nodes="{{ 2 }}")
    script = SlurmJobOperator(task_id="script", script="#!/bin/bash\nhostname\n")
    minimal = SlurmJobOperator(task_id="minimal", command=("hostname",))
    tiles = SlurmArrayOperator(
        task_id="tiles",
        command=["python", "-m", "classify", "--year", "2025"],
        arguments=[["--tile", "T31TFJ"], ["--tile", "T31TGJ"], "--help", 5],
        max_running=50,
        element_retries=2,
        min_success_fraction=0.99,
        log_elements="all",
        memory="8G",
        time_limit=timedelta(hours=2),
    )
    numbered = SlurmArrayOperator(task_id="numbered", command='classify "$HEADNODE_ELEMENT"', array="0-999%50")
    upstream = SlurmArrayOperator(task_id="upstream", command=["classify"], arguments=tiles.output)
    wait = SlurmJobSensor(
        task_id="wait", slurm_conn_id="my_cluster", job_id="{{ 1 }}", timeout=timedelta(days=1), retries=1
    )
    named = SlurmJobSensor(
        task_id="named",
        job_name="train",
        user="bob",
        submitted_within=timedelta(hours=3),
        wait_for_job=False,
        soft_fail=True,
        outage_tolerance=timedelta(hours=1),
    )
    gpus = SlurmPartitionSensor(task_id="gpus", partition="gpu", free_gpus=4, gpu_type="a100", timeout=60.0)
    nodes = SlurmPartitionSensor(task_id="nodes", partition="{{ params.partition }}", free_nodes="{{ 2 }}")
    there = RemotePathSensor(task_id="there", path="~/in/_SUCCESS", non_empty=True, stable_for=timedelta(minutes=5))
    quiet = NoMaintenanceSensor(task_id="quiet", within=timedelta(days=2), partition="gpu")
    send = UploadOperator(
        task_id="send",
        source="inputs",
        destination="project/{{ ds }}/inputs",
        slurm_conn_id="my_cluster",
        delete=True,
        outage_tolerance=timedelta(hours=1),
        retries=2,
    )
    fetch = DownloadOperator(task_id="fetch", source="~/maps/", destination="/data/maps")
    send >> train >> wait >> fetch
    [named, gpus, nodes, there, quiet] >> train
    SlurmJobOperator.partial(task_id="many").expand(command=[["hostname"], ["nproc"]])


@task.slurm(slurm_conn_id="my_cluster", memory="8G", python="python3.9")
def by_entry_point(number: int) -> int:
    """Run on the cluster."""
    return number


@slurm_task(memory="8G", multiple_outputs=True)
def by_name(number: int) -> dict[str, int]:
    """Run on the cluster."""
    return {"number": number}


assert_type(by_entry_point(1), XComArg)
assert_type(by_name.partial().expand(number=[1, 2]), XComArg)
assert_type(train, SlurmJobOperator)
assert_type(tiles, SlurmArrayOperator)
assert_type(training, TrainOperator)
assert_type(wait, SlurmJobSensor)
assert_type(send, UploadOperator)
assert_type(fetch, DownloadOperator)

scene = RemotePathEventTrigger(slurm_conn_id="my_cluster", path="/data/scene.nc", stable_for_seconds=60, non_empty=True)
incoming = Asset("scene", watchers=[AssetWatcher(name="scene", trigger=scene)])

# What can't be right is an error of types already; an ignore that is not needed is one, too.
SlurmJobOperator(task_id="wrong", command="true", launch="torchrun")  # type: ignore[arg-type]
TrainOperator(task_id="wrong", command="true", mode="least")  # type: ignore[arg-type]
Torchrun(nodes=2, gpus=4)  # type: ignore[call-arg]
SlurmJobOperator(task_id="wrong", command=5)  # type: ignore[arg-type]
SlurmJobOperator(task_id="wrong", command="true", time_limit=3600)  # type: ignore[arg-type]
SlurmJobOperator(task_id="wrong", command="true", on_timeout=3)  # type: ignore[arg-type]
SlurmJobOperator("wrong", command="true")  # type: ignore[call-arg]
RemotePathSensor(task_id="wrong")  # type: ignore[call-arg]
SlurmArrayOperator(task_id="wrong", command="true", array="0-9", log_elements="some")  # type: ignore[arg-type]


def ask(hook: SlurmHook) -> None:
    """Use the hook as a notebook does."""
    assert_type(SlurmHook("my_cluster"), SlurmHook)
    assert_type(hook.settings, ClusterSettings)
    assert_type(hook.job_state("17"), str | None)
    assert_type(hook.test_connection(), tuple[bool, str])
    hook.cancel("17")
    job = hook.submit(command=["train"], key="train", code="jobs", memory="8G", nodes=2, time_limit=timedelta(hours=1))
    assert_type(job, SlurmJob)
    assert_type(SlurmJob.from_json(job.to_json()), SlurmJob)
    assert_type(hook.wait([job, job], timeout=60.0, poll_seconds=30.0), list[Any])
    hook.wait(job, timeout=timedelta(hours=1), show_log=True, say=print)
    assert_type(hook.state(job), str | None)
    assert_type(hook.logs(job, "stderr", start=0), str)
    assert_type(list(hook.logs(job, follow=True)), list[str])
    hook.cancel(job)
    hook.submit(command=5)  # type: ignore[arg-type]
    hook.submit(command="true", colour="red")  # type: ignore[call-arg]
    hook.logs(job, "both")  # type: ignore[call-overload]


def read(xcom: dict[str, Any]) -> None:
    """Read a job's record from XCom."""
    record = JobRecord.model_validate(xcom)
    assert_type(record.job_id, str)
    assert_type(record.state, str)
    assert_type(record.exit_code, int | None)
    assert_type(record.usage.cpu_efficiency if record.usage else None, float | None)


def refuse(error: JobSpecError) -> None:
    """Handle what is found when a DAG is parsed."""
    assert_type(error.field, str)
    base: HeadnodeError | ValueError = error
    assert_type(error.retryable, bool)
    raise base


def stored(trigger: SlurmJobTrigger) -> None:
    """Read what Airflow stores while a task is deferred."""
    assert_type(trigger.serialize(), tuple[str, dict[str, Any]])
