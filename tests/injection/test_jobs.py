"""Hostile values in everything that a job is described by: refused with the field's name, or there byte for byte."""

import json
import re
import shlex
import time

import pytest
from reading import directives

from headnode.cluster.elements import read_element_results
from headnode.cluster.events import JobOver, LogSeen
from headnode.cluster.lines import LogLines
from headnode.cluster.logs import LogPosition, read_pieces
from headnode.cluster.submission import SubmitRequest, submit
from headnode.cluster.tracker import Tracker
from headnode.errors import JobFailed, JobSpecError
from headnode.slurm.element_arguments import arguments_file, parse_arguments
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.record import Labels
from headnode.slurm.script import render_script

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

#: Fields that become one word of one ``#SBATCH`` line, or part of it.
DIRECTIVES = (
    "job_name", "partition", "account", "qos", "time_limit", "memory", "nodes", "ntasks", "ntasks_per_node",
    "cpus_per_task", "gpus_per_node",
)  # fmt: skip
#: Fields whose text is the DAG author's own shell text, and is run.
SHELL_TEXT = ("script", "setup")
OTHERS = ("command", "env", "secret_env", "sbatch_options", "components")
DUMP = """\
import os, sys
folder = os.environ["HEADNODE_DIRECTORY"]
suffix = os.environ.get("SLURM_ARRAY_TASK_ID", "")
names = [name for name in os.environ if name.startswith("V_")]
with open(folder + "/words" + suffix, "wb") as file:
    file.write(b"".join(os.fsencode(word) + b"\\0" for word in sys.argv[1:]))
with open(folder + "/variables" + suffix, "wb") as file:
    for name in sorted(names, key=lambda name: int(name[2:])):
        file.write(os.fsencode(os.environ[name]) + b"\\0")
"""
COUNTS = {"values": 0, "fields": 0, "combinations": 0, "refused": 0, "arrived": 0}


def _fields(field, value):
    """Return a description in which ``value`` is given for ``field``."""
    fields = {"job_name": "injection", "command": ["true"], "memory": "10M"}
    match field:
        case "command":
            return {**fields, "command": ["true", value]}
        case "env" | "secret_env" | "sbatch_options":
            name = {"env": "X", "secret_env": "X", "sbatch_options": "constraint"}[field]
            return {**fields, field: {name: value}}
        case "components":
            return {**fields, "components": [{"partition": value, "sbatch_options": {"constraint": value}}]}
        case "script":
            return {**fields, "command": None, "script": value}
    return {**fields, field: value}


@pytest.mark.parametrize("field", [*DIRECTIVES, "command", "env", "secret_env", "sbatch_options", "components"])
def test_a_value_makes_no_line_of_its_own(values, field):
    """Each field with each value is refused, and says which field it is, or leaves the other lines as they were."""
    assert len(values) >= 200
    plain = directives(render_script(parse_jobspec(_fields(field, _PLAIN.get(field, "x")))))
    arrived = 0
    for value in values:
        try:
            script = render_script(parse_jobspec(_fields(field, value)))
        except JobSpecError as refusal:
            problem = refusal
        else:
            problem = None
        if problem is not None:
            assert problem.field == field
            assert len(str(problem)) < 1000
            assert problem.problem.isprintable() or "\t" in problem.problem
            continue
        found = directives(script)
        # No GPUs are no directive.
        assert len(found) == len(plain) or field == "gpus_per_node", value
        assert not re.search("^#(?!SBATCH|!)", script, re.MULTILINE), value
        assert [line for line in found if line not in plain] == [] or field not in ("command", "env", "secret_env")
        arrived += 1
    assert arrived < len(values)


_PLAIN = {
    "time_limit": "5", "memory": "10M", "nodes": "1", "ntasks": "1", "ntasks_per_node": "1", "cpus_per_task": "1",
    "gpus_per_node": "1", "secret_env": "variable:x",
}  # fmt: skip


@pytest.mark.parametrize("field", ["env", "secret_env", "sbatch_options"])
def test_a_hostile_name_is_refused(values, field):
    """Names of variables and options have letters, digits and little else."""
    reference = "variable:x" if field == "secret_env" else "x"
    accepted = []
    for value in values:
        try:
            parse_jobspec({"job_name": "x", "command": ["true"], field: {value: reference}})
        except JobSpecError as refusal:
            assert refusal.field == field  # noqa: PT017 - both ways are right
        else:
            accepted.append(value)
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9_-]*", value) for value in accepted)


