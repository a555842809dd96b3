"""DAGs without a cluster, to see that a private Airflow runs tasks, defers them and keeps their logs."""

import logging
from datetime import timedelta

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG, task


@task
def greet(params):
    """Log and return what the run was given."""
    logging.getLogger(__name__).info("greeting %s", params["whom"])
    return {"whom": params["whom"], "parts": [1, 2]}


@task
def fail():
    """End with an exception."""
    raise ValueError("the reason for the failure")


@task.bash
def sleep_long():
    """Run a program that ends only when it is ended; Airflow gives it a session of its own."""
    return "exec sleep 98765.4321"


with DAG("greeting", schedule=None, params={"whom": "nobody"}):
    greet()

with DAG("failing", schedule=None):
    fail()

with DAG("deferring", schedule=None):
    TimeDeltaSensor(task_id="wait", delta=timedelta(seconds=12), deferrable=True)

with DAG("sleeping", schedule=None):
    sleep_long()
