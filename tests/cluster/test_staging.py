"""Uploads and downloads over a real sshd, by rsync and by SFTP: whole, resumable, checked, and sent once."""

import dataclasses
import hashlib
import logging
import os
import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from headnode.cluster.place import JobPlace
from headnode.cluster.submission import SubmitRequest, submit
from headnode.errors import ContentDiffers, JobSpecError, NoSpaceLeft, TransferError, TransferRefused, TransferStopped
from headnode.hooks.code_archive import prepare_code
from headnode.hooks.slurm import SlurmHook
from headnode.hooks.staging import Options, download, upload
from headnode.hooks.transfer import Stop
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.record import Labels
from headnode.slurm.script import render_script
from headnode.testing import faults

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

MIB = 1024 * 1024
OPTIONS = Options(token="tests000", first_retry_seconds=0.1)
STRANGE_NAMES = ["-rf", 'naïve Ω/it\'s "$HOME" `x`', "a b\\c", "*?[x]"]

# A ProxyCommand that counts what passes, and breaks the first connection on which so many bytes have passed.
PROXY = """
import os, select, socket, sys
host, port, counts, limit, up = sys.argv[1:]
link = socket.create_connection((host, int(port)))
account = os.open(counts + "." + str(os.getpid()), os.O_WRONLY | os.O_CREAT)
passed = [0, 0]
while True:
    ready, _, _ = select.select([0, link], [], [])
    for end in ready:
        data = os.read(0, 65536) if end == 0 else link.recv(65536)
        if not data:
            raise SystemExit
        link.sendall(data) if end == 0 else os.write(1, data)
        passed[end != 0] += len(data)
        os.pwrite(account, b"%20d %20d" % tuple(passed), 0)
        if passed[up == "down"] > int(limit):
            try:
                os.unlink(counts + ".cut")
            except FileNotFoundError:
                continue
            raise SystemExit
"""


@pytest.fixture(params=["rsync", "SFTP"])
def carrier(request, slurm_cluster):
    """Let files travel in the one way or the other: the second is taken where the far end has no rsync."""
    wrapper = slurm_cluster.directory / "bin" / "rsync"
    if request.param == "SFTP":
        wrapper.write_text("#!/bin/sh\nexit 127\n")
        wrapper.chmod(0o755)
    yield request.param
    wrapper.unlink(missing_ok=True)


@pytest.fixture
def work(tmp_path):
    """Return the connection's work directory on the cluster."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def connect(slurm_cluster, monkeypatch, work):
    """Return a function that makes one more hook."""
    made = []

    def make(**extra):
        connection = slurm_cluster.airflow_connection_json(
            "slurm", work_directory=str(work), compress=False, look_for_keys=False, **extra
        )
        monkeypatch.setenv(f"AIRFLOW_CONN_STAGING{len(made)}", connection)
        made.append(SlurmHook(f"staging{len(made)}"))
        return made[-1]

    yield make
    for hook in made:
        hook.transport.close()


@pytest.fixture
def log(caplog):
    """Return a function that gives the lines of the transfers so far."""
    caplog.set_level(logging.INFO, logger="headnode")
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("headnode.")]


@pytest.fixture
def tree(tmp_path):
    """Return a folder with many small files, one that is not, and names and kinds that need care."""
    folder = tmp_path / "source" / "tree"
    (folder / "empty").mkdir(parents=True)
    for number in range(300):
        (folder / f"file {number}").write_text(str(number))
    for name in STRANGE_NAMES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    (folder / "nothing in it").touch()
    (folder / "large").write_bytes(os.urandom(3 * MIB))
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("-rf")
    return folder


def content_of(folder):
    """Return all that is below a folder: kinds, contents and executable bits by path."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = str(path.readlink())
        elif path.is_dir():
            found[str(path.relative_to(folder))] = None
        else:
            found[str(path.relative_to(folder))] = (path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR))
    return found


