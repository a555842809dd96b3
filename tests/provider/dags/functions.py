"""Functions that run as jobs, one for each thing that such a task can be or do; ``fails`` must fail."""

from datetime import timedelta

from airflow.sdk import DAG, task

from headnode import SlurmHook, SlurmJob

HOSTILE = "\"; touch /tmp/owned; $(touch /tmp/owned) `touch /tmp/owned` 'q' \\ \n* ~ é 日本"


@task.slurm(memory="50M", setup="export SET_UP='it is'", env={"GREETING": "it's {{ params.note }}"})
def arguments(text, literal, pair=(), *, run_id, params):
    """Give back what came, from the worker, from templates and from Airflow."""
    import os  # noqa: PLC0415 - functions on a cluster import what they use

    print("the function says é")  # noqa: T201 - the job's output
    given = [text, literal, isinstance(pair, tuple), run_id, params["note"]]
    return [*given, os.environ["GREETING"], os.environ["SET_UP"], __name__]


@task.slurm(memory="50M")
def fails(text):
    """Fail below another function."""

    def deeper(value):
        raise ValueError(f"no use for {value}")

    deeper(text)


@task.slurm(memory="50M")
def double(number, offset):
    """Be mapped."""
    return 2 * number + offset


@task.slurm(memory="50M", multiple_outputs=True)
def parts(numbers):
    """Return several XComs."""
    return {"least": min(numbers), "sum": sum(numbers)}


@task.slurm(memory="50M", code="jobs", python=["/usr/bin/env", "python3"])
def with_code():
    """Import from the folder that goes with the job."""
    import words  # noqa: PLC0415

    return words.__name__


@task.slurm(memory="50M")
def add(least, total):
    """Take other tasks' results."""
    return least + total


@task(retries=1, retry_delay=timedelta(0))
def by_hook(ti=None):
    """Submit and wait on a worker; what the first try leaves, the second cancels."""
    hook = SlurmHook()
    if ti.try_number == 1:
        hook.submit(command="sleep 300", memory="10M")
        raise RuntimeError("this try ends without its job")
    job = hook.submit(command='test -s words.py && echo 7 > "$HEADNODE_RESULT"', code="jobs", memory="10M")
    found = hook.submit(command='sleep 1; echo 8 > "$HEADNODE_RESULT"', key=f"{ti.run_id}/other", memory="10M")
    again = hook.submit(command='sleep 1; echo 8 > "$HEADNODE_RESULT"', key=f"{ti.run_id}/other", memory="10M")
    if again != found:
        raise RuntimeError(f"{again} is not {found}")
    return {"results": hook.wait([job, found]), "job": job.to_json()}


@task
def look(told):
    """Go on with the job of another task."""
    hook = SlurmHook()
    return hook.result(SlurmJob.from_json(told["job"]))


with DAG("functions", schedule=None, params={"note": "plain"}, max_active_tasks=16) as dag:
    arguments("{{ params.note }}", HOSTILE, pair=(1, 2))
    fails(HOSTILE)
    mapped = double.partial(offset=1).expand(number=[1, 2, 3])
    several = parts(mapped)
    add(several["least"], several["sum"])
    with_code()
    look(by_hook())
