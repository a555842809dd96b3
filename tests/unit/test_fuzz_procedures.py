"""Every procedure talks to a host whose answers are broken: it ends well only where it was told so."""

import contextlib
import importlib
import inspect
import json
import pkgutil
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import broken_answers as said
import pytest
import yaml
from broken_answers import encoded, framed, zipped
from hypothesis import given
from hypothesis import strategies as st

import headnode.cluster
from headnode.cluster.cancellation import cancel, withdraw
from headnode.cluster.checking import check_cluster
from headnode.cluster.conditions import (
    JobNamed,
    Memory,
    Met,
    NoMaintenance,
    Observation,
    PartitionFree,
    PathExists,
)
from headnode.cluster.dependencies import known_jobs, never_satisfied, set_dependency
from headnode.cluster.elements import read_element_results, read_log_ends
from headnode.cluster.events import JobOver, Subscription
from headnode.cluster.following import Followed
from headnode.cluster.functions import read_exception
from headnode.cluster.host_check import look_at_host
from headnode.cluster.keyed import submit_keyed
from headnode.cluster.login_run import LoginRun, follow_run, remove_run, start_run, stop_run
from headnode.cluster.logs import FollowedLogs, LogPosition, read_logs, read_pieces, read_result
from headnode.cluster.observation import observe
from headnode.cluster.outages import Outages
from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import ask, drive_sync, shell
from headnode.cluster.queries import (
    AskedJob,
    accounting,
    cluster_limits,
    find_by_tag,
    queue_snapshot,
    snapshot,
    without_accounting,
)
from headnode.cluster.rounds import Rounds
from headnode.cluster.secrets import discard_secrets
from headnode.cluster.slurm_check import ask_all, ask_slurm
from headnode.cluster.staging.manifest import Item, Manifest
from headnode.cluster.staging.remote import (
    finish,
    hash_files,
    link_present,
    list_items,
    prepare,
    remove,
    survey,
    why_unwritable,
)
from headnode.cluster.staging.spot import Spot
from headnode.cluster.standing import standing_of
from headnode.cluster.submission import (
    SubmitRequest,
    Submitted,
    find_settled,
    submit,
    write_job_id,
)
from headnode.cluster.sweeping import find_jobs
from headnode.cluster.watched import WatchedPlace, read_version, store_version
from headnode.errors import ConnectionLost, HeadnodeError
from headnode.sites.measured import describe_site
from headnode.sites.probing import probe_cluster
from headnode.sites.site_file import render_site
from headnode.sites.system import System
from headnode.slurm.record import Labels
from headnode.slurm.states import Phase, phase_of
from headnode.ssh.port import Answer, Command
from headnode.ssh.settings import ClusterSettings, SSHSettings

LABELS = Labels(dag_id="d", run_id="r", task_id="t")
PLACE = JobPlace(work_directory="/w", deployment_id="d", labels=LABELS, owner=str(uuid.UUID(int=7)))
JOB = AskedJob(job_id="101", key=said.KEY, directory="/w/x")
ARRAY = AskedJob(job_id="103", directory="/w/y")
REQUEST = SubmitRequest(place=PLACE, script="#!/bin/bash\ntrue\n", code=b"code")
SPOT = Spot(path="/w/data", home="/home/me", kind="folder")
CONTENT = Manifest({"a name": Item(kind="file", size=3, sha256="ab" * 32), "sub": Item(kind="folder")})
WATCHED = WatchedPlace(work_directory="/w", deployment_id="d", name="x")
RUN = LoginRun(work_directory="~/w", name="a1b2c3d4")
CONDITIONS = (
    PathExists(path="/data/a file", non_empty=True),
    PathExists(path="/data/folder"),
    PartitionFree(partition="batch", nodes=1, gpus=1),
    NoMaintenance(within_seconds=3600.0, partition="batch"),
    JobNamed(name="train"),
)
HOW = f"directory /w/d/tasks/x/{PLACE.key}\nkey {PLACE.key}\n"
QUEUED = f"1000\n{said.QUEUE}"
LOG = f"0 5 {encoded('hello')}\n"
MEMORY = f"headnode:job 101 {encoded(said.SCONTROL)}\nheadnode:marker 101 end 3 990 995 101 0\n"
PART = "headnode:part {} \nheadnode:done 0 \n"


