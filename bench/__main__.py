"""``python -m bench`` (``make bench``): headnode beside what it is compared to, in one Airflow and one cluster."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from bench.cases import RIVALS, TASKS_PER_DAG, Case, chosen_cases, default_cases, quick_cases
from bench.measure import Measurement, measure
from bench.report import describe_run, render_report
from bench.requirements import checks
from bench.setting import CPUS_PER_NODE, NODES, Setting, running_setting

RESULTS: Final = Path(__file__).parent / "RESULTS.md"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(  # noqa: PLR0917 - typer reads options from the arguments
    jobs: Annotated[list[int] | None, typer.Option(help="only these numbers of jobs; may be given again")] = None,
    cases: Annotated[str, typer.Option(help="only these ways, with commas, e.g. headnode,remote_job,plain")] = "",
    seconds: Annotated[int | None, typer.Option(help="how long each job sleeps, in place of the defaults")] = None,
    quick: Annotated[bool, typer.Option(help="one and ten jobs only, a few minutes")] = False,  # noqa: FBT002
    patience: Annotated[
        float, typer.Option(help="stop a rival after so many times headnode's wall time; 0: never")
    ] = 1.25,
    limit_seconds: Annotated[float, typer.Option(help="never stop a rival before this")] = 300.0,
    poll_seconds: Annotated[float | None, typer.Option(help="headnode's shortest interval; its own default")] = None,
    workers: Annotated[int, typer.Option(help="LocalExecutor's processes")] = 8,
    capacity: Annotated[int, typer.Option(help="how many triggers the triggerer takes at a time")] = 100,
    tasks_per_dag: Annotated[int, typer.Option(min=1, help="how many plain tasks a DAG has at most")] = TASKS_PER_DAG,
    write: Annotated[bool, typer.Option(help="append the report to bench/RESULTS.md")] = False,  # noqa: FBT002
) -> None:
    """Measure, print a report; Ctrl-C ends everything that was started and reports what there is."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    ways = [way for way in cases.split(",") if way]
    try:
        plan = chosen_cases(quick_cases() if quick else default_cases(), jobs=jobs or (), ways=ways, seconds=seconds)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    plan = [replace(case, tasks_per_dag=tasks_per_dag) for case in plan]
    if not plan:
        raise typer.BadParameter("nothing is left to measure: there is no such way with so many jobs")
    run = Run(patience=patience, limit_seconds=limit_seconds)
    load_before = os.getloadavg()[0]
    about = ""
    try:
        with running_setting(
            plan, workers=workers, capacity=capacity, poll_seconds=poll_seconds, say=run.say
        ) as setting:
            about = describe_run(
                shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
                setting.cluster,
                workers=workers,
                slots=NODES * CPUS_PER_NODE,
                load_before=load_before,
            )
            run.measure_all(plan, setting)
    except KeyboardInterrupt:
        run.finish("Side by side, interrupted", about, write=write)
        raise typer.Exit(130) from None
    except BaseException:
        run.finish("Side by side, ended by an error", about, write=False)
        raise
    run.finish("Side by side", about, write=write)


class Run:
    """The measurements of one run, and what it says while it runs."""

    def __init__(self, *, patience: float, limit_seconds: float) -> None:
        self._patience = patience
        self._limit_seconds = limit_seconds
        self._began = time.monotonic()
        self._measured: dict[str, Measurement] = {}

    def say(self, line: str) -> None:
        """Print a line with the time since the beginning."""
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        print(f"[{minutes:3d}:{seconds:02d}] {line}", file=sys.stderr, flush=True)

    def measure_all(self, plan: list[Case], setting: Setting) -> None:
        """Measure case after case."""
        for at, case in enumerate(plan, 1):
            self.say(f"{at} of {len(plan)}: {case.name}, {case.jobs} jobs of {case.seconds} s")
            done = measure(case, setting, limit_seconds=self._limit(case), say=self.say)
            self._measured[case.name] = done
            end = f"stopped after {done.wall_seconds:.1f} s" if done.stopped else f"{done.wall_seconds:.1f} s"
            self.say(f"{case.name}: {done.state}, {end}, {done.ended_jobs} jobs ended")

    def finish(self, title: str, about: str, *, write: bool) -> None:
        """Print the report on what was measured, and keep it in RESULTS.md if that is asked for."""
        if not self._measured:
            self.say("nothing was measured")
            return
        report = render_report(title, about, list(self._measured.values()), list(checks(self._measured)))
        print(report)
        if write:
            with RESULTS.open("a") as file:
                file.write(f"\n{report}")
            self.say(f"appended to {RESULTS}")

    def _limit(self, case: Case) -> float | None:
        ours = self._measured.get(f"headnode_{case.jobs}")
        if case.way not in RIVALS or ours is None or self._patience <= 0:
            return None
        return max(self._limit_seconds, self._patience * ours.wall_seconds)


if __name__ == "__main__":
    app()
