"""What keeps a cluster from answering, and for how long each who waits has borne it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from headnode.errors import CredentialExpired, HeadnodeError


class Service(StrEnum):
    """What can fail by itself."""

    SSH = "SSH"
    SLURMCTLD = "slurmctld"
    SLURMDBD = "slurmdbd"


@dataclass(frozen=True)
class OutageBegan:
    """The cluster can't be asked; the job is waited for all the same."""

    error: HeadnodeError
    service: Service = Service.SSH


@dataclass(frozen=True, kw_only=True)
class OutageOver:
    """The cluster answers again."""

    seconds: float
    service: Service = Service.SSH


class Outages:
    """The outages that one who waits for a job has borne. Times are seconds of a monotonic clock."""

    def __init__(self, tolerance_seconds: float) -> None:
        self.tolerance_seconds = tolerance_seconds
        self._since: dict[Service, float] = {}
        self._expired_said = False

    def failed(self, service: Service, error: HeadnodeError, now: float) -> OutageBegan | HeadnodeError | None:
        """Return what is to be said: that it began, or the error itself when it has lasted for too long.

        That a credential has expired is said also where the connection was lost before: a person has to renew it.
        """
        began = service not in self._since
        if isinstance(error, CredentialExpired) and not self._expired_said:
            began = self._expired_said = True
        since = self._since.setdefault(service, now)
        if now - since >= self.tolerance_seconds:
            return error
        return OutageBegan(error, service) if began else None

    def answered(self, service: Service, now: float) -> OutageOver | None:
        """Return that an outage is over, if there was one."""
        since = self._since.pop(service, None)
        if service is Service.SSH:
            self._expired_said = False
        return None if since is None else OutageOver(seconds=now - since, service=service)