def _part(name: str, output: str, status: int = 0, error: str = "") -> str:
    return f"headnode:part {name}\n{output}\nheadnode:done {status} {encoded(error)}\n"


OBSERVED = (
    "headnode:now 1000\n"
    + _part("path:0", f"regular file|12|900.5\n{encoded('/data/a file')}")
    + _part("path:1", "", 1, "stat: cannot statx '/data/folder': No such file or directory")
    + _part("nodes", said.NODES)
    + _part("reservations", said.RESERVATIONS)
    + _part("queue:0", "101|900|train")
    + _part("past:0", "99|800|train")
)
HOST = "\n".join(
    f"{word} {encoded(text)}" for word, text in {"root": "/w", "clock": "1000", "sbatch": "/usr/bin"}.items()
)
SLURM = "".join(
    f"{name} {encoded(text)}|0|\n"
    for name, text in {"config": said.CONFIG, "partitions": "batch*|up|1-00|1/3/0/4\n", "qos": "normal|||||\n"}.items()
)


SITE = "\n".join(
    f"{name} {encoded(text)}|0|"
    for name, text in {
        "config": f"{said.CONFIG}GresTypes = gpu\n",
        "partitions": said.PARTITIONS,
        "hardware": said.HARDWARE,
        "qos": "normal|1-00:00:00|node=4|5|6\n",
        "modules": said.MODULES,
        "shell": "headnode:shell internet no\nheadnode:shell end\n",
    }.items()
)
KINDS = f"sbatch |1|{encoded('sbatch: error: no account')}\nnodes {encoded(said.NODE_RECORDS)}|0|\n"


def _probe():
    """Probe a cluster; what is written of it is a file of the catalogue whatever was broken."""
    answers = yield from probe_cluster()
    block = describe_site(answers, name="here", hosts=["h"], port=22, jump_hosts=[], date="2026-11-21")
    System.model_validate(yaml.safe_load(render_site(block)))
    return answers


class Talk(NamedTuple):
    """A procedure, and what its host says to each purpose when nothing is broken."""

    begin: Callable[[], Any]
    answers: Mapping[str, str]


def _listed(*pairs: tuple[str, str]) -> str:
    return zipped(b"".join(f"{head}\0{target}\0".encode() for head, target in pairs))


