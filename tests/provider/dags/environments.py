"""An environment is built on the login host, and found by a job; another one is built by a job, with its own lines."""

from airflow.sdk import DAG

from headnode import BuildEnvironmentOperator, Commands, SlurmArrayOperator, SlurmJobOperator, VirtualEnv

BUILT = VirtualEnv("{{ params.lock }}", wheelhouse="{{ params.wheels }}")
SHOW = 'import json, os, beta; json.dump([beta.NAME, beta.__file__], open(os.environ["HEADNODE_RESULT"], "w"))'

with DAG("environments", schedule=None, params={"lock": "/nowhere", "wheels": "/nowhere"}):
    build = BuildEnvironmentOperator(task_id="build", environment=BUILT, where="login", poll_seconds=1)
    job = SlurmJobOperator(task_id="job", environment=BUILT, command=["python3", "-c", SHOW])
    array = SlurmArrayOperator(task_id="array", array="0-1", environment=BUILT, command=["python3", "-c", SHOW])
    build >> [job, array]
    BuildEnvironmentOperator(task_id="build_in_job", environment=Commands("export COLOUR=blue") + BUILT, memory="50M")
    BuildEnvironmentOperator(
        task_id="refused",
        environment=VirtualEnv("{{ params.lock }}.more", wheelhouse="{{ params.wheels }}"),
        where="login",
        poll_seconds=1,
    )
