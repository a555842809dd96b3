"""Whether what was seen is what is waited for."""

import pytest

from headnode.cluster.conditions import (
    JobNamed,
    Memory,
    Met,
    NamedJobSeen,
    NoMaintenance,
    NotYet,
    Observation,
    PartitionFree,
    PathExists,
    PathState,
    from_json,
    to_json,
)
from headnode.errors import CommandRefused, ControllerUnavailable, JobLost, PathUnreadable
from headnode.slurm.nodes import NodeGroup
from headnode.slurm.reservations import Reservation

NOW = 1_000_000
FILE = PathState(path="/data/in", size=5, mtime=f"{NOW - 100}.25")
GPU = NodeGroup(partition="gpu", available="up", state="idle", count=2, gpus={"a100": 4}, nodes="n[3-4]")
BUSY = NodeGroup(partition="gpu", available="up", state="allocated", count=3, gpus={"a100": 4}, nodes="n[5-7]")
MAINTENANCE = Reservation(name="m", start=NOW + 600, end=NOW + 900, nodes="n[4-9]", flags=frozenset({"MAINT"}))


def at(now=NOW, **seen):
    """Return an observation."""
    return Observation(now=now, **seen)


def looks(condition, *observations):
    """Judge one look after another; return the verdicts."""
    memory, verdicts = Memory(), []
    for each in observations:
        verdict, memory = condition.judge(each, memory)
        verdicts.append(verdict)
    return verdicts


def path(state, now=NOW, **fields):
    """Judge one look at the path."""
    (verdict,) = looks(PathExists(path="/data/in", **fields), at(now, paths={"/data/in": state}))
    return verdict


def test_path_that_is_there():
    """What is found goes to other tasks, with a version that tells it from the next."""
    assert path(FILE) == Met(found={"path": "/data/in", "size": 5, "mtime": NOW - 99.75}, version=f"5 {NOW - 100}.25")
    assert path(None) == NotYet(why="/data/in is not there")


def test_path_that_cannot_be_seen_is_no_answer():
    """Neither that it is there nor that it is not."""
    with pytest.raises(PathUnreadable, match="Permission denied"):
        path(PathUnreadable("/data/in can't be looked at: Permission denied"))


@pytest.mark.parametrize(
    "empty",
    [PathState(path="/d", size=0, mtime="1.0"), PathState(path="/d", size=4096, mtime="1.0", entries=0)],
)
def test_empty_paths(empty):
    """Count where nothing else is asked for."""
    assert path(empty, non_empty=True) == NotYet(why="/data/in is empty")
    assert isinstance(path(empty), Met)


def test_directory_with_an_empty_file_is_not_empty():
    """Such as a marker that says that all is there."""
    assert path(PathState(path="/d", size=0, mtime="1.0", entries=1), non_empty=True).found["entries"] == 1


def test_stable_by_the_time_of_change():
    """A file that has been quiet for long enough is so at the first look."""
    assert isinstance(path(FILE, stable_seconds=99.0), Met)
    waiting = path(FILE, stable_seconds=130.0)
    assert waiting.again_in_seconds == pytest.approx(30.25)


def test_a_file_that_changes_between_two_looks_is_not_stable():
    """Even where its time of change lies back, as with file systems that set it late."""
    grown = PathState(path="/data/in", size=6, mtime=FILE.mtime)
    seen = [at(NOW + n, paths={"/data/in": state}) for n, state in enumerate([None, FILE, grown, grown])]
    kinds = [type(verdict) for verdict in looks(PathExists(path="/data/in", stable_seconds=50.0), *seen)]
    assert kinds == [NotYet, Met, NotYet, Met]


def test_a_time_of_change_in_the_future_does_not_count():
    """What the looks have seen counts in its place."""
    future = PathState(path="/data/in", size=6, mtime=f"{NOW + 9999}.0")
    seen = [at(NOW + n, paths={"/data/in": future}) for n in (0, 10, 20)]
    kinds = [type(verdict) for verdict in looks(PathExists(path="/data/in", stable_seconds=20.0), *seen)]
    assert kinds == [NotYet, NotYet, Met]


def test_partition_with_enough():
    """Nodes and GPUs are counted apart."""
    condition = PartitionFree(partition="gpu", nodes=2, gpus=8, gpu_type="a100")
    (verdict,) = looks(condition, at(nodes=[GPU, BUSY]))
    assert verdict.found == {"partition": "gpu", "free_nodes": 2, "free_gpus": 8}