SUBMITTING = {
    "submitting the job": f"{HOW}submitted 4711\n",
    "uploading": "",
    "looking for the job in squeue": said.TAGS,
    "looking for the job in sacct": said.TAGS,
    "looking for the job's own": "0 1 2 3 4",
    "writing": "",
    "closing": "",
    "removing": "",
}
TALKS = {
    "ask": Talk(lambda: ask(shell("true", purpose="a test")), {"a test": "hello"}),
    "queue_snapshot": Talk(lambda: queue_snapshot([JOB, ARRAY]), {"asking squeue": QUEUED}),
    "snapshot": Talk(lambda: snapshot(["101", "103"]), {"asking squeue": QUEUED}),
    "accounting": Talk(lambda: accounting([JOB, ARRAY]), {"asking sacct": said.ACCOUNTING}),
    "without_accounting": Talk(lambda: without_accounting([JOB]), {"asking for ended": MEMORY}),
    "standing_of": Talk(
        lambda: standing_of(JOB),
        {"asking squeue": "1000\n", "asking sacct": said.ACCOUNTING, "asking for ended": MEMORY},
    ),
    "find_by_tag": Talk(lambda: find_by_tag(said.KEY), SUBMITTING),
    "cluster_limits": Talk(cluster_limits, {"asking for the limits": said.CONFIG}),
    "submit": Talk(lambda: submit(REQUEST, settle_seconds=0.0), SUBMITTING),
    "submit, refused": Talk(
        lambda: submit(REQUEST, settle_seconds=0.0),
        {**SUBMITTING, "submitting the job": f"{HOW}refused 1 1 {encoded(said.REFUSED)}\n"},
    ),
    "submit, unresolved": Talk(
        lambda: submit(REQUEST, settle_seconds=0.0),
        {**SUBMITTING, "submitting the job": f"{HOW}unresolved {PLACE.key} 1 77\n"},
    ),
    "submit, another's": Talk(
        lambda: submit(REQUEST, settle_seconds=0.0),
        {**SUBMITTING, "submitting the job": f"unresolved {said.KEY} 1 77\n"},
    ),
    "submit_keyed": Talk(
        lambda: submit_keyed(REQUEST, key="k", settle_seconds=0.0),
        {
            **SUBMITTING,
            "submitting the job": f"{HOW}adopted 101\n",
            "asking squeue": "1000\n",
            "asking sacct": said.ACCOUNTING,
            "asking for ended": MEMORY,
            "looking for earlier": f"/w/{PLACE.owner}-1\n",
            "comparing": "ab" * 32,
        },
    ),
    "find_settled": Talk(lambda: find_settled(PLACE, said.KEY, 0.0), SUBMITTING),
    "write_job_id": Talk(lambda: write_job_id(PLACE, PLACE.key, "101"), SUBMITTING),
    "withdraw": Talk(
        lambda: withdraw(PLACE, settle_seconds=0.0),
        {
            **SUBMITTING,
            "withdrawing": f"withdrawn\njob {said.KEY} 101\nunclear {PLACE.key}\n",
            "asking squeue": "1000\n",
            "cancelling": "",
        },
    ),
    "cancel": Talk(lambda: cancel([JOB]), {"asking squeue": QUEUED, "cancelling": ""}),
    "known_jobs": Talk(lambda: known_jobs({"101", "102"}), {"asking for the jobs": "101\n102_3\n"}),
    "never_satisfied": Talk(
        lambda: never_satisfied({"101"}), {"asking what": "101|afterok:3(failed)|DependencyNeverSatisfied\n"}
    ),
    "set_dependency": Talk(lambda: set_dependency("101", "afterok:3"), {"changing": ""}),
    "read_logs": Talk(
        lambda: read_logs([FollowedLogs(directory="/w/x"), FollowedLogs(directory="/w/y", offsets=(3, 4))]),
        {"reading logs": f"-\n{LOG}{LOG}over\n{LOG}{LOG}"},
    ),
    "read_pieces": Talk(
        lambda: read_pieces([LogPosition(path="/w/x", offset=0), LogPosition(path="/w/y", offset=3)]),
        {"reading files": LOG + LOG},
    ),
    "read_result": Talk(
        lambda: read_result("/w/x", is_array=False), {"reading the job": f"result.json {encoded('[1, 2]')}\n"}
    ),
    "read_result of an array": Talk(
        lambda: read_result("/w/x", is_array=True), {"reading the job": f"result.3.json {encoded('[1, 2]')}\n"}
    ),
    "read_element_results": Talk(
        lambda: read_element_results(["/w/x", "/w/y"]),
        {"reading the elements": "file 0 result.3.json\ntext 0 result.3.json:[1]\n"},
    ),
    "read_log_ends": Talk(
        lambda: read_log_ends(["/w/x", "/w/y"], max_bytes=10), {"reading the elements": f"5 {encoded('hello')}\n0 \n"}
    ),
    "observe": Talk(lambda: observe(CONDITIONS), {"looking at what": OBSERVED}),
    "find_jobs": Talk(
        lambda: find_jobs("~/w", "d"),
        {"looking for jobs": f"101 {said.KEY} {encoded(LABELS.model_dump_json())}\n"},
    ),
    "read_version": Talk(lambda: read_version(WATCHED), {"reading what": "12 900.5\n"}),
    "store_version": Talk(lambda: store_version(WATCHED, "12 900.5"), {"storing": ""}),
    "survey": Talk(
        lambda: survey("data", work_directory="~/w"),
        {"looking at": f"path {encoded('/w/data')}\nhome {encoded('/home/me')}\nkind folder\nrsync yes\n"},
    ),
    "list_items": Talk(
        lambda: list_items("/w/data", where="there"),
        {"listing": _listed(("f 644 3 a name", ""), ("d 755 4096 sub", ""), ("l 777 3 link", "sub"))},
    ),
    "hash_files": Talk(
        lambda: hash_files("/w/data", ["a name"], size=3, where="there"),
        {"checking": zipped(f"{'ab' * 32}  ./a name\0".encode())},
    ),
    "prepare": Talk(lambda: prepare(SPOT, "/w/.part", CONTENT), {"preparing": "free 12345\n"}),
    "remove": Talk(lambda: remove("/w/.part", ["a name"]), {"tidying": ""}),
    "link_present": Talk(lambda: link_present(SPOT, "/w/.part", ["a name"]), {"taking over": ""}),
    "finish": Talk(lambda: finish(SPOT, "/w/.part", CONTENT), {"putting": ""}),
    "why_unwritable": Talk(lambda: why_unwritable("/w/.part", offset=0), {"finding out": ""}),
    "discard_secrets": Talk(lambda: discard_secrets(PLACE, [PLACE.key]), {"removing": ""}),
    "read_exception": Talk(
        lambda: read_exception("/w/x"),
        {"reading the function": encoded(json.dumps({"type": "E", "message": "m", "traceback": "t"}))},
    ),
    "start_run": Talk(lambda: start_run(RUN, script="true", files={"a": b"b"}), {"starting": "started 4711\n"}),
    "follow_run": Talk(
        lambda: follow_run(RUN, offset=3), {"reading the log": f"ended 0\n{encoded('/w/venv')}\n{encoded('hello')}\n"}
    ),
    "stop_run": Talk(lambda: stop_run(RUN), {"ending": ""}),
    "remove_run": Talk(lambda: remove_run(RUN), {"removing": ""}),
    "look_at_host": Talk(lambda: look_at_host("~/w"), {"looking at the host": HOST}),
    "ask_slurm": Talk(lambda: ask_slurm(user="me", path=None), {"asking Slurm": SLURM}),
    "ask_all": Talk(lambda: ask_all({"config": ["true"]}, purpose="asking"), {"asking": SLURM}),
    "probe_cluster": Talk(_probe, {"asking for partitions": SITE, "asking for one node": KINDS}),
    "check_cluster": Talk(
        lambda: check_cluster(
            ClusterSettings(ssh=SSHSettings(conn_id="c", host="h", username="u")), clock=lambda: 1000.0
        ),
        {"looking at the host": HOST + f"\nscontrol {encoded('/usr/bin/scontrol')}", "asking Slurm": SLURM},
    ),
}
MOST_COMMANDS = 12


