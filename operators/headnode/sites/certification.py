"""Certifies a site: which jobs show that its modules load and its launchers start. ``verdicts`` reads their logs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from headnode.errors import JobSpecError
from headnode.sites.catalogue import Catalogue, nearest
from headnode.sites.environments.commands import Commands
from headnode.sites.environments.environment import Environment, Surroundings
from headnode.sites.environments.modules import Modules
from headnode.sites.facade import arrange
from headnode.sites.launchers import LAUNCHERS, launcher_for
from headnode.sites.launchers.launcher import Launcher
from headnode.sites.launchers.python import Python
from headnode.sites.system import Stack, System
from headnode.sites.verdicts import ENTERED, NEEDED, PACKAGES, Kind, Result, Trial, Verdict
from headnode.slurm.script import render_command
from headnode.slurm.visible import visible

#: What ``only`` can name besides the kinds of launchers.
MODULES: Final = "modules"
LAUNCHERS_WORD: Final = "launchers"
_TIME_LIMIT: Final = timedelta(minutes=10)
_FIND: Final = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
_SAY_HELLO: Final = ["bash", "-c", 'echo "headnode:hello ${SLURM_NODEID:-none} $(uname -n)"']
# Lmod and Environment Modules keep it; a module command that is broken itself may end with 0.
_PROOF: Final = '[ -n "${LOADEDMODULES:-}" ] || { echo "no module is loaded (LOADEDMODULES is empty)"; exit 1; }'
_RAY_HELLO: Final = [
    "python3",
    "-c",
    (
        'import ray; ray.init(logging_level=30); print(*(f"headnode:hello {number} {node}" for number, node in'
        ' enumerate(sorted(each["NodeID"] for each in ray.nodes() if each["Alive"]))), sep=chr(10))'
    ),
]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to certify, what the jobs ask for and find in their environment; ``only`` is empty for everything."""

    nodes: int = 2
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    gpus_per_node: int | None = None
    only: frozenset[str] = frozenset()
    env: Mapping[str, str] = field(default_factory=dict)

    def has(self, kind: str, word: str) -> bool:
        """Whether this kind of check is wanted."""
        return not self.only or bool({kind, word} & self.only)


def check_only(only: Sequence[str]) -> frozenset[str]:
    """Return the names as a set. Raises JobSpecError where one is none."""
    known = {MODULES, LAUNCHERS_WORD, *LAUNCHERS}
    for name in only:
        if name not in known:
            raise JobSpecError("only", f"there is no check {name!r}{nearest(name, known)}")
    return frozenset(only)


def plan(system: System, catalogue: Catalogue, wanted: Wanted) -> tuple[list[Trial], list[Result]]:
    """Return the jobs that certify the system, and what can't be tried, with the reason."""
    planned = [*_module_trials(system, catalogue, wanted), *_launcher_trials(system, catalogue, wanted)]
    trials = [each for each in planned if isinstance(each, Trial)]
    return trials, [result for each in planned if not isinstance(each, Trial) for result in each]


def _skipped(kind: Kind, names: Sequence[str], why: str) -> list[Result]:
    return [Result(kind=kind, name=name, verdict=Verdict.SKIPPED, detail=visible(why)) for name in names]


def _module_trials(system: System, catalogue: Catalogue, wanted: Wanted) -> Iterator[Trial | list[Result]]:
    if not wanted.has(MODULES, MODULES):
        return
    places: dict[str | None, dict[tuple[str, ...], list[str]]] = {}
    for name in system.software:
        partition = _partition_of(system, name, system.stack(name) or Stack(), wanted)
        try:
            lines = Modules(name).lines(Surroundings(system=system, partition=partition, software=name))
        except JobSpecError as error:
            yield _skipped("modules", [name], error.problem)
            continue
        if lines:
            places.setdefault(partition, {}).setdefault(tuple(lines), []).append(name)
        else:
            yield _skipped("modules", [name], "the catalogue names no modules for it")
    for partition, stacks in places.items():
        try:
            fields = arrange(_asked(system, wanted, partition) | _loading(system, partition, list(stacks)), catalogue)
        except JobSpecError as error:
            yield _skipped("modules", [name for names in stacks.values() for name in names], str(error))
            continue
        fields.pop("launch_prefix", None)  # which is empty
        yield Trial(kind="modules", names=tuple(map(tuple, stacks.values())), fields=fields)


