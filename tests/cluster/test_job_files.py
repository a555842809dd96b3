"""What a job finds on the cluster and what it leaves there: names, code, words and results arrive unchanged."""

import io
import tarfile

import pytest

from headnode.cluster.logs import read_result
from headnode.cluster.procedures import Pause
from headnode.cluster.queries import snapshot
from headnode.cluster.submission import SubmitRequest, submit
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.script import render_script

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


def archive(**files):
    """Return a gzipped tar archive of files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def test_code_travels_once(ask, tmp_path, new_request, wait_until_over):
    """Two jobs with the same code share its upload; each runs in a copy of its own and may write there."""
    code = archive(model="x = 1\n")
    command = ["bash", "-c", 'printf \'"%s"\' "$(cat model)" > "$HEADNODE_RESULT"; echo changed > model']
    pauses: list[Pause] = []
    jobs = [ask(submit(new_request(command, code=code)), pauses=pauses) for _ in range(2)]
    for job in jobs:
        wait_until_over(job.job_id)
        assert ask(read_result(job.directory, is_array=False)) == "x = 1"
    stored = list((tmp_path / "t" / "code").iterdir())
    assert len(stored) == 1
    assert (stored[0] / "model").read_text() == "x = 1\n"


def test_an_arrays_results_are_a_list(ask, new_request, wait_until_over):
    """In the order of elements."""
    command = ["bash", "-c", 'echo $((SLURM_ARRAY_TASK_ID * SLURM_ARRAY_TASK_ID)) > "$HEADNODE_RESULT"']
    job = ask(submit(new_request(command, sbatch_options={"array": "8-11"})))
    wait_until_over(job.job_id)
    assert ask(snapshot([job.job_id])) == {}
    assert ask(read_result(job.directory, is_array=True)) == [64, 81, 100, 121]


NASTY_NAMES = [
    "two words",
    "it's",
    'say "hi"',
    "back\\slash",
    "#hash",
    "$HOME `id` $(id)",
    "%j ü 漢",
    " padded ",
    "--x",
    "\\",
]


def test_sbatch_reads_names_as_they_were_given(slurm_cluster, ask, new_place):
    """Any character of a line arrives in Slurm through the #SBATCH line's quotes."""
    requests = []
    for name in NASTY_NAMES:
        spec = parse_jobspec({"job_name": name, "command": "true", "sbatch_options": {"hold": True}})
        requests.append(SubmitRequest(place=new_place(), script=render_script(spec)))
    jobs = ask(*(submit(request) for request in requests))
    queue = slurm_cluster.run("squeue", "-h", "-o", "%F|%j").stdout
    names = dict(line.split("|", 1) for line in queue.splitlines())
    assert [names[job.job_id] for job in jobs] == NASTY_NAMES


def test_carriage_returns_pass_slurms_check(ask, new_request, wait_until_over):
    """A form in a browser sends DOS line breaks, and Slurm refuses scripts that have one."""
    command = ["bash", "-c", 'printf %s "$1" | od -An -c > seen; echo 1 > "$HEADNODE_RESULT"', "bash", "a\r\nb"]
    job = ask(submit(new_request(command)))
    wait_until_over(job.job_id)
    assert ask(read_result(job.directory, is_array=False)) == 1
