"""Elements of arrays on a real cluster: their words, numbers, results and logs."""

import asyncio
from dataclasses import replace

import pytest

from headnode.cluster.elements import LogEnd, read_element_results, read_log_ends
from headnode.cluster.submission import submit
from headnode.cluster.tracker import JobOver, Tracker
from headnode.errors import JobFailed
from headnode.slurm.element_arguments import arguments_file, parse_arguments
from headnode.slurm.elements import failed_elements, plan_parts
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.script import render_script

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

COMMAND = """\
import json, os, sys
number = os.environ["HEADNODE_ELEMENT"]
print("element", number)
if sys.argv[1] == "fail": sys.exit("no")
if sys.argv[1] == "break": open(os.environ["HEADNODE_RESULT"], "w")
elif sys.argv[1] != "nothing":
    json.dump([int(number), *sys.argv[1:]], open(os.environ["HEADNODE_RESULT"], "w"), indent=1)
"""
WORDS = [["a\nb", "'"], "nothing", "x", "fail", "y", "z"]


def array(words, *, max_array_size):
    """Return the script of an array, and the options and files of each of its jobs with the part."""
    spec = parse_jobspec({"job_name": "test", "command": ["python3", "-c", COMMAND], "memory": "10M"})
    lines = parse_arguments(words)
    parts = plan_parts(range(len(words)), max_array_size=max_array_size)
    files = [
        {"arguments": arguments_file(lines, part.elements, part.offset), "element_offset": f"{part.offset}\n".encode()}
        for part in parts
    ]
    return render_script(spec, takes_arguments=True), list(zip(parts, files, strict=True))


@pytest.fixture
def run(connect, new_request, new_place):
    """Return a function that runs an array to its end: its parts, their directories and ends."""

    async def to_its_end(words, max_array_size):
        script, jobs = array(words, max_array_size=max_array_size)
        place = new_place()
        transport = connect()
        tracker = Tracker(transport, poll_seconds=1.0, poll_max_seconds=1.0)

        async def one(number, part, files):
            request = replace(
                new_request("true"),
                place=replace(place, number=number),
                script=script,
                files=files,
                options=(part.option,),
                is_array=True,
            )
            job = await tracker.run(submit(request))
            following = tracker.follow(
                job.job_id, key=job.key, is_array=True, elements=len(part.elements), outage_tolerance_seconds=60
            )
            events = [event async for event in following]
            assert isinstance(events[-1], JobOver)
            return part, job, part.ends(events[-1].entry.element_ends)

        try:
            return await asyncio.gather(*(one(at + 1, part, files) for at, (part, files) in enumerate(jobs)))
        finally:
            await transport.close()

    return lambda words, max_array_size: asyncio.run(asyncio.wait_for(to_its_end(words, max_array_size), 100))


def test_each_element_has_its_words_its_number_and_its_result(run, ask):
    """In whichever array job it runs; the logs are those of the index in that job."""
    parts = run(WORDS, 4)
    assert [part.elements for part, _, _ in parts] == [(0, 1, 2, 3), (4, 5)]
    ends = {element: end for _, _, ends in parts for element, end in ends.items()}
    assert failed_elements(ends) == [3]
    assert ends[3].exit_code == 1
    directories = [job.directory for _, job, _ in parts]
    assert ask(read_element_results(directories)) == [{0: [0, "a\nb", "'"], 2: [2, "x"]}, {4: [4, "y"], 5: [5, "z"]}]
    paths = [f"{directories[0]}/error.3.log", f"{directories[1]}/output.1.log", f"{directories[1]}/output.7.log"]
    said, number, missing = ask(read_log_ends(paths, max_bytes=4))
    assert said.data.decode().strip().endswith("no")
    assert (number, number.is_whole) == (LogEnd(size=10, data=b"t 5\n"), False)
    assert (missing, missing.is_whole) == (LogEnd(size=0, data=b""), True)


def test_an_empty_result_is_none(run, ask):
    """A disk that is full leaves such files; the element is named."""
    ((_, job, _),) = run(["x", "break"], 10)
    with pytest.raises(JobFailed, match=r"result\.1\.json is no JSON"):
        ask(read_element_results([job.directory]))


def test_results_that_are_too_large_in_all_are_refused_with_the_remedy(ask, tmp_path):
    """Whatever the number of directories."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.0.json").write_text('"' + 140_000 * "x" + '"')
    assert ask(read_element_results([str(tmp_path / "a")])) == [{0: 140_000 * "x"}]
    with pytest.raises(JobFailed, match=r"are 280004 bytes long in all.*write a file"):
        ask(read_element_results([str(tmp_path / "a"), str(tmp_path / "b")]))