def test_partition_with_too_little():
    """Says how much there is."""
    (verdict,) = looks(PartitionFree(partition="gpu", nodes=3), at(nodes=[GPU, BUSY]))
    assert verdict.why == "partition gpu has 2 of the 3 nodes free that are waited for"


def test_partition_that_is_down():
    """Its nodes are idle, but no job starts."""
    down = NodeGroup(partition="gpu", available="down", state="idle", count=2)
    assert looks(PartitionFree(partition="gpu", nodes=1), at(nodes=[down])) == [NotYet(why="partition gpu is down")]


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (PartitionFree(partition="cpu", nodes=1), "shows no partition 'cpu'"),
        (PartitionFree(partition="gpu", nodes=6), "has 5 nodes"),
        (PartitionFree(partition="gpu", gpus=1, gpu_type="v100"), "0 GPUs of type v100"),
        (NoMaintenance(within_seconds=1, partition="cpu"), "shows no partition 'cpu'"),
    ],
)
def test_what_can_never_be_is_refused(condition, text):
    """Waiting would not help."""
    with pytest.raises(CommandRefused, match=text):
        condition.judge(at(nodes=[GPU, BUSY]), Memory())


def test_maintenance():
    """Of the partition's nodes, or of any; with the time at which it ends."""
    seen = at(nodes=[GPU], reservations=[MAINTENANCE])
    (here,) = looks(NoMaintenance(within_seconds=600, partition="gpu"), seen)
    assert here.again_in_seconds == 900
    assert here.why.startswith("maintenance m of n[4-9] begins at 1970-01-12 13:56:40 UTC")
    (later,) = looks(NoMaintenance(within_seconds=599, partition="gpu"), seen)
    assert later.found == {"partition": "gpu", "free_until": NOW + 599}
    assert isinstance(looks(NoMaintenance(within_seconds=600), seen)[0], NotYet)


def job(job_id, submitted_at=NOW, name="train"):
    """Return a job that was seen."""
    return NamedJobSeen(job_id=job_id, name=name, submitted_at=submitted_at)


def test_newest_job_of_a_name():
    """By the time of submission, which goes on where ids wrap around; elements of an array are one job."""
    jobs = [job("99", NOW - 10), job("7", NOW - 5), job("8", NOW - 5), job("8", NOW - 5), job("9", name="other")]
    (verdict,) = looks(JobNamed(name="train"), at(jobs={"": jobs}))
    assert verdict.found == {"job_id": "8", "submitted_at": NOW - 5, "jobs": 3}


def test_old_jobs_of_a_name_do_not_count():
    """Last month's run must not end this month's wait."""
    condition = JobNamed(name="train", user="bob", submitted_within_seconds=3600)
    (verdict,) = looks(condition, at(jobs={"bob": [job("1", NOW - 3601)]}))
    assert verdict.why == "no job 'train' of user bob was submitted in the last 1 h"


def test_a_job_that_must_exist():
    """Is not waited for."""
    with pytest.raises(JobLost, match="no job 'train'"):
        JobNamed(name="train", must_exist=True).judge(at(jobs={"": []}), Memory())


@pytest.mark.parametrize(
    ("condition", "seen"),
    [
        (PartitionFree(partition="gpu", nodes=1), at(nodes=ControllerUnavailable("sinfo failed"))),
        (NoMaintenance(within_seconds=1), at(reservations=ControllerUnavailable("scontrol failed"))),
        (JobNamed(name="train"), at(jobs={"": ControllerUnavailable("squeue failed")})),
    ],
)
def test_no_answer_is_no_verdict(condition, seen):
    """Least of all a good one."""
    with pytest.raises(ControllerUnavailable):
        condition.judge(seen, Memory())


@pytest.mark.parametrize(
    "condition",
    [
        PathExists(path="/x", non_empty=True, stable_seconds=1.5),
        PartitionFree(partition="p", gpus=1, gpu_type="a100"),
        NoMaintenance(within_seconds=1.0, partition="p"),
        JobNamed(name="j", user="u", must_exist=True),
    ],
)
def test_conditions_are_stored_as_json(condition):
    """Airflow keeps them while tasks are deferred."""
    assert from_json(to_json(condition)) == condition
