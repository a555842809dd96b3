"""Secrets of jobs: in a file that only its job reads, and nowhere else, whatever becomes of the job."""

import hashlib
import os
import stat
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from headnode.cluster.cancellation import withdraw
from headnode.cluster.secrets import LEFT_AFTER_MINUTES, JobSecrets, discard_secrets
from headnode.cluster.submission import submit
from headnode.cluster.sweeping import find_jobs
from headnode.errors import CommandRefused, JobSpecError
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.script import render_script
from headnode.slurm.secrets import WITHOUT_SECRETS, render_secrets

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

MARK = "Zq7vKp2mXw9"
VALUES = {
    "TOKEN": f"{MARK}-token",
    "PRIVATE_KEY": f'-----BEGIN-----\n{MARK}\n it\'s "$HOME" `id` \\n \t\r\n!! ü漢🔑 %s -----END-----\n\n',
}
REFERENCES = {"TOKEN": "variable:token", "PRIVATE_KEY": "connection:c.extra.private_key"}
SECRETS = JobSecrets(content=render_secrets(VALUES))
WHERE = 'printf %s "$TOKEN" | sha256sum; printf %s "$PRIVATE_KEY" | sha256sum'


def files_with_secrets(*folders):
    """Return the files below the folders in which a secret's text is."""
    found = subprocess.run(
        ["grep", "--recursive", "--files-with-matches", "--fixed-strings", "--file=-", *map(str, folders)],
        input=MARK,
        capture_output=True,
        text=True,
        check=False,
    )
    return set(found.stdout.splitlines())


@contextmanager
def watched_command_lines():
    """Look at the command lines of all processes again and again; fail where a secret was in one."""
    seen, over = set(), threading.Event()

    def look():
        while not over.is_set():
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = process.read_bytes()
                except OSError:
                    continue
                if MARK.encode() in words:
                    seen.add(words)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    assert not seen


@pytest.fixture
def secret_request(new_request):
    """Return a function that makes the request for a job with secrets, by default one that waits in the queue."""

    def make(command=WHERE, *, secrets=SECRETS, **fields):
        fields = {"sbatch_options": {"hold": True}, **fields}
        return replace(new_request(command, secret_env=REFERENCES, **fields), secrets=secrets)

    return make


@pytest.fixture
def secrets_folder(tmp_path):
    """Return the folder in which secrets wait for their jobs."""
    return tmp_path / "t" / "secrets"


def wait_for(condition):
    """Wait until something is so, within bounds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)


def hashes():
    """Return what the jobs print where all arrived."""
    return [hashlib.sha256(value.encode()).hexdigest() for value in VALUES.values()]


def test_only_the_file_before_the_start_holds_them(slurm_cluster, ask, secret_request, tmp_path, wait_until_over):
    """Not the script, a log, Slurm's own files, the job's description or a command line, at any time."""
    command = f'{WHERE}\ntouch begun\nwhile [ ! -e "$HEADNODE_DIRECTORY/go" ]; do sleep 0.1; done'
    everywhere, secrets_folder = (tmp_path, slurm_cluster.directory), tmp_path / "t" / "secrets"
    with watched_command_lines():
        job = ask(submit(secret_request(command)))
        file = secrets_folder / job.key / "job"
        assert files_with_secrets(*everywhere) == {str(file)}
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert {stat.S_IMODE(each.stat().st_mode) for each in file.parents[:2]} == {0o700}
        described = slurm_cluster.run("scontrol", "--details", "show", "job", job.job_id).stdout
        slurm_cluster.run("scontrol", "release", job.job_id)
        wait_for((Path(job.directory) / "work" / "begun").exists)
        assert files_with_secrets(*everywhere) == set()
        described += slurm_cluster.run("scontrol", "--details", "show", "job", job.job_id).stdout
        (Path(job.directory) / "go").touch()
        wait_until_over(job.job_id)
    assert MARK not in described
    assert files_with_secrets(*everywhere) == set()
    assert not list(secrets_folder.iterdir())
    output = (Path(job.directory) / "output.log").read_text()
    assert [line.split()[0] for line in output.splitlines() if line.endswith("  -")] == hashes()


@pytest.mark.parametrize("shell", ["/bin/bash -xv", "/bin/bash -eu", "/bin/sh"])
def test_shells_that_show_or_end_at_much(ask, new_place, secret_request, wait_until_over, shell):
    """The secrets arrive, and the log of a shell that traces what it runs does not show them."""
    text = f"#!{shell}\ncase $- in *x*) echo tracing;; esac\nenv -0 | grep -z PRIVATE_KEY | sha256sum >seen\nexit 0\n"
    spec = parse_jobspec({"job_name": "j", "script": text, "secret_env": REFERENCES})
    request = replace(secret_request(), place=new_place(), script=render_script(spec))
    job = ask(submit(request))
    wait_until_over(job.job_id)
    directory = Path(job.directory)
    wanted = hashlib.sha256(f"PRIVATE_KEY={VALUES['PRIVATE_KEY']}\0".encode()).hexdigest()
    assert (directory / "work" / "seen").read_text().split()[0] == wanted
    assert ("tracing" in (directory / "output.log").read_text()) == ("x" in shell)
    assert files_with_secrets(directory) == set()


def test_a_job_does_not_run_without_them(slurm_cluster, ask, secret_request, secrets_folder, wait_until_over):
    """It says so, and ends with an exit code of its own."""
    job = ask(submit(secret_request("touch ran")))
    (secrets_folder / job.key / "job").unlink()
    slurm_cluster.run("scontrol", "release", job.job_id)
    wait_until_over(job.job_id)
    directory = Path(job.directory)
    assert "the secrets of this job (PRIVATE_KEY, TOKEN) are not in" in (directory / "error.log").read_text()
    assert (directory / "end").read_text().split()[0] == str(WITHOUT_SECRETS)
    assert not (directory / "work" / "ran").exists()


def test_a_file_that_is_not_whole(slurm_cluster, ask, secret_request, secrets_folder, wait_until_over):
    """As of a disk that was full: the job does not run with some of them."""
    job = ask(submit(secret_request("touch ran")))
    (secrets_folder / job.key / "job").write_text(f"export TOKEN={MARK}\n")
    slurm_cluster.run("scontrol", "release", job.job_id)
    wait_until_over(job.job_id)
    assert (Path(job.directory) / "end").read_text().split()[0] == str(WITHOUT_SECRETS)
    assert not (Path(job.directory) / "work" / "ran").exists()


def test_each_element_has_its_own(slurm_cluster, ask, secret_request, secrets_folder, wait_until_over):
    """It takes its own away, and the last one the folder."""
    secrets = replace(SECRETS, indexes="0-2,7")
    request = secret_request(secrets=secrets, sbatch_options={"array": "0-2,7%1", "hold": True})
    job = ask(submit(replace(request, is_array=True)))
    folder = secrets_folder / job.key
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == dict.fromkeys("0127", 0o600)
    slurm_cluster.run("scontrol", "release", job.job_id)
    wait_until_over(job.job_id)
    for element in (0, 1, 2, 7):
        lines = (Path(job.directory) / f"output.{element}.log").read_text().splitlines()
        assert [line.split()[0] for line in lines if line.endswith("  -")] == hashes()
    assert not folder.exists()


def test_withdrawing_removes_them(ask, secret_request, secrets_folder):
    """A job that is cancelled before it starts can't do it itself."""
    request = secret_request()
    job = ask(submit(request))
    assert ask(withdraw(request.place)) == [job.job_id]
    assert not list(secrets_folder.iterdir())


