"""What others rely on: the public names, and the triggers that Airflow's database holds while tasks are deferred."""

import dataclasses
import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import headnode
from headnode.assets.remote_path import RemotePathEventTrigger
from headnode.triggers.array_preparation import ArrayFields
from headnode.triggers.condition import SlurmConditionTrigger
from headnode.triggers.job_end import SlurmJobEndTrigger
from headnode.triggers.slurm_array import SlurmArrayTrigger
from headnode.triggers.slurm_array_start import SlurmArrayStartTrigger
from headnode.triggers.slurm_job import SlurmJobTrigger
from headnode.triggers.slurm_job_start import SlurmJobStartTrigger

SPEC_FIELDS = {
    "job_name",
    "command",
    "script",
    "setup",
    "env",
    "secret_env",
    "partition",
    "account",
    "qos",
    "time_limit",
    "nodes",
    "ntasks",
    "ntasks_per_node",
    "cpus_per_task",
    "gpus_per_node",
    "memory",
    "sbatch_options",
    "components",
    "site",
    "launch",
    "environment",
}
LABELS = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1}
JOB = SlurmJobTrigger(
    slurm_conn_id="c",
    owner="4f9619ff-8b86-d011-b42d-00c04fc964ff",
    labels=LABELS,
    script="#!/bin/bash\n",
    job_name="j",
    script_sha256="0" * 64,
    requested={},
    deployment_id="d",
)
START = SlurmJobStartTrigger(slurm_conn_id="c", templated=[], command="true")
ARRAY = SlurmArrayTrigger(array="0-9", **JOB.serialize()[1])
ARRAY_START = SlurmArrayStartTrigger(slurm_conn_id="c", templated=[], command="true", array_fields={"array": "0-9"})
ARRAY_FIELDS = {
    "array",
    "arguments",
    "max_running",
    "element_retries",
    "min_success_fraction",
    "log_elements",
    "uses_index",
}
END = SlurmJobEndTrigger(slurm_conn_id="c", job_id="1")
CONDITION = SlurmConditionTrigger(slurm_conn_id="c", condition={"kind": "path", "path": "/data"})
WATCHED_PATH = RemotePathEventTrigger(slurm_conn_id="c", path="/data")

# A name that is taken away here fails the tasks that were deferred before an upgrade.
STORED = {
    "headnode.triggers.slurm_job.SlurmJobTrigger": (
        JOB,
        {
            "slurm_conn_id",
            "owner",
            "labels",
            "script",
            "job_name",
            "script_sha256",
            "requested",
            "deployment_id",
            "code",
            "is_array",
            "elements",
            "ends_task",
            "push_result",
            "outage_tolerance_seconds",
            "depends_on",
            "code_sha256",
            "policy",
            "max_pending_seconds",
            "adopt_owners",
            "secret_env",
            "files",
        },
    ),
    "headnode.triggers.slurm_job_start.SlurmJobStartTrigger": (
        START,
        {
            "slurm_conn_id",
            "templated",
            "push_result",
            "outage_tolerance_seconds",
            "depends_on",
            "policy",
            "max_pending_seconds",
            *SPEC_FIELDS,
        },
    ),
    "headnode.triggers.job_end.SlurmJobEndTrigger": (
        END,
        {"slurm_conn_id", "job_id", "named", "ends_task", "push_result", "outage_tolerance_seconds"},
    ),
    "headnode.triggers.condition.SlurmConditionTrigger": (
        CONDITION,
        {"slurm_conn_id", "condition", "ends_task", "push_result", "outage_tolerance_seconds"},
    ),
    "headnode.assets.remote_path.RemotePathEventTrigger": (
        WATCHED_PATH,
        {"slurm_conn_id", "path", "stable_for_seconds", "non_empty"},
    ),
}

STORED |= {
    "headnode.triggers.slurm_array.SlurmArrayTrigger": (
        ARRAY,
        STORED["headnode.triggers.slurm_job.SlurmJobTrigger"][1] | ARRAY_FIELDS,
    ),
    "headnode.triggers.slurm_array_start.SlurmArrayStartTrigger": (
        ARRAY_START,
        STORED["headnode.triggers.slurm_job_start.SlurmJobStartTrigger"][1] | {"array_fields"},
    ),
}