def _end(slurm_cluster, job_id):
    deadline = time.monotonic() + 90
    while slurm_cluster.run("squeue", "-h", f"--jobs={job_id},{job_id}").stdout:
        assert time.monotonic() < deadline, "the job did not end"
        time.sleep(0.1)


def test_words_and_variables_arrive_byte_for_byte(slurm_cluster, ask, new_place, sendable, no_trace):
    """All values in one job: as words of its command, and as variables of its environment."""
    assert len(sendable) >= 200
    spec = parse_jobspec(
        {
            "job_name": "injection",
            "command": ["python3", "-c", DUMP, *sendable],
            "env": {f"V_{number}": value for number, value in enumerate(sendable)},
            "memory": "10M",
        }
    )
    job = ask(submit(SubmitRequest(place=new_place(), script=render_script(spec)), settle_seconds=1.0))
    no_trace[0].add(job.job_id)
    _end(slurm_cluster, job.job_id)
    expected = b"".join(value.encode() + b"\0" for value in sendable)
    for name in ("words", "variables"):
        with open(f"{job.directory}/{name}", "rb") as file:  # noqa: PTH123 - the cluster's file, which is here, too
            assert file.read() == expected


def test_arguments_of_elements_arrive_byte_for_byte(slurm_cluster, ask, new_place, sendable, no_trace):
    """All values in the elements of one array."""
    parts = [sendable[:100], sendable[100:200], sendable[200:]]
    spec = parse_jobspec({"job_name": "injection", "command": ["python3", "-c", DUMP], "memory": "10M"})
    request = SubmitRequest(
        place=new_place(),
        script=render_script(spec, takes_arguments=True),
        options=("--array=0-2",),
        files={"arguments": arguments_file(parse_arguments(parts), range(3), 0)},
        is_array=True,
    )
    job = ask(submit(request, settle_seconds=1.0))
    _end(slurm_cluster, job.job_id)
    every = slurm_cluster.run("squeue", "-h", "-t", "all", f"--jobs={job.job_id},{job.job_id}", "--format=%A")
    no_trace[0].update(every.stdout.split())
    for number, part in enumerate(parts):
        with open(f"{job.directory}/words{number}", "rb") as file:  # noqa: PTH123
            assert file.read() == b"".join(value.encode() + b"\0" for value in part)


def test_slurm_takes_directives_as_they_are(slurm_cluster, sendable, work, no_trace):
    """Held jobs have the name that was given, and nothing else that an ordinary job has not."""
    accepted = []
    for value in sendable:
        try:
            spec = parse_jobspec(
                {
                    "job_name": value,
                    "command": ["true"],
                    "memory": "10M",
                    "sbatch_options": {"hold": True, "network": value, "mail-user": value},
                }
            )
        except JobSpecError:
            continue
        accepted.append((value, render_script(spec)))
    assert len(accepted) >= 200
    folder = work / "scripts"
    folder.mkdir()
    plain = parse_jobspec({"job_name": "x", "command": ["true"], "memory": "10M", "sbatch_options": {"hold": True}})
    for number, script in enumerate([render_script(plain), *(script for _, script in accepted)]):
        (folder / f"{number}.sh").write_text(script)
    each = 'sbatch --parsable -o /dev/null "$n.sh"'
    many = f"cd {shlex.quote(str(folder))}; for n in $(seq 0 {len(accepted)}); do {each}; done"
    submitted = slurm_cluster.run("bash", "-c", many)
    ids = submitted.stdout.split()
    assert len(ids) == len(accepted) + 1, submitted.stderr
    no_trace[0].update(ids)
    queue = slurm_cluster.run("bash", "-c", "squeue -h -t all -o '%i|%T|%P|%C|%D|%l|%r'").stdout
    rows = {line.partition("|")[0]: line.partition("|")[2] for line in queue.splitlines()}
    assert {rows[job_id] for job_id in ids} == {rows[ids[0]]}, "a value has changed another property of its job"
    assert rows[ids[0]].endswith("JobHeldUser")
    text = slurm_cluster.run("bash", "-c", "squeue -h -t all -o '%i %j'").stdout
    seen = dict(line.split(" ", 1) for line in text.split("\n") if " " in line)
    assert {job_id: seen[job_id] for job_id in ids[1:]} == dict(
        zip(ids[1:], (value for value, _ in accepted), strict=True)
    )