def test_a_later_try_removes_those_of_the_one_before(ask, new_place, secret_request, secrets_folder):
    """It cancels the job that never started."""
    first = secret_request()
    earlier = ask(submit(first))
    place = replace(first.place, owner=new_place().owner)
    later = ask(submit(replace(first, place=place)))
    assert later.key != earlier.key
    assert [each.name for each in secrets_folder.iterdir()] == [later.key]


def test_after_a_refusal_none_are_left(ask, secret_request, secrets_folder):
    """Slurm refused the job, so nobody will read them."""
    with pytest.raises(CommandRefused):
        ask(submit(secret_request(partition="nowhere")))
    assert not list(secrets_folder.iterdir())


def test_discarding_those_of_a_job_that_ended_unread(slurm_cluster, ask, secret_request, secrets_folder):
    """Somebody cancelled it in the queue."""
    request = secret_request()
    job = ask(submit(request))
    slurm_cluster.run("scancel", job.job_id)
    ask(discard_secrets(request.place, [job.key, "never-1"]))
    assert not list(secrets_folder.iterdir())


def test_sweeping_removes_those_that_nobody_reads_any_more(
    slurm_cluster, ask, secret_request, secrets_folder, tmp_path
):
    """Not those of a job in the queue, nor those of a submission that may be under way."""
    gone, queued, new = (ask(submit(secret_request())) for _ in range(3))
    slurm_cluster.run("scancel", gone.job_id, new.job_id)
    before = time.time() - 60 * (LEFT_AFTER_MINUTES + 1)
    for job in (gone, queued):
        os.utime(secrets_folder / job.key, (before, before))
    assert {job.job_id for job in ask(find_jobs(str(tmp_path), "t"))} == {queued.job_id}
    assert {each.name for each in secrets_folder.iterdir()} == {queued.key, new.key}


def test_secrets_that_airflow_does_not_give(ask, secret_request, secrets_folder):
    """Nothing is submitted; a job that was submitted when they were there goes on."""
    withheld = JobSecrets(refusal=JobSpecError("secret_env", "Airflow has no variable 'token'"))
    request = secret_request(secrets=withheld)
    with pytest.raises(JobSpecError, match="Airflow has no variable"):
        ask(submit(request))
    job = ask(submit(replace(request, secrets=SECRETS)))
    again = ask(submit(request))
    assert (again.job_id, again.adopted) == (job.job_id, True)
    assert len(list(secrets_folder.iterdir())) == 1