def test_public_names():
    """The package offers these names, each of which can be loaded."""
    assert headnode.__all__ == [
        "Apptainer",
        "BuildEnvironmentOperator",
        "Commands",
        "Conda",
        "DeepHyper",
        "DeepSpeed",
        "DownloadOperator",
        "ExcludeNode",
        "Heat",
        "Horovod",
        "Modules",
        "MoreMemory",
        "Mpi",
        "NoMaintenanceSensor",
        "OptunaWorkers",
        "RayCluster",
        "RayTune",
        "RemotePathEventTrigger",
        "RemotePathSensor",
        "Resubmit",
        "SlurmArrayOperator",
        "SlurmHook",
        "SlurmJob",
        "SlurmJobOperator",
        "SlurmJobSensor",
        "SlurmJobTrigger",
        "SlurmPartitionSensor",
        "TensorFlowMultiWorker",
        "Torchrun",
        "TrainOperator",
        "TuneOperator",
        "UploadOperator",
        "VirtualEnv",
        "__version__",
        "slurm_task",
    ]
    assert dir(headnode) == sorted(headnode.__all__)
    assert all(getattr(headnode, name) is not None for name in headnode.__all__)


def test_another_name_is_refused_by_name():
    """As of any module."""
    with pytest.raises(AttributeError, match="module 'headnode' has no attribute 'SlurmOperator'"):
        headnode.SlurmOperator  # noqa: B018 - the access is the test


@pytest.mark.parametrize("class_path", STORED)
def test_stored_triggers_keep_their_path_and_arguments(class_path):
    """``serialize`` names the class by a path that leads to it, with these arguments."""
    trigger, names = STORED[class_path]
    path, arguments = trigger.serialize()
    assert path == class_path
    assert set(arguments) == names
    module, _, name = path.rpartition(".")
    assert getattr(import_module(module), name) is type(trigger)


@pytest.mark.parametrize("class_path", STORED)
def test_stored_triggers_can_be_made_again(class_path):
    """Airflow calls the class with what ``serialize`` gave, in another process."""
    trigger, _ = STORED[class_path]
    assert type(trigger)(**trigger.serialize()[1]).serialize() == trigger.serialize()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("UploadOperator", {"slurm_conn_id": "slurm_default", "delete": False, "source": inspect.Parameter.empty}),
        ("DownloadOperator", {"slurm_conn_id": "slurm_default", "delete": False, "source": inspect.Parameter.empty}),
        ("SlurmJobOperator", {"slurm_conn_id": "slurm_default", "start_from_trigger": False}),
        (
            "SlurmArrayOperator",
            {"arguments": None, "array": None, "max_running": None, "element_retries": 0, "min_success_fraction": 1.0},
        ),
        ("TrainOperator", {"launch": None, "nodes": None, "metric": "loss", "mode": "min"}),
        ("SlurmJobSensor", {"job_id": None, "job_name": None, "wait_for_job": True}),
        ("SlurmPartitionSensor", {"partition": inspect.Parameter.empty, "free_nodes": None, "free_gpus": None}),
        ("RemotePathSensor", {"path": inspect.Parameter.empty, "non_empty": False, "stable_for": None}),
        ("NoMaintenanceSensor", {"within": inspect.Parameter.empty, "partition": None}),
        ("RemotePathEventTrigger", {"slurm_conn_id": "slurm_default", "path": inspect.Parameter.empty}),
    ],
)
def test_constructors_take_keywords_only(name, arguments):
    """Fields can be added without harm to callers."""
    parameters = dict(inspect.signature(getattr(headnode, name).__init__).parameters)
    del parameters["self"]
    kinds = {parameter.kind for parameter in parameters.values()}
    assert kinds <= {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
    assert {name: parameters[name].default for name in arguments} == arguments


def test_operators_take_every_field_that_jobs_have():
    """The operator's arguments and the stored trigger's are the same words."""
    parameters = set(inspect.signature(headnode.SlurmJobOperator.__init__).parameters)
    assert parameters >= SPEC_FIELDS
    assert set(headnode.SlurmJobOperator.template_fields) == SPEC_FIELDS | {"slurm_conn_id", "code"}
    arrays = set(headnode.SlurmArrayOperator.template_fields)
    assert arrays == SPEC_FIELDS | {"slurm_conn_id", "code", "arguments", "array"}


def test_arrays_store_the_fields_that_triggers_take():
    """With ``start_from_trigger=True`` they travel as one dict."""
    assert {field.name for field in dataclasses.fields(ArrayFields)} == ARRAY_FIELDS


def test_importing_headnode_does_not_import_airflow():
    """A DAG file, a notebook and the command line pay only for what they use."""
    program = "import sys, headnode, headnode.slurm.jobspec, headnode.errors; print([m for m in sys.modules if m.split('.')[0] == 'airflow'])"  # noqa: E501 - one program
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"
