"""What a trigger tells a worker: the error arrives as it was, and whether a job may be left behind is known."""

import json

import pytest
from airflow.sdk.exceptions import AirflowFailException

from headnode import errors
from headnode.cluster.submission import Superseded
from headnode.errors import CommandRefused, HeadnodeError, JobError, JobSpecError
from headnode.triggers.outcome import error_in, failure, may_have_left_a_job, success, to_airflow

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, HeadnodeError) and kind is not JobSpecError
]
FINAL = {
    errors.HostKeyRefused,
    errors.AuthenticationRefused,
    errors.OutcomeUnknown,
    errors.JobLost,
    errors.DependencyFailed,
    errors.CommandRefused,
    errors.TransferRefused,
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_arrives_on_the_worker_as_it_was(kind):
    """Its class, its message and what it was about; all as JSON."""
    outcome = json.loads(json.dumps(failure(kind("no luck"), about="task 't'", owners=["me"])))
    arrived = error_in(outcome)
    assert type(arrived) is kind
    assert str(arrived) == "task 't': no luck"
    assert isinstance(to_airflow(arrived, name=outcome["error"]), AirflowFailException) == (kind in FINAL)


def test_what_a_policy_refused_may_pass_later():
    """So Airflow's retries are left to it."""
    refused = CommandRefused("too many jobs", kind="policy")
    assert to_airflow(error_in(failure(refused, about="task 't'")), name="CommandRefused").kind == "policy"


@pytest.mark.parametrize("kind", KINDS)
def test_only_an_end_by_the_infrastructure_may_leave_a_job(kind):
    """Not one that the job itself came to, nor one that Slurm refused."""
    outcome = failure(kind("no luck"), about="task 't'", owners=["me"])
    assert may_have_left_a_job(outcome) == (not issubclass(kind, JobError | CommandRefused))


def test_who_submitted_nothing_has_left_nothing():
    """A bad field, a success, a try that another has taken over, or what an earlier headnode stored."""
    lost = errors.ConnectionLost("gone")
    assert not may_have_left_a_job(failure(lost, about="task 't'"))
    assert not may_have_left_a_job(failure(Superseded("gone"), about="task 't'", owners=["me"]))
    assert not may_have_left_a_job(success(1, None))
    stored = failure(lost, about="task 't'", owners=["me"])
    del stored["owners"]
    assert not may_have_left_a_job(stored)
