"""What is measured: ways of running N jobs of S seconds."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Final

#: Ways by their names on the command line, with what the report calls them.
WAYS: Final = {
    "headnode": "headnode, mapped tasks",
    "remote_job": "SSHRemoteJobOperator + `sbatch --wait`",
    "bash_loop": "SSHOperator + bash loop",
    "plain": "headnode, plain tasks, `start_from_trigger`",
    "control": "no cluster: tasks that sleep in the triggerer",
    "loop_by_hand": "by hand: a loop of sbatch in one shell",
    "array": "headnode, one array",
    "array_by_hand": "by hand: `sbatch --array` in one shell",
}
RIVALS: Final = frozenset({"remote_job", "bash_loop"})
BY_HAND: Final = frozenset({"loop_by_hand", "array_by_hand"})
PLAIN_WAYS: Final = frozenset({"plain", "control"})
OF_HEADNODE: Final = frozenset({"headnode", "plain", "array"})

# As the requirement says for a hundred. A thousand of 5 s keep two cores busy with Airflow alone, and what is measured
# then is how long everything waits for a core; of 30 s they leave some of them free, which is easier on every figure.
JOB_SECONDS: Final = {1: 10, 10: 10, 100: 30, 1000: 30}
# Of an array: four rounds on 256 slots, so that the shell's and Airflow's own seconds do not decide.
ARRAY_SECONDS: Final = {1000: 20, 10_000: 1}
ASKED_SECONDS: Final = 10
# Airflow sends each trigger that starts a task its own copy of the whole DAG.
TASKS_PER_DAG: Final = 10
QUICK_JOBS: Final = (1, 10)
MAPPED_WAYS: Final = ("headnode", "remote_job", "bash_loop")
MANY_WAYS: Final = ("plain", "control", "loop_by_hand")
ARRAY_WAYS: Final = ("array", "array_by_hand")
MANY: Final = (100, 1000)
LARGEST_ARRAY: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class Case:
    """N jobs of S seconds, one way. Its name is also its DAG's id and its Airflow connection's id.

    Plain tasks, which a DAG names one by one, are those of as many DAGs as ``tasks_per_dag`` demands.
    """

    way: str
    jobs: int
    seconds: int
    tasks_per_dag: int = TASKS_PER_DAG

    @property
    def name(self) -> str:
        """E.g. ``plain_100``."""
        return f"{self.way}_{self.jobs}"

    @property
    def dag_ids(self) -> list[str]:
        """The DAGs that are run at the same time."""
        count = math.ceil(self.jobs / self.tasks_per_dag) if self.way in PLAIN_WAYS else 1
        return [self.name] if count == 1 else [f"{self.name}_{at}" for at in range(count)]

    @property
    def minutes_limit(self) -> int:
        """The time limit of a job: every job has one, as on real clusters; in whole minutes."""
        return math.ceil((self.seconds + 30) / 60)

    def as_json(self) -> dict[str, Any]:
        """Return what the DAG files need to know."""
        return {**asdict(self), "name": self.name, "dag_ids": self.dag_ids, "minutes_limit": self.minutes_limit}


def default_cases() -> list[Case]:
    """Return everything, small numbers first."""
    cases = [_plain(way, jobs) for jobs in (*QUICK_JOBS, MANY[0]) for way in MAPPED_WAYS]
    cases += [_plain(way, MANY[0]) for way in MANY_WAYS]
    cases += [_array(way, MANY[1]) for way in ARRAY_WAYS]
    cases += [_array("array", LARGEST_ARRAY)]
    cases += [_plain(way, MANY[1]) for way in MANY_WAYS]
    cases += [_plain(way, MANY[1]) for way in MAPPED_WAYS]
    return cases


def quick_cases() -> list[Case]:
    """Return each way once with ten jobs, and the three operators with one."""
    cases = [_plain(way, jobs, seconds=5) for jobs in QUICK_JOBS for way in MAPPED_WAYS]
    return cases + [Case(way=way, jobs=QUICK_JOBS[-1], seconds=5) for way in (*MANY_WAYS, *ARRAY_WAYS)]


def chosen_cases(cases: list[Case], *, jobs: Collection[int], ways: Collection[str], seconds: int | None) -> list[Case]:
    """Return those of ``cases`` with these numbers of jobs and ways (none given: all), with jobs of ``seconds``.

    With both given, there is a case for each number and way.

    Raises:
        ValueError: there is no such way.
    """
    if unknown := set(ways) - set(WAYS):
        raise ValueError(f"there is no way {', '.join(sorted(unknown))}; there are {', '.join(WAYS)}")
    chosen = [case for case in cases if (not jobs or case.jobs in jobs) and (not ways or case.way in ways)]
    # What was asked for by name and number is measured, also where it is not among the defaults.
    names = {case.name for case in chosen}
    asked = [Case(way=way, jobs=number, seconds=ASKED_SECONDS) for number in jobs for way in ways]
    chosen += [case for case in asked if case.name not in names]
    if seconds is None:
        return chosen
    return [Case(way=case.way, jobs=case.jobs, seconds=seconds) for case in chosen]


def _plain(way: str, jobs: int, *, seconds: int | None = None) -> Case:
    return Case(way=way, jobs=jobs, seconds=JOB_SECONDS[jobs] if seconds is None else seconds)


def _array(way: str, jobs: int) -> Case:
    return Case(way=way, jobs=jobs, seconds=ARRAY_SECONDS[jobs])
