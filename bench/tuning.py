"""``python -m bench.tuning`` (``make bench-tuning``): one study by 1, 2 and 4 workers, through a real Airflow."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bench.report import describe_run
from headnode.testing import SlurmCluster
from headnode.testing.airflow import PrivateAirflow

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "RESULTS.md"
NODES: Final = 4
CPUS_PER_NODE: Final = 4
AIRFLOW_WORKERS: Final = 2
COLUMNS: Final = (
    *("workers", "trials", "seconds of all trials", "first start to last end s", "speed-up", "of the ideal"),
    *("job s", "task s", "best value"),
)
HOW: Final = """\
The objective waits 1 to 4 s by its parameters, in ten steps that it reports. It stands for work that is done \
elsewhere, on GPUs, since this machine has no cores for four workers. Sampler and seed are such that all numbers of \
workers run the same trials. The speed-up is the seconds of all trials, which is what one worker needs that loses no \
time between them, by the time from the first trial's start to the last one's end; the ideal is the number of \
workers. The job's time has the start of Python and Optuna and the end of the study besides, the task's that of \
Airflow, submission and polling."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    workers: Annotated[str, typer.Option(help="these numbers of workers, with commas")] = "1,2,4",
    trials: Annotated[int, typer.Option(help="how many trials each study has")] = 24,
    write: Annotated[bool, typer.Option(help="append the report to bench/RESULTS.md")] = False,  # noqa: FBT002
) -> None:
    """Measure and print a report."""
    load_before = os.getloadavg()[0]
    folder = Path(tempfile.mkdtemp(prefix="hnt"))
    with ExitStack() as stack:
        cluster = SlurmCluster.start(folder / "c", nodes=NODES, cpus_per_node=CPUS_PER_NODE)
        stack.callback(cluster.stop)
        airflow = _airflow(folder, cluster, workers=workers, trials=trials)
        stack.callback(airflow.stop)
        run_id = airflow.trigger_dag("studies")
        state = airflow.wait_for_run("studies", run_id, timeout_seconds=3600)
        if state != "success":
            raise SystemExit(f"the run ended as {state}; its logs are in {folder}")
        rows = [_row(airflow, run_id, int(number)) for number in workers.split(",")]
        about = describe_run(
            shlex.join(["python", "-m", "bench.tuning", *sys.argv[1:]]),
            cluster,
            workers=AIRFLOW_WORKERS,
            slots=NODES * CPUS_PER_NODE,
            load_before=load_before,
        )
    shutil.rmtree(folder, ignore_errors=True)
    lines = [f"| {' | '.join(COLUMNS)} |", f"| {' | '.join(['---'] * len(COLUMNS))} |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    report = "\n".join(["## Hyperparameter search by 1, 2 and 4 workers", "", about, "", HOW, "", *lines, ""])
    print(report)
    if write:
        with RESULTS.open("a") as file:
            file.write(f"\n{report}")


def _airflow(folder: Path, cluster: SlurmCluster, *, workers: str, trials: int) -> PrivateAirflow:
    fields: dict[str, Any] = json.loads(cluster.airflow_connection_json("ssh"))
    fields["extra"] |= {"work_directory": str(folder / "w"), "poll_seconds": 1, "poll_max_seconds": 2}
    return PrivateAirflow.start(
        folder / "a",
        dags_folder=HERE / "tuning_dags",
        connections={"slurm_default": json.dumps(fields)},
        env={
            "AIRFLOW__CORE__PARALLELISM": str(AIRFLOW_WORKERS),
            "HEADNODE_BENCH_WORKERS": workers,
            "HEADNODE_BENCH_TRIALS": str(trials),
        },
    )


def _row(airflow: PrivateAirflow, run_id: str, workers: int) -> list[str]:
    task_id = f"workers_{workers}"
    result = airflow.xcom("studies", run_id, task_id)
    record = airflow.xcom("studies", run_id, task_id, "slurm_job")
    task = next(each for each in airflow.task_instances("studies", run_id) if each["task_id"] == task_id)
    trials = result["trials"]
    busy = sum(trial["seconds"] for trial in trials)
    wall = max(trial["began"] + trial["seconds"] for trial in trials) - min(trial["began"] for trial in trials)
    whole = (_time(task["end_date"]) - _time(task["start_date"])).total_seconds()
    return [
        str(workers),
        str(len(trials)),
        f"{busy:.1f}",
        f"{wall:.1f}",
        f"{busy / wall:.2f}",
        f"{busy / wall / workers:.0%}",
        str(record["usage"]["elapsed_seconds"]),
        f"{whole:.1f}",
        f"{result['best']['value']:.6f}",
    ]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


if __name__ == "__main__":
    app()
