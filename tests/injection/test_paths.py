"""Hostile values in paths, names of files, sensors' fields and connections: refused, or nothing but a name."""

import posixpath
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from headnode.assets.remote_path import RemotePathEventTrigger
from headnode.cluster.conditions import JobNamed, PartitionFree, PathExists, PathState
from headnode.cluster.elements import read_log_ends
from headnode.cluster.logs import FollowedLogs, LogPosition, read_logs, read_pieces, read_result
from headnode.cluster.observation import observe
from headnode.cluster.procedures import shell
from headnode.cluster.staging.manifest import Item, check_items
from headnode.cluster.staging.openssh import render_config, why_not
from headnode.cluster.staging.remote import survey
from headnode.cluster.watched import WatchedPlace, read_version, store_version
from headnode.errors import HeadnodeError, JobSpecError, TransferRefused
from headnode.hooks.code_archive import pack_code, resolve_code_folder
from headnode.hooks.slurm import SlurmHook
from headnode.hooks.staging import Options, download, upload
from headnode.operators.staging import _check_path
from headnode.sensors.checks import check_count, check_job_id, check_name, check_path
from headnode.slurm.dependencies import Never, OtherTask, judge, parse_dependencies
from headnode.slurm.record import JobRecord, Labels
from headnode.ssh.settings import ConnectionInvalid, parse_connection

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.usefixtures("no_trace")]


def accepted(check, values):
    """Return the values that ``check`` takes, as it returns them; it must refuse the others in one clear line."""
    found = []
    for value in values:
        try:
            found.append(check(value))
        except JobSpecError as refusal:
            problem = refusal
        else:
            continue
        assert problem.field
        assert problem.problem.isprintable()
    return found


@pytest.fixture
def hook(slurm_cluster, monkeypatch, work):
    """Return a hook, whose connection is in the environment."""
    connection = slurm_cluster.airflow_connection_json("slurm", work_directory=str(work), look_for_keys=False)
    monkeypatch.setenv("AIRFLOW_CONN_INJECTION", connection)
    made = SlurmHook("injection")
    yield made
    made.transport.close()


def test_names_of_files_arrive_as_they_are(hook, sendable, tmp_path, no_trace):
    """Those that could be taken for something else in a list are refused by name; code is packed by the same rule."""
    names = {
        value for value in sendable if "/" not in value and value not in ("", ".", "..") and len(value.encode()) < 256
    }
    refused = set()
    for name in names:
        try:
            check_items({name: Item(kind="file")}, where="here")
        except TransferRefused:
            refused.add(name)
    assert all(any(ord(character) < 32 or ord(character) == 127 for character in name) for name in refused)
    source = tmp_path / "names"
    source.mkdir()
    for name in names - refused:
        (source / name).write_text(name)
        if re.fullmatch(r"headnode-canary-[0-9]+", name):
            no_trace[1].add(source / name)
    assert len(names - refused) >= 60
    sent = upload(hook, source, "names", options=Options(token="injectio"))
    fetched = tmp_path / "fetched"
    assert download(hook, "names", fetched, options=Options(token="injectio"))["sha256"] == sent["sha256"]
    assert {path.name: path.read_text() for path in fetched.iterdir()} == {name: name for name in names - refused}
    assert pack_code(source)


def test_destinations_and_sources_are_one_path(hook, ask, values, work, no_trace):
    """What is looked at is the work directory with the value after it, and nothing above what the value says."""

    def checked(value):
        _check_path("destination", value, "task")
        return value

    paths = [path for path in accepted(checked, values) if len(path.encode()) < 200]
    assert len(paths) >= 150
    spots = ask(*(survey(f"below/{path}", work_directory=str(work)) for path in paths[::2]))
    for path, spot in zip(paths[::2], spots, strict=True):
        assert spot.path == posixpath.normpath(f"{work}/below/{path}")
    for value in paths[::40]:
        target = Path(posixpath.normpath(f"{work}/sent/{value}"))
        upload(hook, Path(__file__), f"sent/{value}/file", options=Options(token="injectio"))
        no_trace[1].add(target)
        assert (target / "file").read_bytes() == Path(__file__).read_bytes()
    for value in values[::3]:
        with pytest.raises(HeadnodeError):
            upload(hook, Path(f"/nonexistent/{value}"), "x", options=Options(token="injectio"))


def test_folders_of_code_are_paths(values, tmp_path):
    """One that is not there is refused, whatever it is called."""
    for value in values:
        try:
            folder = resolve_code_folder(value, str(tmp_path / "dag.py"))
        except JobSpecError as refusal:
            problem = refusal
        else:
            assert folder.is_dir()
            continue
        assert problem.field == "code"


