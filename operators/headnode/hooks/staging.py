"""Uploads and downloads: content that is there is not sent again, what broke off is gone on with, names appear whole.

    hook = SlurmHook("my_cluster")
    upload(hook, Path("inputs"), "project/inputs", options=Options(token="notebook"))

What arrives is staged beside its destination, checked there against the source's SHA-256, and renamed.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from headnode.cluster.staging import local, openssh
from headnode.cluster.staging.manifest import Item, Manifest, check_items
from headnode.cluster.staging.plan import (
    Plan,
    candidates,
    differing,
    is_complete,
    plan_transfer,
    refuse_losses,
    with_hashes,
)
from headnode.cluster.staging.progress import render_bytes
from headnode.cluster.staging.spot import Spot, check_replaceable, content_of
from headnode.errors import ContentDiffers, HeadnodeError, NoSpaceLeft, TransferError
from headnode.hooks import rsync
from headnode.hooks.ends import ClusterEnd, End, WorkerEnd
from headnode.hooks.slurm import SlurmHook
from headnode.hooks.transfer import Carrier, Load, Meter, Stop

T = TypeVar("T")

_LOG: Final = logging.getLogger(__name__)
_FIRST_RETRY_SECONDS: Final = 2.0
_LAST_RETRY_SECONDS: Final = 120.0
_ROUNDS: Final = 2


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to move. ``token`` is ``spot.token_of`` the task: its next try finds what this one left.

    ``delete`` allows to remove files of a replaced folder which the source does not have;
    ``outage_tolerance_seconds`` is how long the host may be away while nothing moves.
    """

    token: str
    delete: bool = False
    outage_tolerance_seconds: float = 86_400.0
    first_retry_seconds: float = _FIRST_RETRY_SECONDS
    log: Any = _LOG
    stop: Stop = field(default_factory=Stop)


def upload(
    hook: SlurmHook,
    source: Path,
    destination: str,
    *,
    options: Options,
    leave_out: Callable[[str], bool] | None = None,
) -> dict[str, Any]:
    """Send a file or folder to the cluster; return its path there, SHA-256, bytes and number of files.

    ``destination`` is absolute, begins with ``~/``, or is relative to the connection's work directory; with a slash at
    its end the source keeps its name below it.

    Raises:
        HeadnodeError: it could not be done; the message says why, and what is kept.
    """
    source = local.resolved(source)
    if destination.endswith("/"):
        destination += source.name
    wanted = local.read_manifest(source, leave_out=leave_out)
    sink = ClusterEnd(hook, destination)
    transfer = _Transfer(hook, options, sending=True, source=WorkerEnd(source), source_root=str(source), sink=sink)
    return transfer.run(lambda: wanted)


def download(hook: SlurmHook, source: str, destination: Path, *, options: Options) -> dict[str, Any]:
    """Fetch a file or folder from the cluster; return its path here, SHA-256, bytes and number of files.

    ``source`` is absolute, begins with ``~/``, or is relative to the connection's work directory.

    Raises:
        HeadnodeError: it could not be done; the message says why, and what is kept.
    """
    end = ClusterEnd(hook, source)
    transfer = _Transfer(hook, options, sending=False, source=end, source_root="", sink=WorkerEnd(destination))
    return transfer.run(transfer.read_source)


