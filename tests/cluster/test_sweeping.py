"""What this Airflow has in a cluster's queue, told by the directories that its jobs run in."""

import dataclasses
import uuid

import pytest

from headnode.cluster.cancellation import withdraw
from headnode.cluster.submission import submit
from headnode.cluster.sweeping import QueuedJob, find_jobs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


def test_jobs_and_whose_they_are(slurm_cluster, ask, new_place, new_request):
    """Waiting and running ones with the labels of their tasks; not those of others, and not those that ended."""
    places = [new_place() for _ in range(3)]
    places[1] = dataclasses.replace(places[1], owner=str(uuid.uuid4()), number=2)
    ids = [ask(submit(new_request(place=place))).job_id for place in places]
    array = new_place()
    request = dataclasses.replace(new_request(place=array), options=("--array=0-3", "--hold"), is_array=True)
    array_id = ask(submit(request)).job_id
    slurm_cluster.run("sbatch", "--chdir=/tmp", "--output=/dev/null", "--wrap=sleep 60")
    ask(withdraw(places[2]))
    found = ask(find_jobs(places[0].work_directory, places[0].deployment_id))
    expected = {(ids[0], places[0]), (ids[1], places[1]), (array_id, array)}
    assert {(job.job_id, job.place) for job in found if isinstance(job, QueuedJob)} == expected
    assert ask(find_jobs(places[0].work_directory, "another-deployment")) == []
