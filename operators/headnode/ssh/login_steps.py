"""What a login within the budget takes: wait for a turn, offer nothing that was refused, go on to the next host.

Written once, as generators that yield what is to be done, and run by an async and by a sync driver (``login``), as the
procedures of ``headnode.cluster`` are. What a login raises is raised inside the generator, at the yield.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from headnode.errors import HostUnreachable, TransportError
from headnode.ssh.budget import SEEN_AGAIN_SECONDS, Budget, Turn
from headnode.ssh.failover import CurrentHost, all_unreachable, at_host
from headnode.ssh.ledger import HostLedger, Slot
from headnode.ssh.refused_logins import RefusedLogins, route_digest
from headnode.ssh.route import Hop, route_of
from headnode.ssh.settings import SSHSettings

_SOON_SECONDS: Final = 0.1

T = TypeVar("T")


@dataclass(frozen=True)
class Wait:
    """Ask again after so many seconds; ``reason`` is for the log."""

    seconds: float
    reason: str


@dataclass(frozen=True)
class Try:
    """Log in with these settings, once."""

    settings: SSHSettings


Steps = Generator[Wait | Try, None, T]


def login_steps(settings: SSHSettings, *, forced: bool = False) -> Steps[None]:
    """Yield what a login takes. ``forced`` offers also what was refused before, because a person wants to know.

    Raises:
        HostUnreachable: no host of the connection can be reached at present.
        AuthenticationRefused: the host refuses the credentials, or did so before.
        TransportError: another reason why there is no login.
    """
    current = CurrentHost(settings)
    failures: list[HostUnreachable] = []
    hosts = current.hosts()
    for host in hosts:
        try:
            yield from _one_host(at_host(settings, host), forced=forced)
        except HostUnreachable as failure:
            if len(hosts) == 1:
                raise
            failures.append(failure)
        else:
            current.works(host)
            return
    raise all_unreachable(settings, failures) from failures[-1]


def _one_host(settings: SSHSettings, *, forced: bool) -> Steps[None]:
    if settings.budget is None:
        yield Try(settings)
        return
    hops = route_of(settings)
    memory = _memory(settings.budget, hops)
    slot = yield from _turns(settings.budget, hops, memory, forced=forced)
    try:
        if not forced:
            memory.check(claim=True)
        try:
            yield Try(settings)
        except TransportError as error:
            memory.remember(error)
            if isinstance(error, HostUnreachable):
                memory.share(error)
            raise
        memory.forget()
    finally:
        slot.release()


def _memory(budget: Budget, hops: Sequence[Hop]) -> RefusedLogins:
    return RefusedLogins(HostLedger(budget, hops[-1].host, hops[-1].port), route_digest(hops))


def _turns(budget: Budget, hops: Sequence[Hop], memory: RefusedLogins, *, forced: bool) -> Steps[Slot]:
    """Wait for a turn at each host on the way: a jump host counts logins, too.

    All take them in the same order, so that no two wait for each other; the last one is that of the host itself.
    """
    slot = Slot()
    last = (hops[-1].host, hops[-1].port)
    try:
        for host, port in sorted({(hop.host, hop.port) for hop in hops} - {last}):
            slot = slot.joined((yield from _turn(HostLedger(budget, host, port), memory, forced=forced, alone=False)))
        return slot.joined((yield from _turn(HostLedger(budget, *last), memory, forced=forced, alone=True)))
    except BaseException:
        slot.release()
        raise


def _turn(ledger: HostLedger, memory: RefusedLogins, *, forced: bool, alone: bool) -> Steps[Slot]:
    ticket, began = uuid.uuid4().hex, ledger.clock()
    try:
        while True:
            if not forced:
                memory.check()
                memory.check_reached(since=began)
            # As long as nobody knows whether the host takes the credentials, one finds it out for all.
            answer = ledger.ask(ticket, alone=memory.digest if alone and not memory.proven else None)
            if isinstance(answer, Slot):
                return answer
            yield _wait_for_turn(answer, ledger)
    finally:
        ledger.leave(ticket)


def _wait_for_turn(place: Turn, ledger: HostLedger) -> Wait:
    most, window = ledger.budget.window
    others = f"; {place.ahead} come first" if place.ahead else ""
    reason = (
        f"waiting for a turn to log in at {ledger.host}:{ledger.port}: {most} within {window:g} s and"
        f" {ledger.budget.concurrent_logins} at a time may begin on this machine{others}"
    )
    if place.wait_seconds > 0:
        reason += f"; that is in {place.wait_seconds:.0f} s at the earliest"
    seconds = max(place.wait_seconds, _SOON_SECONDS * (1 + place.ahead)) * random.uniform(0.8, 1.2)  # noqa: S311
    return Wait(min(seconds, SEEN_AGAIN_SECONDS), reason)


def turn_steps(settings: SSHSettings) -> Steps[Slot]:
    """Yield waits until a login may be made, and return the slot that it has then.

    Raises:
        TransportError: the host has refused the credentials before.
    """
    if settings.budget is None:
        return Slot()
    hops = route_of(settings)
    return (yield from _turns(settings.budget, hops, _memory(settings.budget, hops), forced=False))


def command_steps(settings: SSHSettings) -> Steps[Slot]:
    """Yield waits until one more command may be sent to the host, and return the slot that it has then."""
    if settings.budget is None:
        return Slot()
    ledger = HostLedger(settings.budget, settings.host, settings.port)
    most, pause = settings.budget.commands_in_flight, _SOON_SECONDS
    while (slot := ledger.command_slot()) is None:
        reason = f"waiting to send a command to {settings.host}: {most} of this machine run there already"
        yield Wait(pause * random.uniform(0.8, 1.2), reason)  # noqa: S311 - spreads load, hides nothing
        pause = min(pause * 1.5, 2.0)
    return slot
