"""Sensors when a DAG is parsed and when they defer: what can't be right is refused, the rest goes to the triggerer."""

from datetime import timedelta

import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException, TaskDeferralTimeout

from headnode import (
    NoMaintenanceSensor,
    RemotePathEventTrigger,
    RemotePathSensor,
    SlurmJobSensor,
    SlurmPartitionSensor,
)
from headnode.cluster.conditions import JobNamed, NoMaintenance, PartitionFree, PathExists, from_json
from headnode.errors import CommandRefused, JobSpecError
from headnode.triggers.outcome import failure


@pytest.mark.parametrize(
    ("sensor", "fields", "text"),
    [
        (SlurmJobSensor, {}, "give one of job_id and job_name"),
        (SlurmJobSensor, {"job_id": "1", "job_name": "x"}, "give one of job_id and job_name"),
        (SlurmJobSensor, {"job_id": "12_3"}, "is no job id"),
        (SlurmJobSensor, {"job_name": "a,b"}, "can't be the name of a job"),
        (SlurmJobSensor, {"job_name": ""}, "can't be the name of a job"),
        (SlurmJobSensor, {"job_name": "a", "user": "x,y"}, "can't be a user"),
        (SlurmJobSensor, {"job_name": "a", "submitted_within": 5}, "must be a timedelta"),
        (SlurmPartitionSensor, {"partition": "gpu"}, "give free_nodes or free_gpus"),
        (SlurmPartitionSensor, {"partition": "gpu", "free_nodes": -1}, "must be a whole number"),
        (SlurmPartitionSensor, {"partition": "gpu", "free_nodes": 1.5}, "must be a whole number"),
        (SlurmPartitionSensor, {"partition": "a,b", "free_nodes": 1}, "can't be a partition"),
        (SlurmPartitionSensor, {"partition": "gpu", "free_nodes": 1, "gpu_type": "a100"}, "goes with free_gpus"),
        (RemotePathSensor, {"path": "data/in"}, "must begin with"),
        (RemotePathSensor, {"path": "/data\n"}, "no line breaks"),
        (RemotePathSensor, {"path": "/data", "stable_for": timedelta(-1)}, "not negative"),
        (NoMaintenanceSensor, {"within": 3600}, "must be a timedelta"),
        (NoMaintenanceSensor, {"within": timedelta(1), "partition": "a,b"}, "can't be a partition"),
    ],
)
def test_what_cannot_be_right_is_refused_when_the_dag_is_parsed(sensor, fields, text):
    """With the names of the field and the task."""
    with pytest.raises(JobSpecError, match=text) as refused:
        sensor(task_id="t", **fields)
    assert str(refused.value).endswith("(task 't')")
    assert refused.value.field in {*fields, "job_id", "free_nodes"}


@pytest.mark.parametrize(
    ("sensor", "fields", "condition"),
    [
        (
            SlurmPartitionSensor,
            {"partition": "gpu", "free_nodes": "2", "free_gpus": 8, "gpu_type": "a100"},
            PartitionFree(partition="gpu", nodes=2, gpus=8, gpu_type="a100"),
        ),
        (
            RemotePathSensor,
            {"path": "~/in", "non_empty": True, "stable_for": timedelta(minutes=1)},
            PathExists(path="~/in", non_empty=True, stable_seconds=60.0),
        ),
        (NoMaintenanceSensor, {"within": timedelta(hours=1)}, NoMaintenance(within_seconds=3600.0)),
        (
            SlurmJobSensor,
            {"job_name": "a b", "user": "bob", "submitted_within": timedelta(hours=1), "wait_for_job": False},
            JobNamed(name="a b", user="bob", submitted_within_seconds=3600.0, must_exist=True),
        ),
    ],
)
def test_fields_become_the_condition(sensor, fields, condition):
    """Which the trigger keeps as JSON."""
    with DAG("d", schedule=None):
        trigger = sensor(task_id="t", outage_tolerance=timedelta(seconds=5), **fields)._trigger()
    stored = trigger.serialize()[1]
    assert from_json(stored.get("condition") or stored["named"]) == condition
    assert stored["outage_tolerance_seconds"] == 5.0


def test_templates_are_checked_when_they_are_rendered():
    """Not before."""
    sensor = RemotePathSensor(task_id="t", path="{{ params.path }}")
    sensor.path = "relative"
    with pytest.raises(JobSpecError, match="must begin with"):
        sensor._trigger()


def test_a_worker_ends_the_task_where_a_trigger_would_lose_something():
    """Events of assets come from workers alone."""
    with DAG("d", schedule=None):
        event = RemotePathSensor(task_id="event", path="/x", outlets=[Asset("x")])
        silent = RemotePathSensor(task_id="silent", path="/x", do_xcom_push=False)
    assert not event._trigger().ends_task
    assert not silent._trigger().push_result


def refusal():
    """Return what a trigger says when the cluster refuses."""
    return failure(CommandRefused("no such partition"), about="connection 'c'")


def test_soft_fail_skips():
    """In place of a failure, also when the time is up."""
    sensor = SlurmPartitionSensor(task_id="t", partition="p", free_nodes=1, soft_fail=True)
    with pytest.raises(AirflowSkipException, match="no such partition"):
        sensor.resume({}, event=refusal())


def test_timeout_says_what_was_waited_for():
    """Airflow does not run a task again whose sensor timed out."""
    sensor = RemotePathSensor(task_id="t", path="/data/in", timeout=timedelta(minutes=2))
    fails = {"error": "Trigger timeout"}
    with pytest.raises(AirflowSensorTimeout, match="the path /data/in did not come true within 0:02:00") as raised:
        sensor.resume_execution("__fail__", fails, {})
    assert isinstance(raised.value.__cause__.__cause__, TaskDeferralTimeout)


@pytest.mark.parametrize("fields", [{"path": "in"}, {"path": "/a\nb"}, {"path": "/a", "stable_for_seconds": -1}])
def test_watched_paths_are_checked_when_the_dag_is_parsed(fields):
    """As those of sensors."""
    with pytest.raises(JobSpecError):
        RemotePathEventTrigger(**fields)


def test_each_watcher_has_a_stream_of_its_own():
    """Triggers that differ in anything never share what was seen last."""
    keys = {
        RemotePathEventTrigger(**fields).shared_stream_key()
        for fields in ({"path": "/a"}, {"path": "/b"}, {"path": "/a", "slurm_conn_id": "other"}, {"path": "/a"})
    }
    assert len(keys) == 3
