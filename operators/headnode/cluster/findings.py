"""What a check found: one finding for each thing that was looked at, with its verdict and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Verdict(Enum):
    """How bad it is: jobs run, jobs run with a restriction, jobs can't run."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at. ``value`` says what was seen, ``remedy`` what to do where that is not well.

    ``is_detail`` marks what few ask for as long as it is well.
    """

    what: str
    value: str
    verdict: Verdict = Verdict.OK
    remedy: str = ""
    is_detail: bool = False

    def __post_init__(self) -> None:
        """Take out what a terminal would obey: much of it is what a foreign host said."""
        for name in ("value", "remedy"):
            text = "".join(mark if mark.isprintable() else " " for mark in getattr(self, name))
            object.__setattr__(self, name, text)

    @property
    def text(self) -> str:
        """The finding in one line."""
        return f"{self.what}: {self.value}" + (f". {self.remedy}" if self.remedy else "")


def warning(what: str, value: str, remedy: str) -> Finding:
    """Return a finding with which jobs run, but not everything does."""
    return Finding(what=what, value=value, verdict=Verdict.WARNING, remedy=remedy)


def wrong(what: str, value: str, remedy: str = "") -> Finding:
    """Return a finding with which no job can run."""
    return Finding(what=what, value=value, verdict=Verdict.WRONG, remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a check of one connection found, in the order in which it was looked at."""

    conn_id: str
    host: str
    findings: Sequence[Finding]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; warnings may be there."""
        return not self.of(Verdict.WRONG)

    def of(self, verdict: Verdict) -> list[Finding]:
        """Return the findings with this verdict."""
        return [finding for finding in self.findings if finding.verdict is verdict]

    @property
    def text(self) -> str:
        """The report for a small box, which may drop line breaks: what is wrong alone, else warnings and the rest."""
        well = [finding for finding in self.of(Verdict.OK) if not finding.is_detail]
        shown: Iterable[Finding] = self.of(Verdict.WRONG) or [*self.of(Verdict.WARNING), *well]
        return "\n".join(finding.text.rstrip(".") + "." for finding in shown)

    def as_json(self) -> dict[str, Any]:
        """Return the report in JSON's types."""
        findings = [
            {name: getattr(each, name) for name in ("what", "value", "remedy")} | {"verdict": each.verdict.value}
            for each in self.findings
        ]
        return {"conn_id": self.conn_id, "host": self.host, "ok": self.ok, "findings": findings}