def hidden_in(folder):
    """Return what is left of transfers in a folder."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_folder_there_and_back(connect, carrier, tree, work, log):
    """It is the same at each end, and is not moved a second time."""
    hook = connect()
    there = upload(hook, tree, "data/there", options=OPTIONS)
    assert content_of(work / "data/there") == content_of(tree)
    assert there["path"] == str(work / "data/there")
    assert there["files"] == len([one for one in tree.rglob("*") if one.is_file() and not one.is_symlink()])
    assert any(f"to be moved by {carrier}" in line for line in log())
    inode = (work / "data/there").stat().st_ino
    assert upload(hook, tree, "data/there", options=OPTIONS) == there
    assert (work / "data/there").stat().st_ino == inode
    back = download(hook, "data/there", work.parent / "back", options=OPTIONS)
    assert content_of(work.parent / "back") == content_of(tree)
    assert {**back, "path": there["path"]} == there
    assert download(hook, "data/there", work.parent / "back", options=OPTIONS) == back
    assert sum("is there already" in line for line in log()) == 2
    assert hidden_in(work / "data") + hidden_in(work.parent) == []


def test_only_what_changed_travels(connect, carrier, tree, work, log):
    """The rest is taken over from the folder that is replaced; files that would be lost are asked about first."""
    hook = connect()
    upload(hook, tree, "there", options=OPTIONS)
    (tree / "file 7").write_text("another text")
    (tree / "file 8").unlink()
    with pytest.raises(TransferRefused, match=r"holds 1 files that the source does not have \('file 8'\).*delete=True"):
        upload(hook, tree, "there", options=OPTIONS)
    assert (work / "there/file 7").read_text() == "7"
    upload(hook, tree, "there", options=dataclasses.replace(OPTIONS, delete=True))
    assert content_of(work / "there") == content_of(tree)
    assert any(f"12 B in 1 files to be moved by {carrier}" in line for line in log())


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_connection_that_breaks_costs_only_the_rest(connect, carrier, slurm_cluster, work, direction):
    """What has arrived is not sent again: counted on the wire."""
    proxy, counts, limit = work.parent / "proxy.py", work.parent / "counts", 9 * MIB
    proxy.write_text(PROXY)
    (work.parent / "counts.cut").touch()
    command = f"{sys.executable} {proxy} {slurm_cluster.host} {slurm_cluster.port} {counts} {limit} {direction}"
    hook = connect(host_proxy_cmd=command)
    size = 20 * MIB
    here, there = work.parent / "here", work / "there"
    source, sink = (here, there) if direction == "up" else (there, here)
    (source / "many").mkdir(parents=True)
    for number in range(200):
        (source / "many" / f"{number}").write_text(str(number))
    (source / "one").write_bytes(os.urandom(size))
    if direction == "up":
        upload(hook, here, "there", options=OPTIONS)
    else:
        download(hook, "there", here, options=OPTIONS)
    assert not (work.parent / "counts.cut").exists(), "the connection was not cut"
    assert content_of(sink) == content_of(source)
    connections = [path.read_text().split() for path in work.parent.glob("counts.*")]
    assert len(connections) == (3 if carrier == "rsync" else 2)
    passed = sum(int(one[direction == "down"]) for one in connections)
    # Besides: what was under way when it broke, and SSH's own.
    assert size < passed < size + 5 * MIB, carrier


@pytest.mark.usefixtures("carrier")
def test_a_file_appears_only_when_it_is_whole(connect, work, tmp_path):
    """While it arrives, the old one is there; an upload that is ended keeps what has arrived for the next."""
    (tmp_path / "new.bin").write_bytes(os.urandom(40 * MIB))
    (work / "file.bin").write_bytes(b"old")
    stop = Stop()
    seen = []

    def watch():
        while not (parts := list(work.glob(".file.bin.*.part/content"))) or parts[0].stat().st_size < MIB:
            time.sleep(0.001)
        stop.set()
        seen.append((work / "file.bin").read_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with pytest.raises(TransferStopped, match="kept for another try"):
        upload(connect(), tmp_path / "new.bin", "file.bin", options=dataclasses.replace(OPTIONS, stop=stop))
    watcher.join(30)
    assert seen == [b"old"]
    (part,) = work.glob(".file.bin.*.part/content")
    assert part.stat().st_size >= MIB
    upload(connect(), tmp_path / "new.bin", "file.bin", options=OPTIONS)
    assert (work / "file.bin").read_bytes() == (tmp_path / "new.bin").read_bytes()
    assert hidden_in(work) == []


@pytest.mark.parametrize("times", [1, 2])
def test_damage_is_found_at_the_far_end(connect, slurm_cluster, work, log, times):
    """A file that arrives with other content is sent once more; nothing damaged ever gets the name."""
    (work.parent / "file.bin").write_bytes(os.urandom(MIB))
    (work.parent / "damages").write_text("x" * times)
    wrapper = slurm_cluster.directory / "bin" / "rsync"
    wrapper.write_text(
        "#!/bin/bash\n"
        '/usr/bin/rsync "$@"; status=$?\n'
        f'if [ "$1" = --server ] && [ -s {work.parent}/damages ]; then\n'
        f"  truncate -s -1 {work.parent}/damages\n"
        f"  printf damage | dd of=$(echo {work}/.file.bin.*.part/content) conv=notrunc seek=100 2>/dev/null\n"
        "fi\nexit $status\n"
    )
    wrapper.chmod(0o755)
    try:
        if times == 1:
            upload(connect(), work.parent / "file.bin", "file.bin", options=OPTIONS)
            assert (work / "file.bin").read_bytes() == (work.parent / "file.bin").read_bytes()
        else:
            with pytest.raises(ContentDiffers, match=r"arrived at file.bin on .* with another SHA-256 twice"):
                upload(connect(), work.parent / "file.bin", "file.bin", options=OPTIONS)
            assert not (work / "file.bin").exists()
    finally:
        wrapper.unlink()
    assert any("another SHA-256" in line and "sent once more" in line for line in log())


@pytest.mark.usefixtures("carrier")
def test_two_uploaders_of_the_same_content(connect, tree, work):
    """Neither harms the other."""
    hooks = [connect() for _ in range(2)]
    options = [dataclasses.replace(OPTIONS, token=f"tests00{number}") for number in range(2)]
    done = []

    def send(number):
        done.append(upload(hooks[number], tree, "same", options=options[number]))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(done) == 2
    assert done[0] == done[1]
    assert content_of(work / "same") == content_of(tree)
    assert hidden_in(work) == []


@pytest.mark.usefixtures("carrier")
def test_a_full_disk_is_told_and_what_arrived_is_kept(connect, slurm_cluster, work, tmp_path):
    """A limit on the size of files stands for a quota: the message says what to do, and room lets it go on."""
    (tmp_path / "file.bin").write_bytes(os.urandom(6 * MIB))
    script = tmp_path / "limited"
    script.write_text(
        "#!/bin/bash\nulimit -f 3072\ntrap '' XFSZ\n"
        'case "$SSH_ORIGINAL_COMMAND" in internal-sftp) exec /usr/lib/openssh/sftp-server;; esac\n'
        'exec /bin/bash -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    script.chmod(0o755)
    refused = pytest.raises(NoSpaceLeft, match=r"(?i)file too large.*make room.*goes on from there")
    with slurm_cluster.sshd_options(f"ForceCommand {script}"), refused:
        upload(connect(), tmp_path / "file.bin", "file.bin", options=OPTIONS)
    (part,) = work.glob(".file.bin.*.part/content")
    assert part.stat().st_size > MIB
    upload(connect(), tmp_path / "file.bin", "file.bin", options=OPTIONS)
    assert (work / "file.bin").read_bytes() == (tmp_path / "file.bin").read_bytes()


def test_a_login_shell_that_prints(connect, slurm_cluster, tree, work, log):
    """Rsync can't bear it; what comes after takes another way, there and back."""
    small = tree / "nothing in it"
    small.write_text("now there is")
    (tree / "large").unlink()  # SFTP's own server is started by the shell here, and can't bear it either
    with faults.banner(slurm_cluster, "Welcome!"):
        hook = connect()
        upload(hook, tree, "there", options=OPTIONS)
        download(hook, "there", work.parent / "back", options=OPTIONS)
    assert content_of(work / "there") == content_of(work.parent / "back") == content_of(tree)
    assert any("going on by SFTP" in line for line in log())


