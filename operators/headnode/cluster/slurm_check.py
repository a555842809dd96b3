"""What a cluster's Slurm is like for headnode: version, partitions, limits, accounting, the user's accounts."""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from headnode.cluster.findings import Finding, warning, wrong
from headnode.cluster.procedures import Procedure, ask, shell
from headnode.errors import UnreadableAnswer
from headnode.slurm import limits
from headnode.slurm.commands import scontrol_show_config
from headnode.slurm.limits import Association, Configuration, Limits, Partition
from headnode.slurm.refusals import message_of

T = TypeVar("T")

_EACH_SECONDS: Final = 30
_SHOWN: Final = 12
# Both streams travel in base64: nothing that a partition or an account is called can be taken for another answer.
_TELL: Final = r"""
tell() {
  name=$1; shift
  printf '%s ' "$name"
  { errors=$( { timeout "$each" "$@" 2>&4 | base64 -w0 >&3; exit "${PIPESTATUS[0]}"; } 4>&1 ); } 3>&1
  status=$?
  printf '|%s|%s\n' "$status" "$(printf %s "$errors" | base64 -w0)"
  return $status
}
"""
_TOLD: Final = re.compile(r"(?P<name>[a-z]+) (?P<output>[A-Za-z0-9+/=]*)\|(?P<status>[0-9]{1,3})\|(?P<errors>.*)")
_TIMED_OUT: Final = 124


@dataclass(frozen=True, kw_only=True)
class Told:
    """What one of Slurm's commands printed, and its exit status."""

    stdout: str
    stderr: str
    status: int

    @property
    def failure(self) -> str:
        """What to say of it where it failed."""
        if self.status == _TIMED_OUT:
            return f"no answer within {_EACH_SECONDS} s"
        return message_of(self.stderr or self.stdout)


def ask_slurm(*, user: str, path: str | None) -> Procedure[Mapping[str, Told]]:
    """Return what Slurm's commands say; ``path`` is a directory to look for them in before PATH.

    The rest is not asked where slurmctld does not answer.

    Raises:
        UnreadableAnswer: the answer was cut.
    """
    questions = {
        "partitions": limits.show_partitions(),
        "accounting": ["sacct", "--noheader", "--parsable2", "--allocations", "--starttime=now-1minutes"],
        "associations": limits.show_associations(user),
        "qos": limits.show_qos(),
    }
    questions = {"config": scontrol_show_config(), **questions}
    return (yield from ask_all(questions, purpose="asking Slurm", path=path, needed="config"))


def ask_all(
    questions: Mapping[str, list[str]],
    *,
    purpose: str,
    each_seconds: int = _EACH_SECONDS,
    path: str | None = None,
    needed: str | None = None,
) -> Procedure[Mapping[str, Told]]:
    """Return what commands say, by the names that are given to them (small letters); all in one command over SSH.

    Each has ``each_seconds``. ``path`` is a directory to look for them in before PATH. Without an answer to ``needed``
    those after it are not asked.

    Raises:
        UnreadableAnswer: the answer was cut.
    """
    lines = [
        f"each={each_seconds}",
        f"PATH={shlex.quote(path)}:$PATH" if path else "",
        _TELL.strip("\n"),
        *(
            f"tell {name} {shlex.join(command)}{' || return 0' if name == needed else ''}"
            for name, command in questions.items()
        ),
        "return 0",
    ]
    timeout_seconds = len(questions) * each_seconds + 30.0
    output = yield from ask(shell("\n".join(lines), purpose=purpose, timeout_seconds=timeout_seconds))
    return read_told(output.stdout)


def read_told(stdout: str) -> dict[str, Told]:
    """Return the answers in the script's output by their names.

    Raises:
        UnreadableAnswer: a line is of another form.
    """
    told = {}
    for line in filter(None, stdout.split("\n")):
        match = _TOLD.fullmatch(line)
        try:
            if match is None:
                raise ValueError(line)  # noqa: TRY301 - told as what can't be decoded is
            streams = [base64.b64decode(match[part], validate=True) for part in ("output", "errors")]
        except (ValueError, binascii.Error) as error:
            raise UnreadableAnswer(f"asking Slurm: the line {line[:200]!r} can't be read") from error
        stdout_text, stderr_text = (stream.decode("utf-8", "replace") for stream in streams)
        told[match["name"]] = Told(stdout=stdout_text, stderr=stderr_text, status=int(match["status"]))
    return told


def judge_slurm(told: Mapping[str, Told], *, account: str | None, poll_max_seconds: float) -> list[Finding]:
    """Return what to say of the cluster for a connection with this default account and polling interval."""
    config = _read(told, "config", limits.parse_config)
    if isinstance(config, str):
        return [
            wrong(
                "Slurm",
                f"slurmctld does not answer: {config}",
                "It may be under maintenance, see the site's status page; jobs wait for its end, see outage_tolerance",
            )
        ]
    findings = [Finding(what="Slurm", value=f"{config.version}, cluster {config.cluster}")]
    findings += _partitions(_read(told, "partitions", limits.parse_partitions))
    findings += [_arrays(config), _accounting(config, told, poll_max_seconds)]
    if config.keeps_accounting:
        known = _read(told, "associations", lambda text: limits.parse_associations(text, config.cluster))
        findings += _accounts(config, known, account)
        findings += _qos(known, _read(told, "qos", limits.parse_qos))
    elif account:
        findings.append(Finding(what="Accounts", value=f"{account}, which this cluster does not check"))
    return findings


