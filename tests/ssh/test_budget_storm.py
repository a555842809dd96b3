"""200 jobs at once, from 8 worker processes beside a triggerer, to a host that drops whoever logs in at the same time.

sshd with ``MaxStartups 2:50:5`` drops half of the logins that begin while two others are under way, and tells of it in
its log. Nothing else but the budget keeps the processes apart.
"""

import asyncio
import json
import os
import sys

import pytest

from headnode.cluster.tracker import JobOver, Tracker
from headnode.ssh.asyncssh_transport import AsyncSSHTransport
from headnode.ssh.settings import parse_connection
from headnode.testing.sshd import SshdOptions

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

PROCESSES, LOGINS_EACH, JOBS_EACH_LOGIN = 8, 5, 5
BUDGET = {"logins_per_minute": 45, "concurrent_logins": 1}
# Workers of Airflow are forked as these are, and each task of theirs has a hook of its own.
WORKERS = """
import json, multiprocessing, os, sys, uuid
from headnode.cluster.place import JobPlace
from headnode.cluster.submission import SubmitRequest, submit
from headnode.hooks.slurm import SlurmHook
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.record import Labels
from headnode.slurm.script import render_script
import headnode.hooks.paramiko_transport

processes, logins_each, jobs_each_login = map(int, sys.argv[1:])
script = render_script(parse_jobspec({"job_name": "storm", "command": ["true"], "memory": "10M"}))

def work(worker, ready):
    ready.wait()
    for _ in range(logins_each):
        hook = SlurmHook("site")
        for _ in range(jobs_each_login):
            labels = Labels(dag_id="storm", run_id=str(worker), task_id=uuid.uuid4().hex)
            place = JobPlace(work_directory=hook.settings.work_directory, deployment_id="t", labels=labels,
                             owner=str(uuid.uuid4()))
            job = hook.run(submit(SubmitRequest(place=place, script=script)))
            line = json.dumps([job.job_id, job.key, job.directory, job.adopted])
            os.write(1, f"{line}\\n".encode())  # whole, whoever else writes
        hook.transport.close()

fork = multiprocessing.get_context("fork")
ready = fork.Barrier(processes)
workers = [fork.Process(target=work, args=(number, ready)) for number in range(processes)]
for each in workers:
    each.start()
for each in workers:
    each.join()
sys.exit(max(abs(each.exitcode) for each in workers))
"""


async def followed(tracker, job_id, key, directory):
    """Follow the job to its end, and return the state that it ended with."""
    async for event in tracker.follow(job_id, key=key, directory=directory, outage_tolerance_seconds=0.0):
        if isinstance(event, JobOver):
            return event.entry.state_word
    return None


async def storm(settings, environment):
    """Let the workers submit and the triggerer follow; return what became of each job, and its line."""
    arguments = [str(number) for number in (PROCESSES, LOGINS_EACH, JOBS_EACH_LOGIN)]
    workers = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKERS, *arguments, env=environment, stdout=-1, stderr=-1
    )
    tracker = Tracker(AsyncSSHTransport(settings.ssh), poll_seconds=1.0, poll_max_seconds=2.0)
    complaints = asyncio.create_task(workers.stderr.read())
    lines, ends = [], []
    async for line in workers.stdout:
        lines.append(json.loads(line))
        ends.append(asyncio.create_task(followed(tracker, *lines[-1][:3])))
    assert await workers.wait() == 0, (await complaints).decode()
    try:
        return await asyncio.gather(*ends), lines
    finally:
        await tracker.transport.close()


def test_200_jobs_at_once(slurm_cluster, tmp_path):
    """All are submitted once and end well; nobody was dropped, and nobody logged in more often than the budget."""
    with slurm_cluster.sshd(SshdOptions(max_startups="2:50:5"), name="storm") as sshd:
        extra = {
            "key_file": str(slurm_cluster.key_file),
            "host_key": sshd.host_key,
            "work_directory": str(tmp_path / "work"),
            **BUDGET,
        }
        connection = {"host": sshd.host, "port": sshd.port, "login": sshd.user, "extra": extra}
        settings = parse_connection(conn_id="site", password=None, **connection, budget_directory=str(tmp_path / "b"))
        environment = os.environ | {
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW_CONN_SITE": json.dumps({"conn_type": "slurm", **connection}),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "AIRFLOW__HEADNODE__BUDGET_DIRECTORY": str(tmp_path / "b"),
        }
        ends, lines = asyncio.run(asyncio.wait_for(storm(settings, environment), 240))
        jobs = PROCESSES * LOGINS_EACH * JOBS_EACH_LOGIN
        assert ends == ["COMPLETED"] * jobs
        assert not any(adopted for *_, adopted in lines)
        past = slurm_cluster.run("sacct", "-nXP", "-S", "now-1hour", "--name=storm", "-o", "JobID").stdout.split()
        assert sorted(past) == sorted(job_id for job_id, *_ in lines)
        assert len(set(past)) == jobs
        assert sshd.dropped() == 0, sshd.said()
        # The whole storm may take longer than a minute, but never has more logins than these.
        assert sshd.logins() == PROCESSES * LOGINS_EACH + 1
        assert sshd.connections() == sshd.logins(), "a login had to be repeated"
