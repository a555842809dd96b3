"""From what a cluster has told of itself to the facts of a catalogue file; what was not learned is null, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from headnode.sites.measured_partitions import Surroundings, partition_block
from headnode.sites.probing import SiteAnswers, Unknown
from headnode.sites.site_file import Block, Fact
from headnode.slurm.module_names import ModuleList

SOURCE: Final = "probe"
_SHOWN: Final = 12
_NAME: Final = re.compile("[a-z0-9][a-z0-9-]*")
_PATHS: Final = {
    "home": "HOME",
    "project": "PROJECT",
    "work": "WORK",
    "scratch": "SCRATCH",
    "fast_scratch": "FASTSCRATCH",
}


def site_name(cluster: str) -> str:
    """Return a system's name for the name that a cluster has in Slurm."""
    return re.sub("[^a-z0-9]+", "-", cluster.lower()).strip("-") or "cluster"


def is_site_name(name: str) -> bool:
    """Whether a system can have this name: small letters, digits and hyphens."""
    return _NAME.fullmatch(name) is not None


def describe_site(
    answers: SiteAnswers, *, name: str, hosts: Sequence[str], port: int, jump_hosts: Sequence[str], date: str
) -> Block:
    """Return the facts that ``answers`` give, each block with the source ``probe`` of ``date`` (2026-11-21)."""
    config = answers.config
    return (
        Fact("name", name),
        Fact("title", config.cluster, "as Slurm calls it"),
        Fact("operator", "unknown", "not learned: write whose it is"),
        Fact("sources", (Fact(SOURCE, (
            Fact("what", f"headnode site probe of {hosts[0]}, Slurm {config.version}"),
            Fact("date", date),
            Fact("kind", "measured"),
        )),)),
        Fact("login", (
            Fact("hosts", list(hosts)),
            Fact("port", port),
            *([Fact("jump_hosts", list(jump_hosts))] if jump_hosts else []),
            Fact("source", SOURCE),
        )),
        Fact("access", (), "not learned: how others may log in"),
        *_partitions(answers),
        _gpu_request(answers),
        _mandatory(answers),
        _module_system(answers.modules),
        Fact("software", (), "not tried: see the notes for modules that may be meant"),
        _container(answers),
        Fact("network", (), "not learned: the compute nodes' interfaces, and whether a host's name needs a suffix"),
        _srun(answers),
        _internet(answers),
        _paths(answers),
        Fact("notes", [{"text": text, "source": SOURCE} for text in _notes(answers)]),
    )  # fmt: skip


def _partitions(answers: SiteAnswers) -> list[Fact]:
    around = Surroundings.of(answers, source=SOURCE)
    blocks = {each.name: partition_block(each, around) for each in answers.partitions}
    partitions = Fact("partitions", tuple(Fact(name, block) for name, block in blocks.items()))
    default = next((each.name for each in answers.partitions if each.is_default), None)
    with_gpus = [name for name, block in blocks.items() if next((f.value for f in block if f.name == "gpus"), 0)]
    chosen = default if default in with_gpus else with_gpus[0] if len(with_gpus) == 1 else None
    why = "" if chosen else f"choose one: {', '.join(with_gpus)}" if with_gpus else "no partition has GPUs on each node"
    return [
        partitions,
        Fact("default_partition", default, "" if default else "Slurm has none; each job must name one"),
        Fact("gpu_partition", chosen, why),
    ]


def _gpu_request(answers: SiteAnswers) -> Fact:
    config = answers.config
    if "gpu" not in config.gres_types:
        kinds = ",".join(config.gres_types) or "nothing"
        return Fact("gpu_request", None, f"GresTypes has {kinds}, so that GPUs can't be asked for")
    comment = "GresTypes has gpu; --gres works with every SelectType, whether the site prefers another form is unknown"
    return Fact("gpu_request", (Fact("form", "gres"), Fact("source", SOURCE)), comment)


def _mandatory(answers: SiteAnswers) -> Fact:
    refused = answers.test_job
    known: dict[str, bool | None] = dict.fromkeys(("account", "qos"), None if refused is not None else False)
    comments = dict.fromkeys(known, f"sbatch --test-only without one: {refused}" if refused else "")
    for word in known:
        if refused is not None and re.search(rf"\b{word}\b", refused, re.IGNORECASE):
            known[word] = True
    if refused is None and answers.config.needs_association:
        comments["account"] = "a job without one is charged to this user's default account; others may have none"
    facts = [Fact(word, known[word], comments[word]) for word in known]
    clusters = Fact("clusters", None, "not learned: whether -M is needed for another cluster")
    return Fact("mandatory", (*facts, clusters, Fact("source", SOURCE)))


def _module_system(modules: ModuleList | Unknown) -> Fact:
    if isinstance(modules, Unknown):
        return Fact("module_system", None, f"a login shell did not tell: {modules.why}")
    return Fact("module_system", modules.system, f"version {modules.version}" if modules.version else "")


def _container(answers: SiteAnswers) -> Fact:
    shell = answers.login_shell
    runtime, comment = None, ""
    if isinstance(shell, Unknown):
        comment = f"a login shell did not tell: {shell.why}"
    elif shell.runtime is None:
        comment = "none in a login shell's PATH; a module or the compute nodes may have one"
    else:
        runtime = shell.runtime
    return Fact("container", (Fact("runtime", runtime, comment), Fact("source", SOURCE)))


def _srun(answers: SiteAnswers) -> Fact:
    comment = ""
    if answers.config.mpi_default is None:
        listed = () if isinstance(answers.login_shell, Unknown) else answers.login_shell.mpi
        comment = f"MpiDefault is none; srun --mpi=list says: {' '.join(listed) or 'nothing'}"
    mpi = Fact("mpi", answers.config.mpi_default, comment)
    return Fact("srun", (mpi, Fact("version", answers.config.version), Fact("source", SOURCE)))


def _internet(answers: SiteAnswers) -> Fact:
    shell = answers.login_shell
    compute = Fact("compute", None, "not learned: no job was run")
    if isinstance(shell, Unknown):
        return Fact("internet", (compute, Fact("login", None, shell.why), Fact("source", SOURCE)))
    proxy = [Fact("proxy", shell.proxy)] if shell.proxy else []
    return Fact("internet", (compute, Fact("login", shell.internet), *proxy, Fact("source", SOURCE)))


def _paths(answers: SiteAnswers) -> Fact:
    shell = answers.login_shell
    if isinstance(shell, Unknown):
        return Fact("paths", (), f"a login shell did not tell: {shell.why}")
    known = shell.directories
    facts = [
        Fact(name, f"${variable}={known[variable]}")
        if variable in known
        else Fact(name, None, f"a login shell has no ${variable}")
        for name, variable in _PATHS.items()
    ]
    return Fact("paths", (*facts, Fact("source", SOURCE)))


def _notes(answers: SiteAnswers) -> list[str]:
    config, modules = answers.config, answers.modules
    notes = []
    if config.submit_plugins:
        notes.append(f"the site's own rules ({', '.join(config.submit_plugins)}, JobSubmitPlugins) may refuse jobs")
    if config.select_type == "select/linear":
        notes.append("jobs get whole nodes (SelectType is select/linear)")
    if isinstance(modules, ModuleList):
        for program, names in modules.candidates().items():
            notes.append(f"modules that by their names may bring {program} (not tried): {_some(names)}")
        if names := modules.containers():
            notes.append(f"modules that by their names may bring a container runtime (not tried): {_some(names)}")
        if modules.system == "lmod":
            notes.append("modules that others must be loaded for are not listed here; `module spider NAME` finds them")
    return notes


def _some(names: Sequence[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