def test_what_sensors_look_at(ask, values, sendable):
    """All paths, names and partitions in one look, which finds nothing of these names."""
    paths = accepted(check_path, [*values, *(f"/nonexistent/{value}" for value in values)])
    assert accepted(lambda value: RemotePathEventTrigger(path=value).path, paths) == paths
    assert len(paths) >= 200
    names = accepted(lambda value: check_name(value, "job_name", "the name of a job"), values)
    assert len(names) >= 150
    # Other tests have had jobs with the values for names.
    names = [f"none {name}" for name in names if len(name) < 1000]
    missing = [path for path in paths if path.startswith("/nonexistent/") and len(path) < 4000]
    conditions = [
        *(PathExists(path=path) for path in missing),
        *(PartitionFree(partition=name, nodes=1) for name in names),
        *(JobNamed(name=name) for name in names),
    ]
    seen = ask(observe(conditions))
    for path in missing:
        state = seen.paths[path]
        assert state is None or isinstance(state, HeadnodeError)
        assert not isinstance(state, PathState)
    assert not isinstance(seen.jobs[""], HeadnodeError), seen.jobs[""]
    assert list(seen.jobs[""]) == []
    assert list(seen.nodes) == []
    users = ask(*(observe([JobNamed(name="x", user=user)]) for user in names[::25]))
    assert all(isinstance(seen.jobs[user], HeadnodeError) for seen, user in zip(users, names[::25], strict=True))
    assert {type(each) for each in accepted(check_job_id, values)} <= {str}
    assert all(each < 10**9 for each in accepted(lambda value: check_count(value, "free_nodes"), values))
    assert len(sendable) >= 200


def test_files_of_jobs_are_paths(ask, sendable):
    """Logs and results are read from where they are said to be, and nowhere else."""
    folders = [f"/nonexistent/{value}" for value in sendable if len(value) < 1000]
    pieces = ask(read_pieces([LogPosition(path=folder, offset=0) for folder in folders]))
    assert {piece.data for piece in pieces} == {b""}
    assert {end.data for end in ask(read_log_ends(folders, max_bytes=10))} == {b""}
    seen = ask(read_logs([FollowedLogs(directory=folder) for folder in folders]))
    assert not any(each.script_over or each.pieces[0].data for each in seen)
    for folder in folders[::30]:
        with pytest.raises(HeadnodeError):
            ask(read_result(folder, is_array=False))


def test_texts_that_no_shell_can_be_sent_are_refused(values):
    """Wherever they come from."""
    unsendable = [value for value in values if re.search("[\0\ud800-\udfff]", value)]
    assert len(unsendable) >= 5
    for value in unsendable:
        with pytest.raises(HeadnodeError):
            shell(f"cat {shlex.quote(value)}", purpose="a test")


def test_fields_of_a_connection(values, ask, work, tmp_path, no_trace):
    """The host, the user and the directories are words: ssh reads one host and one user, and runs nothing."""
    configured = []
    for value in values:
        try:
            settings = parse_connection(
                conn_id="c", host=value, port=22, login=value, password=None, extra={"work_directory": f"/{value}"}
            )
        except ConnectionInvalid:
            continue
        if why_not(settings.ssh) is None:
            configured.append(
                (value, render_config(settings.ssh, known_hosts="/nonexistent", identity=f"/nonexistent/{value}"))
            )
    assert len(configured) >= 150
    for number, (_, config) in enumerate(configured):
        (tmp_path / f"{number}").write_text(config, errors="replace")
    script = f'for n in $(seq 0 {len(configured) - 1}); do ssh -G -F "$n" headnode-host >"$n.out" 2>"$n.err"; done'
    subprocess.run(["bash", "-c", script], cwd=tmp_path, check=False, timeout=120)
    for number in range(len(configured)):
        read = (tmp_path / f"{number}.out").read_text(errors="replace")
        assert "proxycommand" not in read
        assert "permitlocalcommand no" in read or not read
    places = []
    for value in values:
        try:
            settings = parse_connection(
                conn_id="c", host="h", port=22, login="u", password=None, extra={"work_directory": f"{work}/at/{value}"}
            )
        except ConnectionInvalid:
            continue
        places.append(WatchedPlace(work_directory=settings.work_directory, deployment_id="t", name="x"))
    assert len(places) >= 150
    no_trace[1].add(work / "at")
    chosen = [place for place in places if len(place.work_directory) < 200 and "\0" not in place.work_directory][::20]
    ask(*(store_version(place, "1 2") for place in chosen))
    assert ask(*(read_version(place) for place in chosen)) == ["1 2"] * len(chosen)


def test_tasks_and_records_that_are_depended_on(values):
    """Any task may be named; of its record only ids of jobs reach Slurm."""
    labels = Labels(dag_id="d", run_id="r", task_id="t")
    for value in values:
        if value.strip():
            assert parse_dependencies(value).pairs() == [("afterok", value)]
        record = JobRecord(
            key="k", conn_id="c", host="h", labels=labels, job_id=value, job_name="n", directory="/d", log_path="/l",
            script_sha256="0", requested={}, submissions=[],
        )  # fmt: skip
        verdict = judge("afterok", OtherTask(task_id="t", state="deferred", record=record), host="h")
        assert isinstance(verdict, Never) or value.isdigit()
