"""Certificates of seconds expire while Airflow follows jobs: no task fails, and all go on after the renewal."""

import json
import shlex
import time

import pytest

from headnode.ssh.credentials import read_certificate
from headnode.testing import CertificateAuthority, SshdOptions

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]

VALID_SECONDS = 20


class Site:
    """An sshd that takes certificates alone, and a connection to it."""

    def __init__(self, way, cluster, airflow, directory):
        self.task_id, self.conn_id = f"renewed_by_{way}", f"expiring_{way}"
        self._airflow = airflow
        self.authority = CertificateAuthority(directory / f"{way}-keys", user=cluster.user)
        self._starting = cluster.sshd(SshdOptions(trusted_ca=self.authority.public_key), name=way)
        program = directory / f"renew-{way}"
        program.write_text(f"#!/bin/sh\n{shlex.join(self.authority.certify_command())}\n")
        program.chmod(0o755)
        self._renewal = {"credential_command": [str(program)]} if way == "program" else {}
        self._work = directory / "work"

    def __enter__(self):
        self.sshd = sshd = self._starting.__enter__()
        extra = {
            "key_file": str(self.authority.key_file),
            "host_key": sshd.host_key,
            "work_directory": str(self._work),
            "poll_seconds": 1,
            "poll_max_seconds": 2,
            "logins_per_minute": 6000,
            **self._renewal,
        }
        fields = {"conn_type": "slurm", "host": sshd.host, "port": sshd.port, "login": sshd.user}
        body = {"connection_id": self.conn_id, **fields, "extra": json.dumps(extra)}
        self._airflow.api("POST", "/connections", json=body)
        return self

    def __exit__(self, *_):
        self._airflow.api("DELETE", f"/connections/{self.conn_id}")
        self._starting.__exit__(None, None, None)

    @property
    def is_over(self):
        """Whether the certificate's time is over."""
        return read_certificate(str(self.authority.certificate_file)).is_over(time.time())


@pytest.fixture
def sites(slurm_cluster, airflow, tmp_path):
    """Give two sites: where a person renews the certificate, and where a program does."""
    with (
        Site("hand", slurm_cluster, airflow, tmp_path) as hand,
        Site("program", slurm_cluster, airflow, tmp_path) as by,
    ):
        yield hand, by


def test_no_task_fails(sites, start, tmp_path, wait_until):
    """The task's log says what is to be done; both go on with the job that runs all the time."""
    hand, program = sites
    release = tmp_path / "release"
    for site in sites:
        site.authority.certify(seconds=VALID_SECONDS)
    run = start("expiring_jobs", release=str(release))

    def runs(site):
        if site.is_over and not run.record(site.task_id):
            site.authority.certify(seconds=VALID_SECONDS)  # a busy machine was slow to begin
        record = run.record(site.task_id)
        return record and record["state"] == "RUNNING"

    for site in sites:
        wait_until(lambda site=site: runs(site), f"{site.task_id} runs", timeout_seconds=120)
    wait_until(lambda: hand.is_over and (program.is_over or program.sshd.logins() > 1), "the certificates are over")
    before = program.sshd.logins()
    for site in sites:
        site.sshd.end_sessions()
    wait_until(lambda: "Renew it as the site says" in run.log(hand.task_id), "the log tells what is to be done")
    wait_until(lambda: program.sshd.logins() > before, "the program has renewed the certificate")
    assert set(run.states().values()) == {"deferred"}
    hand.authority.certify()
    wait_until(lambda: "answers again" in run.log(hand.task_id), "the log tells that it is over")
    release.touch()
    assert run.wait() == "success"
    for site in sites:
        assert run.tries(site.task_id) == 1
        assert len(run.record(site.task_id)["submissions"]) == 1
        assert site.sshd.refusals() == 0
    assert run.log(hand.task_id).count("Renew it as the site says") == 1