class BrokenHost:
    """Answers by purpose, each answer broken in its own way; after a dozen commands its line is cut."""

    def __init__(self, answers: Mapping[str, str], data: st.DataObject, *, whole: bool = False) -> None:
        self._answers = answers
        self._data = data
        self._whole = whole
        self.heard: list[str] = []

    def __call__(self, command: Command) -> Answer:
        """Answer one command."""
        if len(self.heard) >= MOST_COMMANDS:
            raise ConnectionLost("the line was cut")
        fits = [answer for begin, answer in self._answers.items() if command.purpose.startswith(begin)]
        assert fits, f"the host knows nothing to say to {command.purpose!r}"
        if self._whole:
            self.heard.append(fits[0])
            return Answer(stdout=framed(fits[0]).encode(), stderr=b"", exit_status=0)
        draw = self._data.draw
        status = draw(st.sampled_from((0, 0, 0, 0, 1, 127)))
        inside = draw(st.booleans())
        content = draw(said.broken_bytes(fits[0] if inside else framed(fits[0], status)))
        if inside:
            content = b"Welcome\nheadnode:begin\n" + content + f"\nheadnode:end:{status}\n".encode()
        self.heard.append(content.decode("utf-8", "replace"))
        stderr = draw(st.sampled_from(("", "warning: x\n", said.REFUSED, "sacct: error: no\n", "\ufffd\x1b[31m")))
        return Answer(stdout=content, stderr=stderr.encode(), exit_status=0)