def _partition_of(system: System, software: str, stack: Stack, wanted: Wanted) -> str | None:
    """Return where a stack is loaded: where it belongs, else where its programs run."""
    if wanted.partition is not None:
        return wanted.partition
    usual = (system.gpu_partition if launcher_for(software).wants_gpus else None) or system.default_partition
    return stack.partitions[0] if stack.partitions and usual not in stack.partitions else usual


def _loading(system: System, partition: str | None, stacks: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return what a job is that loads the stacks; it has a GPU where nodes have them: sites refuse it there without."""
    known = system.partitions.get(partition or "")
    gpus = 1 if known is not None and known.gpus else 0
    return {"launch": Python(gpus_per_node=gpus), "setup": _load_each(stacks), "command": ["true"]}


def _load_each(stacks: Sequence[Sequence[str]]) -> str:
    """Return shell text that enters each stack in a shell of its own, and says how that ended."""
    lines = []
    for number, stack in enumerate(stacks):
        proof = [_PROOF] if any(line.startswith("module load ") for line in stack) else []
        lines += ["(", *stack, *proof, ') > "$HEADNODE_DIRECTORY/stack" 2>&1 < /dev/null']
        said = '"$(tail -c 4000 "$HEADNODE_DIRECTORY/stack" | base64 -w0)"'
        lines.append(f"""printf 'headnode:stack {number} %s %s\\n' "$?" {said}""")
    return "\n".join(lines)


def _launcher_trials(system: System, catalogue: Catalogue, wanted: Wanted) -> Iterator[Trial | list[Result]]:
    for kind in LAUNCHERS:
        if not wanted.has(kind, LAUNCHERS_WORD):
            continue
        try:
            yield _launcher_trial(kind, system, catalogue, wanted)
        except JobSpecError as error:
            yield _skipped("launcher", [kind], str(error))


def _launcher_trial(kind: str, system: System, catalogue: Catalogue, wanted: Wanted) -> Trial:
    launcher = _launcher(kind, wanted)
    stack = system.stack(launcher.software)
    entered: Environment = Commands("\n".join(_look_for(kind)))
    environment = Modules(launcher.software) + entered if stack is not None else entered
    hello = _RAY_HELLO if kind.startswith("ray") else _SAY_HELLO
    partition = _partition_of(system, launcher.software, stack, wanted) if stack is not None else wanted.partition
    asked = _asked(system, wanted, partition)
    fields = arrange(asked | {"launch": launcher, "environment": environment, "command": hello}, catalogue)
    prefix = fields.pop("launch_prefix", None)
    if prefix:
        fields["command"] = f"{prefix} {render_command(hello)}"
    nodes = launcher.nodes if isinstance(launcher.nodes, int) else wanted.nodes
    tasks = nodes if kind.startswith("ray") else nodes * int(fields.get("ntasks_per_node") or 1)
    return Trial(
        kind="launcher", names=((kind,),), fields=fields, nodes=nodes, tasks=tasks, has_stack=stack is not None
    )


def _launcher(kind: str, wanted: Wanted) -> Launcher:
    given: dict[str, Any] = {"nodes": 1 if kind == "python" else wanted.nodes}
    if kind in ("mpi", "deephyper"):
        given["ranks_per_node"] = 2  # else one for each core
    if wanted.gpus_per_node is not None and LAUNCHERS[kind].wants_gpus:
        given["gpus_per_node"] = wanted.gpus_per_node
    return LAUNCHERS[kind].model_validate({"kind": kind, **given})


def _look_for(kind: str) -> list[str]:
    """Return lines that say which packages are missing; the job is over where its hello needs one of them."""
    lines = [f"echo {ENTERED}"]
    for number, package in enumerate(PACKAGES.get(kind, ())):
        ends = "; exit 0" if kind in NEEDED and not number else ""
        found = render_command(["python3", "-c", _FIND, package])
        lines.append(f"{found} > /dev/null 2>&1 || {{ echo headnode:absent {package}{ends}; }}")
    return lines


def _asked(system: System, wanted: Wanted, partition: str | None) -> dict[str, Any]:
    names = [partition] if partition is not None else [system.default_partition, system.gpu_partition]
    known = [system.partitions[name].max_time for name in names if name in system.partitions]
    limit = min([_TIME_LIMIT, *filter(None, known)])
    given = {"partition": partition, "account": wanted.account, "qos": wanted.qos, "env": wanted.env or None}
    asked = {name: value for name, value in given.items() if value is not None}
    return {"site": system.name, "job_name": "headnode-site-check", "time_limit": limit, **asked}