@pytest.mark.parametrize(
    ("source", "destination", "message"),
    [
        ("tree", "~/.", "can't be replaced"),
        ("tree", "..", "can't be replaced"),
        ("tree", ".", "can't be replaced"),
        ("tree", "file", "is a file, and the source is a folder"),
        ("tree/-rf", "folder", "is a folder, and the source is a file"),
        ("elsewhere", "x", "there is nothing at"),
    ],
)
def test_destinations_that_are_refused(connect, tree, source, destination, message):
    """Nothing is replaced that would hurt."""
    work = tree.parents[1] / "work"
    (work / "file").touch()
    (work / "folder").mkdir()
    before = content_of(work)
    with pytest.raises(TransferRefused, match=message):
        upload(connect(), tree.parent / source, destination, options=OPTIONS)
    assert content_of(work) == before


def test_things_on_the_cluster_that_cannot_be_fetched(connect, work, tmp_path):
    """Nothing at all, a pipe, a link that leads out: each is named."""
    with pytest.raises(TransferError, match=r"there is nothing at missing on .*\(that is /"):
        download(connect(), "missing", tmp_path / "x", options=OPTIONS)
    (work / "odd").mkdir()
    os.mkfifo(work / "odd" / "pipe")
    with pytest.raises(TransferRefused, match="'pipe' is a device, a socket or a pipe"):
        download(connect(), "odd", tmp_path / "x", options=OPTIONS)
    (work / "odd" / "pipe").unlink()
    (work / "odd" / "link").symlink_to("/etc/passwd")
    with pytest.raises(TransferRefused, match="'link' is a symbolic link to '/etc/passwd'"):
        download(connect(), "odd", tmp_path / "x", options=OPTIONS)
    assert not (tmp_path / "x").exists()