def _drive(talk: Talk, host: BrokenHost) -> Any:
    return drive_sync(talk.begin(), host, sleep=lambda _: None)


@pytest.mark.parametrize("name", [name for name in TALKS if name not in ("submit, unresolved", "submit, another's")])
def test_an_unbroken_host_is_understood(name):
    """The conversations are those that take place."""
    with contextlib.suppress(ConnectionLost):
        host = BrokenHost(TALKS[name].answers, None, whole=True)
        if name in ("cancel", "submit, refused"):
            with pytest.raises(HeadnodeError):
                _drive(TALKS[name], host)
        else:
            _drive(TALKS[name], host)


@pytest.mark.parametrize("name", TALKS)
def test_a_broken_host_is_understood_or_refused(name):
    """What comes is a result of the right form or one of our errors; a job's id is never made up."""

    @given(st.data())
    @said.BUDGET
    def talk(data):
        host = BrokenHost(TALKS[name].answers, data)
        with contextlib.suppress(HeadnodeError):
            result = _drive(TALKS[name], host)
            if isinstance(result, Submitted):
                assert result.job_id.isascii()
                assert result.job_id.isdigit()
                assert any(result.job_id in answer for answer in host.heard)
            if isinstance(result, Observation):
                _judge(result)
            json.dumps(str(result))

    talk()


def _judge(seen: Observation) -> None:
    for condition in CONDITIONS:
        with contextlib.suppress(HeadnodeError):
            verdict, _ = condition.judge(seen, Memory())
            assert isinstance(verdict, Met) or verdict.why


def _ended(data: st.DataObject, answers: Mapping[str, str]) -> list[Phase]:
    clock = iter(range(0, 10**6, 100))
    rounds = Rounds(
        "h", poll_seconds=1.0, poll_max_seconds=2.0, lost_after_seconds=900.0, clock=lambda: float(next(clock))
    )
    one = Subscription(
        job=Followed(job_id="101", elements=1),
        asked=JOB,
        logs=FollowedLogs(directory="/w/x"),
        outages=Outages(1e9),
    )
    told = []
    for _ in range(3):
        drive_sync(rounds.look([one]), BrokenHost(answers, data), sleep=lambda _: None)
        told += one.take()
        if one.ended is not None or one.lost:
            break
    return [phase_of(each.entry.state) for each in told if isinstance(each, JobOver)]


@given(st.data())
@said.BUDGET
def test_a_job_that_failed_is_followed_to_no_success(data):
    """Whatever arrives of the answers of squeue, sacct, slurmctld, and of the job's own marker and logs."""
    answers = {
        "asking squeue": "1000\n",
        "asking sacct": said.ACCOUNTING,
        "asking for ended": MEMORY,
        "reading logs": f"over\n{LOG}{LOG}",
    }
    assert Phase.SUCCEEDED not in _ended(data, answers)


@given(st.data())
@said.BUDGET
def test_a_job_that_runs_is_followed_to_no_end(data):
    """Nobody has heard of an end, so there is none."""
    running = said.SUCCESS.replace("COMPLETED", "RUNNING").replace("|999|", "|Unknown|")
    answers = {
        "asking squeue": QUEUED,
        "asking sacct": running,
        "asking for ended": f"headnode:job 101 {encoded(said.SCONTROL)}\n",
        "reading logs": f"-\n{LOG}{LOG}",
    }
    assert _ended(data, answers) == []


def test_every_procedure_is_fuzzed():
    """One that is new fails here until it has its conversation above."""
    found = set()
    for module in pkgutil.walk_packages(headnode.cluster.__path__, "headnode.cluster."):
        members = vars(importlib.import_module(module.name)).items()
        found |= {
            name
            for name, function in members
            if inspect.isgeneratorfunction(function)
            and function.__module__ == module.name
            and not name.startswith("_")
            and "Procedure" in str(inspect.signature(function).return_annotation)
        }
    assert len(found) > 30
    assert found - {name.partition(",")[0] for name in TALKS} == set()
