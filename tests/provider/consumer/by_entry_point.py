"""A DAG of another repository that decorates a function: Airflow finds the decorator by the wheel's entry point."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task


@task.slurm(slurm_conn_id="my_cluster", memory="50M")
def square(number: int) -> int:
    """Run on the cluster."""
    return number**2


@task
def tell(result: Any) -> str:  # when the DAG is built, the result is a reference to it
    """Use a function's result in Airflow."""
    return f"the square is {result}"


with DAG("by_entry_point", schedule=None) as dag:
    tell(square(7))