def _read(told: Mapping[str, Told], name: str, parse: Callable[[str], T]) -> T | str:
    """Return what was told, read by ``parse``, or in words why it is not known."""
    answer = told.get(name)
    if answer is None:
        return "it was not asked"
    if answer.status:
        return answer.failure
    try:
        return parse(answer.stdout)
    except UnreadableAnswer as error:
        return str(error)


def _partitions(partitions: list[Partition] | str) -> list[Finding]:
    what = "Partitions"
    if isinstance(partitions, str):
        return [warning(what, f"unknown, since sinfo failed: {partitions}", "Name a partition in each job")]
    if not partitions:
        return [wrong(what, "this user can see none", "Ask the site to let the user in")]
    texts = [_partition(each) for each in partitions]
    more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    value = "; ".join(texts[:_SHOWN]) + more
    if not any(each.available == "up" for each in partitions):
        return [wrong(what, f"none is up: {value}", "Wait until the site has brought one up")]
    if not any(each.is_default for each in partitions):
        return [warning(what, value, "None is the default: each job must name one (partition=)")]
    return [Finding(what=what, value=value)]


def _partition(partition: Partition) -> str:
    nodes = "1 node" if partition.nodes == "1" else f"{partition.nodes} nodes"
    marks = [nodes, "no time limit" if partition.time_limit == "infinite" else f"up to {partition.time_limit}"]
    if partition.available != "up":
        marks.append(partition.available)
    return f"{partition.name}{' (default)' if partition.is_default else ''}: {', '.join(marks)}"


def _arrays(config: Configuration) -> Finding:
    size = config.max_array_size
    if size <= 1:
        return warning("Arrays", f"switched off (MaxArraySize={size})", "SlurmArrayOperator can't work here")
    return Finding(what="Arrays", value=f"indices up to {size - 1} (MaxArraySize={size}); longer ones are split")


def _accounting(config: Configuration, told: Mapping[str, Told], poll_max_seconds: float) -> Finding:
    what = "Accounting"
    memory = f"slurmctld knows ended jobs for {config.min_job_age_seconds} s (MinJobAge)"
    if config.keeps_accounting:
        seen = told.get("accounting")
        if seen is not None and (seen.status or "error" in seen.stderr.casefold()):
            return warning(
                what,
                f"slurmdbd does not answer: {seen.failure}",
                "How jobs ended is not known until it does; tasks wait for it",
            )
        return Finding(what=what, value=f"on; {memory}")
    if config.min_job_age_seconds < 2 * poll_max_seconds:
        return warning(
            what,
            f"off; {memory}",
            "That is short, so how some jobs ended is known by their own word alone: set the connection's"
            f" poll_max_seconds to {max(1, config.min_job_age_seconds // 2)} or less",
        )
    return warning(what, f"off; {memory}", "Usage of ended jobs stays unknown; jobs run and are followed all the same")


def _accounts(config: Configuration, known: list[Association] | str, account: str | None) -> list[Finding]:
    what = "Accounts"
    if isinstance(known, str):
        return [warning(what, f"unknown, since sacctmgr failed: {known}", "Jobs run all the same")]
    names = list(dict.fromkeys(each.account for each in known))
    listed = ", ".join(names[:_SHOWN]) + (f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    if not config.needs_association:
        mine = f"{account} by default, " if account else ""
        return [
            Finding(what=what, value=f"{mine}not checked by this cluster{f'; you have {listed}' if listed else ''}")
        ]
    if not names:
        return [wrong(what, "this user has none, and this cluster runs no job without", "Ask the site for one")]
    if account and account not in names:
        return [wrong(what, f"{account!r} is none of yours", f"Set the connection's account to one of: {listed}")]
    return [Finding(what=what, value=f"{account} by default, of {listed}" if account else listed)]


def _qos(known: list[Association] | str, every: dict[str, Limits] | str) -> list[Finding]:
    if isinstance(known, str):
        return []
    limited = {each.account: each.limits for each in known if each.limits != Limits()}
    texts = [f"account {account}: {limit}" for account, limit in limited.items()]
    if isinstance(every, str):
        return [warning("QOS limits", f"unknown, since sacctmgr failed: {every}", "Jobs run all the same")]
    names = dict.fromkeys(name for each in known for name in each.qos)
    texts += [f"{name}: {every[name]}" for name in names if name in every]
    if not texts:
        return []
    more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return [Finding(what="QOS limits", value="; ".join(texts[:_SHOWN]) + more)]
