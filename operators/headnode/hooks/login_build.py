"""Building an environment on the login host, watched by a worker."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from headnode.cluster.login_run import LoginRun, follow_run, remove_run, start_run, stop_run
from headnode.cluster.procedures import Procedure
from headnode.errors import CommandRefused, TransferStopped
from headnode.hooks.jobs import tolerantly
from headnode.hooks.site_catalogue import load_catalogue
from headnode.hooks.slurm import SlurmHook
from headnode.hooks.staging import Options
from headnode.hooks.wheelhouse import stage_wheelhouses
from headnode.sites.environments.environment import Environment
from headnode.sites.facade import find_place, surroundings_of
from headnode.slurm.visible import visible

T = TypeVar("T")

_TELL: Final = 'printf %s "$VIRTUAL_ENV" >"$HEADNODE_RESULT"'
_LAST_LINES: Final = 20


def build_on_login_host(
    environment: Environment,
    *,
    conn_id: str,
    site: str | None,
    partition: str | None,
    poll_seconds: float,
    options: Options,
) -> str:
    """Build a resolved environment on the login host, show its log, and return the environment's path there.

    A build that an earlier try has started is found by ``options.token`` and watched further.

    Raises:
        CommandRefused: it could not be built.
        HeadnodeError: the host can't be asked.
    """
    stage_wheelhouses(environment, conn_id=conn_id, options=options)
    hook = SlurmHook(conn_id)
    place = find_place(site or hook.settings.site, partition, None, load_catalogue())
    lines = environment.lines(replace(surroundings_of(place, None), on_login_host=True))
    run = LoginRun(work_directory=hook.settings.work_directory, name=options.token)
    try:
        script = "\n".join([*lines, _TELL])
        if not _ask(hook, lambda: start_run(run, script=script, files=environment.files()), options):
            options.log.info("the build that an earlier try has started goes on")
        return _watch(hook, run, poll_seconds, options)
    except TransferStopped:
        options.log.warning("ending the build on the login host")
        hook.run(stop_run(run))
        raise
    finally:
        hook.transport.close()


def _watch(hook: SlurmHook, run: LoginRun, poll_seconds: float, options: Options) -> str:
    offset, tail, decoder = 0, "", codecs.getincrementaldecoder("utf-8")("replace")
    last: list[str] = []
    while True:
        seen = _ask(hook, partial(follow_run, run, offset=offset), options)
        offset += len(seen.log)
        *lines, tail = (tail + decoder.decode(seen.log)).split("\n")
        for line in lines:
            options.log.info("%s", visible(line))
        last = [*last, *lines][-_LAST_LINES:]
        if seen.exit_code is not None and not seen.log:
            break
        if not seen.log:
            options.stop.wait(poll_seconds)
    _ask(hook, partial(remove_run, run), options)
    if seen.exit_code == 0:
        return seen.result
    how = "was killed" if seen.exit_code == -1 else f"ended with exit code {seen.exit_code}"
    raise CommandRefused(
        f"the build on the login host {hook.settings.ssh.host} {how}; its last lines:\n"
        + "\n".join(map(visible, last)),
        kind="policy",  # the package index, a disk: another try may pass
    )


def _ask(hook: SlurmHook, procedure: Callable[[], Procedure[T]], options: Options) -> T:
    tolerance = timedelta(seconds=options.outage_tolerance_seconds)
    return tolerantly(hook, procedure, tolerance=tolerance, say=options.log.warning)