def test_large_code_is_staged_where_jobs_find_it(connect, work, tmp_path, wait_until_over, log):
    """Once for the same content; caches stay at home; more than a limit is refused with the remedy."""
    folder = tmp_path / "code"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__" / "x.pyc").touch()
    (folder / "data.bin").write_bytes(os.urandom(MIB))
    (folder / "run.sh").write_text("#!/bin/sh\nwc -c < data.bin\n")
    (folder / "run.sh").chmod(0o755)
    hook = connect()
    given = {"conn_id": hook.slurm_conn_id, "deployment_id": "d", "options": OPTIONS}
    code = prepare_code(folder, **given)
    assert code.archive is None
    assert prepare_code(folder, **given) == code
    assert sum("is there already" in line for line in log()) == 1
    assert [path.name for path in (work / "d/code").iterdir()] == [code.sha256]
    assert sorted(path.name for path in (work / "d/code" / code.sha256).iterdir()) == ["data.bin", "run.sh"]
    labels = Labels(dag_id="tests", run_id="r", task_id="t")
    place = JobPlace(work_directory=str(work), deployment_id="d", labels=labels, owner="o")
    script = render_script(parse_jobspec({"job_name": "t", "memory": "10M", "command": ["./run.sh"]}))
    job = hook.run(submit(SubmitRequest(place=place, script=script, code_sha256=code.sha256)))
    wait_until_over(job.job_id)
    assert Path(job.directory, "output.log").read_text().split()[-1] == str(MIB)
    with (folder / "huge").open("wb") as huge:
        huge.truncate(1025 * MIB)
    with pytest.raises(JobSpecError, match=r"at most 1024 MiB go with a job.*UploadOperator"):
        prepare_code(folder, **given)


def test_keys_and_host_keys_that_stand_in_other_places(connect, slurm_cluster, work, tmp_path, log):
    """A key in the connection itself and a known_hosts file lead rsync to the host, too; no file of them is left."""
    (tmp_path / "file").write_text("content")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    extra = {
        "key_file": None,
        "private_key": slurm_cluster.key_file.read_text(),
        "host_key": None,
        "known_hosts": str(slurm_cluster.known_hosts),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(scratch))
        upload(connect(**extra), tmp_path / "file", "file", options=OPTIONS)
    assert (work / "file").read_text() == "content"
    assert any("to be moved by rsync" in line for line in log())
    assert list(scratch.iterdir()) == []


def test_what_another_task_left_long_ago_is_gone_on_with(connect, work, log):
    """Content is known by its hash, whoever began to send it; what somebody may still write to is left alone."""
    source = work.parent / "file.bin"
    source.write_bytes(os.urandom(2 * MIB))
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    old, young = (work / f".file.bin.{sha256[:16]}.{token}.part" for token in ("old00000", "young000"))
    for part in (old, young):
        part.mkdir()
        (part / "content").write_bytes(source.read_bytes()[:MIB])
    for path in (old / "content", old):
        os.utime(path, (0, 0))
    upload(connect(), source, "file.bin", options=OPTIONS)
    assert (work / "file.bin").read_bytes() == source.read_bytes()
    assert any("1.0 MiB of it are there from an earlier attempt" in line for line in log())
    assert hidden_in(work) == [young.name]