class _Transfer:
    """One upload or download, with all its attempts."""

    def __init__(
        self, hook: SlurmHook, options: Options, *, sending: bool, source: End, source_root: str, sink: End
    ) -> None:
        self._hook = hook
        self._options = options
        self._sending = sending
        self._source = source
        self._source_root = source_root
        self._sink = sink
        self._meter = Meter(stop=options.stop, log=options.log)
        self._manifest: Manifest | None = None
        self._least_missing: int | None = None
        self._advances = False  # whether less is missing than at any attempt before
        self._has_rsync = False
        self._rsync_refused: str | None = None
        options.stop.also(hook.transport.close)

    def run(self, read_source: Callable[[], Manifest]) -> dict[str, Any]:
        """Try until it is done; a host that is away is waited for as long as the options allow."""
        pause = self._options.first_retry_seconds
        began = time.monotonic()
        while True:
            try:
                return self._attempt(read_source)
            except HeadnodeError as error:
                self._options.stop.check()
                if self._advances:
                    began, pause, self._advances = time.monotonic(), self._options.first_retry_seconds, False
                left = began + self._options.outage_tolerance_seconds - time.monotonic()
                if not error.retryable or left <= 0:
                    raise
                wait = min(pause * random.uniform(0.75, 1.25), left)  # noqa: S311 - spreads load, hides nothing
                self._options.log.warning("%s Going on in %.0f s, for at most %.0f s more.", error, wait, left)
            self._options.stop.wait(wait)
            pause = min(pause * 2, _LAST_RETRY_SECONDS)

    def read_source(self) -> Manifest:
        """Return the manifest of what is on the cluster, read once.

        Raises:
            TransferError: there is nothing.
        """
        spot = self._source.survey()
        if spot.kind == "nothing":
            raise TransferError(f"there is nothing at {self._source.where} (that is {spot.path})")
        self._source_root, self._has_rsync = spot.path, spot.has_rsync
        if self._manifest is None:
            items = self._source.list_items(spot.path)
            check_items(items, where=self._source.where)
            files = {path: item for path, item in items.items() if item.kind == "file"}
            size = sum(item.size for item in files.values())
            hashes = self._source.hash_files(spot.path, list(files), size=size) if files else {}
            self._manifest = Manifest(with_hashes(items, hashes))
        return self._manifest

    def _attempt(self, read_source: Callable[[], Manifest]) -> dict[str, Any]:
        wanted = read_source()
        spot = self._sink.survey()
        self._has_rsync = spot.has_rsync if self._sending else self._has_rsync
        self._check_destination(spot, wanted)
        present = self._present(spot, wanted)
        summary = wanted.summary(spot.path)
        if is_complete(wanted, present):
            self._options.log.info("%s is there already: %s", self._sink.where, _describe(wanted))
            return summary
        if not self._options.delete:
            refuse_losses(wanted, present, where=self._sink.where)
        part = spot.part(wanted.sha256, self._options.token)
        free = self._sink.prepare(spot, part, wanted)
        self._fill(spot, part, wanted, present, free)
        self._sink.finish(spot, part, wanted)
        self._options.log.info("%s is in place: %s", self._sink.where, _describe(wanted))
        return summary

    def _check_destination(self, spot: Spot, wanted: Manifest) -> None:
        keep: tuple[str, ...] = ()
        if self._sending:
            root = self._hook.settings.work_directory
            keep = (spot.home + root[1:] if root.startswith("~/") else root,)
        check_replaceable(spot, with_file=wanted.is_file, where=self._sink.where, keep=keep)

    def _present(self, spot: Spot, wanted: Manifest) -> dict[str, Item]:
        """Return what is at the destination, with the hashes of what may be the right content already."""
        if spot.kind == "nothing":
            return {}
        present = self._sink.list_items(spot.path)
        alike = candidates(wanted, present)
        if not alike:
            return present
        size = sum(wanted.items[path].size for path in alike)
        return with_hashes(present, self._sink.hash_files(spot.path, alike, size=size))

    def _fill(self, spot: Spot, part: str, wanted: Manifest, present: dict[str, Item], free: int | None) -> None:
        """Bring all content into the staging folder, and see that it is the right one.

        Raises:
            ContentDiffers: it is not, for the second time, or the source has changed.
        """
        root = content_of(part)
        for attempt in range(1, _ROUNDS + 1):
            plan = plan_transfer(wanted, present=present, staged=self._sink.list_items(root))
            if plan.remove:
                self._sink.remove(part, plan.remove)
            if plan.send:
                self._carry(plan, wanted, part, free)
            if plan.link:
                self._sink.link_present(spot, part, plan.link)
            linked = set(plan.link)
            names = [path for path in wanted.files if path not in linked]
            bad = differing(wanted, self._sink.hash_files(root, names, size=wanted.size)) if names else []
            if not bad:
                return
            self._sink.remove(part, bad)
            self._refuse_changed_source(wanted, bad)
            what = f"{len(bad)} of {len(wanted.files)} files arrived at {self._sink.where} with another SHA-256"
            named = ", ".join(name or self._source_root for name in bad[:3])
            if attempt == _ROUNDS:
                raise ContentDiffers(f"{what} twice ({named}): a disk or the network damages what it is given")
            self._options.log.warning("%s (%s); they are sent once more", what, named)

    def _refuse_changed_source(self, wanted: Manifest, names: Sequence[str]) -> None:
        size = sum(wanted.items[name].size for name in names)
        changed = differing(wanted, self._source.hash_files(self._source_root, names, size=size))
        if changed:
            raise ContentDiffers(
                f"{changed[0] or self._source_root!r} changed while it was sent from {self._source.where}; send it when"
                " nobody writes to it"
            )

    def _carry(self, plan: Plan, wanted: Manifest, part: str, free: int | None) -> None:
        if free is not None and plan.missing_bytes > free:
            raise NoSpaceLeft(
                f"{self._sink.where}: {render_bytes(plan.missing_bytes)} are to be stored there, and"
                f" {render_bytes(free)} are free on that disk; make room, or choose another destination"
            )
        if self._least_missing is None or plan.missing_bytes < self._least_missing:
            self._least_missing, self._advances = plan.missing_bytes, True
        files = {path: wanted.items[path] for path in plan.send}
        here, there = (self._source_root, content_of(part)) if self._sending else (content_of(part), self._source_root)
        load = Load(local=Path(here), remote=there, part=part, files=files, starts=plan.send)
        carrier = self._carrier()
        again = (
            f", {render_bytes(plan.resumed_bytes)} of it are there from an earlier attempt"
            if plan.resumed_bytes
            else ""
        )
        self._options.log.info(
            "%s: %s%s; %s in %d files to be moved by %s",
            self._sink.where,
            _describe(wanted),
            again,
            render_bytes(plan.missing_bytes),
            len(files),
            carrier.name,
        )
        try:
            self._move(carrier, load, plan)
        except rsync.RsyncUnusable as error:
            self._options.log.warning("%s; going on by SFTP", error)
            self._rsync_refused = str(error)
            # rsync may have brought some before it failed; the next look at the staging folder tells.
            staged = self._sink.list_items(content_of(part))
            starts = {path: min(staged[path].size, files[path].size) if path in staged else 0 for path in files}
            load = Load(local=load.local, remote=load.remote, part=part, files=files, starts=starts)
            self._move(self._carrier(), load, plan)
        self._meter.end()

    def _move(self, carrier: Carrier, load: Load, plan: Plan) -> None:
        by_rsync = isinstance(carrier, rsync.RsyncCarrier)
        self._meter.begin(total_bytes=load.size if by_rsync else plan.missing_bytes, total_files=len(load.files))
        (carrier.send if self._sending else carrier.fetch)(load, self._meter)

    def _carrier(self) -> Carrier:
        settings = self._hook.transport.at
        if self._rsync_refused is None and self._has_rsync and rsync.is_installed():
            refusal = openssh.why_not(settings)
            if refusal is None:
                return rsync.RsyncCarrier(settings, self._options.stop)
            self._rsync_refused = refusal
            self._options.log.info("rsync is not used, because %s", refusal)
        from headnode.hooks.sftp import SFTPCarrier  # noqa: PLC0415 - loads paramiko, which most workers have no use for

        return SFTPCarrier(self._hook.transport)


def _describe(wanted: Manifest) -> str:
    return f"{render_bytes(wanted.size)} in {len(wanted.files)} files, SHA-256 {wanted.sha256[:16]}"