def test_labels_of_a_run_stay_labels(ask, new_place, sendable, no_trace, slurm_cluster):
    """Ids of DAGs, runs and tasks: whoever starts a run chooses its id. They lead to no other directory."""
    chosen = sendable[::12]
    places = []
    for value in chosen:
        place = new_place()
        places.append(type(place)(
            work_directory=place.work_directory, deployment_id="t", owner=place.owner,
            labels=Labels(dag_id=value, run_id=value, task_id=value),
        ))  # fmt: skip
    spec = parse_jobspec({"job_name": "x", "command": ["true"], "memory": "10M", "sbatch_options": {"hold": True}})
    requests = [SubmitRequest(place=place, script=render_script(spec)) for place in places]
    jobs = ask(*(submit(request, settle_seconds=1.0) for request in requests))
    no_trace[0].update(job.job_id for job in jobs)
    for value, place, job in zip(chosen, places, jobs, strict=True):
        assert job.directory == f"{place.work_directory}/t/tasks/{place.task_name}/{place.key}"
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,120}", place.task_name)
        (piece,) = ask(read_pieces([LogPosition(path=f"{job.directory}/../labels.json", offset=0)]))
        assert json.loads(piece.data)["run_id"] == value
    slurm_cluster.run("scancel", *(job.job_id for job in jobs))


def test_what_a_job_prints_is_never_taken_for_a_line_of_ours(ask, settings, new_place, sendable, no_trace):
    """Neither its output as it is followed, nor its last lines; what can't be seen is shown."""
    import asyncio  # noqa: PLC0415 - of this test alone

    from headnode.ssh.asyncssh_transport import AsyncSSHTransport  # noqa: PLC0415

    spec = parse_jobspec({"job_name": "x", "command": ["printf", "%s\\n", *sendable], "memory": "10M"})
    job = ask(submit(SubmitRequest(place=new_place(), script=render_script(spec)), settle_seconds=1.0))
    no_trace[0].add(job.job_id)

    async def follow():
        transport = AsyncSSHTransport(settings)
        lines, shown = LogLines(), []
        try:
            tracker = Tracker(transport, poll_seconds=0.5, poll_max_seconds=1.0)
            events = tracker.follow(
                job.job_id, key=job.key, directory=job.directory, elements=1, outage_tolerance_seconds=60.0
            )
            async for event in events:
                if isinstance(event, LogSeen):
                    shown += lines.feed(event.piece)
                if isinstance(event, JobOver):
                    return shown + lines.finish(), event.entry, lines.tail
        finally:
            await transport.close()

    shown, entry, tail = asyncio.run(asyncio.wait_for(follow(), 120))
    assert entry.exit_code == 0
    assert len(shown) >= 200
    for line in (*shown, *("| " + each for each in tail)):
        assert line.startswith(("| ", "! "))
        assert len(line.splitlines()) == 1
        assert not any(ord(character) < 32 and character != "\t" for character in line)


@pytest.mark.usefixtures("no_trace")
def test_results_are_data(ask, work, values):
    """A text in a result comes back as it is; what is no JSON fails the job in words."""
    whole, broken = work / "whole", work / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    storable = [value for value in values if not re.search("[\ud800-\udfff]", value) and len(value) < 10_000][:250]
    for number, value in enumerate(storable):
        if len(str(value)) < 500:
            (whole / f"result.{number}.json").write_text(json.dumps(value))
    (found,) = ask(read_element_results([str(whole)]))
    assert found == {number: value for number, value in enumerate(storable) if len(value) < 500}
    for number, value in enumerate(storable[:50]):
        (broken / f"result.{number}.json").write_bytes(b"{" + value.encode())
    with pytest.raises(JobFailed, match="is no JSON"):
        ask(read_element_results([str(broken)]))
