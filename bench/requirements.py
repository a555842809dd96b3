"""What must hold, checked against what was measured in one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.cases import LARGEST_ARRAY, MANY, OF_HEADNODE
from bench.measure import Measurement

LONGEST_PAUSE_SECONDS: Final = 0.2
ARRAY_MEMORY_MB: Final = 100.0
#: While jobs are expected to end soon; beside it, the time of one round of questions on a busy machine.
INTERVAL_AT_END_SECONDS: Final = 5.0
ROUND_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Check:
    """One requirement. ``holds`` None is a figure that is reported and has no limit."""

    what: str
    measured: str
    limit: str
    holds: bool | None


Measured = Mapping[str, Measurement]


def checks(measured: Measured) -> Iterator[Check]:
    """Return every requirement whose cases were all measured."""
    ours = [each for each in measured.values() if each.case.way in OF_HEADNODE]
    for each in ours:
        yield from _check_load(each)
    for each in ours:
        yield from _check_delay(each)
    hundred, thousand = MANY
    yield from _ratio(measured, f"headnode_{hundred}", f"remote_job_{hundred}", 0.8)
    yield from _ratio(measured, f"plain_{hundred}", f"remote_job_{hundred}", 0.5)
    yield from _ratio(measured, f"array_{thousand}", f"array_by_hand_{thousand}", 1.2)
    for jobs in sorted({each.case.jobs for each in measured.values()}):
        yield from _ratio(measured, f"plain_{jobs}", f"loop_by_hand_{jobs}", None)
        yield from _ratio(measured, f"plain_{jobs}", f"control_{jobs}", None)
        for way in ("headnode", "plain", "loop_by_hand"):
            yield from _submissions(measured, f"{way}_{jobs}")
    if (array := measured.get(f"array_{LARGEST_ARRAY}")) is not None:
        yield from _check_large_array(array)
    for each in measured.values():
        if each.case.way in OF_HEADNODE or each.case.way == "control":
            yield from _check_pause(each)


def _check_load(each: Measurement) -> Iterator[Check]:
    if each.load is not None:
        logins = each.load.logins
        yield Check(what=f"{each.case.name}: SSH logins", measured=str(logins), limit="1", holds=logins <= 1)
    if each.polling is not None:
        most, shortest = each.polling.most_commands, each.polling.shortest_seconds
        apart = f"; squeue at least {shortest:.1f} s apart" if shortest is not None else ""
        what = f"{each.case.name}: status commands in an interval"
        yield Check(what=what, measured=f"{most}{apart}", limit="2", holds=most <= 2)  # noqa: PLR2004
    done = each.state == "success" and each.ended_jobs == each.case.jobs
    ends = f"{each.state}, {each.ended_jobs} jobs ended"
    yield Check(what=f"{each.case.name}: all done", measured=ends, limit=str(each.case.jobs), holds=done)


def _check_delay(each: Measurement) -> Iterator[Check]:
    if each.polling is None or not each.delays or not each.polling.at_ends_seconds:
        return
    intervals = each.polling.at_ends_seconds
    delay, most = median(each.delays), median(intervals) / 2 + 2
    name = each.case.name
    # An array's one task ends with its last element: that end has no middle of an interval.
    if each.case.way != "array":
        # A few jobs end together, at one moment of an interval: their median says nothing of the others.
        few = each.case.jobs < MANY[0]
        limit = f"{most:.1f} s (half the interval + 2 s{'; reported, too few ends' if few else ''})"
        holds = None if few else delay <= most
        yield Check(what=f"{name}: median delay", measured=f"{delay:.1f} s", limit=limit, holds=holds)
    longest = max(intervals)
    yield Check(
        what=f"{name}: longest interval in which a job ended",
        measured=f"{longest:.1f} s (median {median(intervals):.1f} s)",
        limit=f"{INTERVAL_AT_END_SECONDS:g} s + the questions' own time",
        holds=longest <= INTERVAL_AT_END_SECONDS + ROUND_SECONDS,
    )


def _ratio(measured: Measured, name: str, to: str, most: float | None) -> Iterator[Check]:
    if name not in measured or to not in measured:
        return
    ours, other = measured[name], measured[to]
    ratio = ours.wall_seconds / other.wall_seconds
    walls = f"{ours.wall_seconds:.1f} s / {other.wall_seconds:.1f} s"
    sign = "less than " if other.stopped else ""
    yield Check(
        what=f"{name} to {to}: wall time",
        measured=f"{sign}{ratio:.2f} ({walls})",
        limit="reported" if most is None else f"{most:g}",
        holds=None if most is None else ratio <= most,
    )


def _submissions(measured: Measured, name: str) -> Iterator[Check]:
    """Report how fast jobs were handed in: one of the things that limit many short jobs."""
    each = measured.get(name)
    if each is None or not each.submit_seconds or each.case.jobs == 1:
        return
    rate = each.case.jobs / each.submit_seconds
    told = f"{each.submit_seconds:.1f} s ({rate:.1f}/s)"
    yield Check(what=f"{name}: from the first sbatch to the last", measured=told, limit="reported", holds=None)


def _check_large_array(each: Measurement) -> Iterator[Check]:
    name, tasks = each.case.name, sum(each.tasks.values())
    yield Check(what=f"{name}: tasks", measured=str(tasks), limit="1", holds=tasks == 1)
    if each.memory_growth_mb is not None:
        grown = each.memory_growth_mb
        measured = f"{grown:.0f} MB"
        limit = f"{ARRAY_MEMORY_MB:g} MB"
        yield Check(
            what=f"{name}: the triggerer's memory grew by",
            measured=measured,
            limit=limit,
            holds=grown < ARRAY_MEMORY_MB,
        )
    if each.polling is not None:
        most = each.polling.most_while_running
        what = f"{name}: status commands in an interval while it runs"
        yield Check(what=what, measured=str(most), limit="1", holds=most <= 1)


def _check_pause(each: Measurement) -> Iterator[Check]:
    if (pause := each.pause) is None:
        return
    measured = (
        f"{pause.seconds:.2f} s (of it {pause.cpu_seconds:.2f} s work, {pause.queued_seconds:.2f} s waiting for a core;"
        f" {pause.where})"
    )
    is_control = each.case.way == "control"
    yield Check(
        what=f"{each.case.name}: longest pause of the triggerer's loop",
        measured=measured,
        limit="reported (Airflow's own)" if is_control else f"{LONGEST_PAUSE_SECONDS:g} s",
        holds=None if is_control else pause.seconds <= LONGEST_PAUSE_SECONDS,
    )
