"""``RemotePathEventTrigger``: each new version of a path on a cluster is an event of an asset.

incoming = Asset(
    "scene",
    watchers=[AssetWatcher(name="scene", trigger=RemotePathEventTrigger(path="/data/in/scene.nc"))],
)
with DAG("on_scene", schedule=[incoming]): ...
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import aclosing
from typing import Any, Final

from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from headnode.cluster.conditions import Met, NotYet, PathExists
from headnode.cluster.outages import OutageBegan, OutageOver
from headnode.cluster.watched import WatchedPlace, read_version, store_version
from headnode.errors import HeadnodeError, JobSpecError
from headnode.hooks.connection import aload_settings
from headnode.hooks.deployment import deployment_id
from headnode.hooks.slurm import SlurmHook
from headnode.slurm.visible import is_visible
from headnode.triggers.trackers import tracker_for
from headnode.triggers.watchers import conditions_of

_LOG: Final = logging.getLogger(__name__)
_FIRST_RETRY_SECONDS: Final = 5.0
_LAST_RETRY_SECONDS: Final = 300.0


class RemotePathEventTrigger(BaseEventTrigger):
    """Fires once for each version of a path: its size and time of change (of a directory, those of its entries).

    For ``AssetWatcher(trigger=...)``. All watchers and sensors of a cluster share one command an interval. The version
    that Airflow's database has taken in is noted on the cluster, so that none is lost, and after a restart none comes
    again. Only a triggerer that is killed in the second or two between these two lets a version come twice; the event's
    payload, which has ``path``, ``size``, ``mtime`` and ``version``, is the same then. Of versions that follow each
    other faster than is looked, the last comes.

    :param path: absolute, or below the home directory with ``~/``
    :param slurm_conn_id: an Airflow connection of type ``slurm`` or ``ssh``
    :param stable_for_seconds: for how long nothing must have changed, by the cluster's own clock
    :param non_empty: whether there must be something in it
    """

    def __init__(
        self,
        *,
        path: str,
        slurm_conn_id: str = SlurmHook.default_conn_name,
        stable_for_seconds: float = 60.0,
        non_empty: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path = path
        self.slurm_conn_id = slurm_conn_id
        self.stable_for_seconds = stable_for_seconds
        self.non_empty = non_empty
        if not (path.startswith(("/", "~/")) or path == "~") or not is_visible(path):
            raise JobSpecError(
                "path", f"{path!r} must begin with '/' or '~/' and hold no line breaks or other control characters"
            )
        if stable_for_seconds < 0:
            raise JobSpecError("stable_for_seconds", f"{stable_for_seconds!r} must not be negative")

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, which Airflow stores while a DAG watches."""
        return (
            "headnode.assets.remote_path.RemotePathEventTrigger",
            {
                "path": self.path,
                "slurm_conn_id": self.slurm_conn_id,
                "stable_for_seconds": self.stable_for_seconds,
                "non_empty": self.non_empty,
            },
        )

    def shared_stream_key(self) -> Hashable:
        """Return what tells watchers apart; with a key, Airflow says when an event is in its database."""
        return json.dumps(self.serialize())

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return what looks at the path and notes the versions that Airflow has taken in."""
        return VersionProducer(cls(**kwargs))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each version."""
        async for found in shared_stream:
            yield TriggerEvent(found)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Do the same where Airflow does not share streams; a version is noted when it is handed over."""
        producer = VersionProducer(self)
        async for found, version in producer.open_stream():
            yield TriggerEvent(found)
            await producer.store(version)


class VersionProducer(SharedStreamProducer):
    """Looks at the path of ``trigger`` for ever; what goes wrong is said in the triggerer's log and tried again."""

    def __init__(self, trigger: RemotePathEventTrigger) -> None:
        self._conn_id = trigger.slurm_conn_id
        self._condition = PathExists(
            path=trigger.path, non_empty=trigger.non_empty, stable_seconds=trigger.stable_for_seconds
        )
        self._name = hashlib.sha256(json.dumps(trigger.serialize()).encode()).hexdigest()[:32]

    async def open_stream(self) -> AsyncIterator[tuple[dict[str, Any], str]]:
        """Yield what was found and its version, once for each version."""
        pause = _FIRST_RETRY_SECONDS
        last: str | None = None
        while True:
            try:
                settings = await aload_settings(self._conn_id)
                last = last or await tracker_for(settings).run(read_version(await self._place()))
                events = conditions_of(settings).watch(
                    self._condition, lasting=True, outage_tolerance_seconds=float("inf")
                )
                async with aclosing(events):
                    async for event in events:
                        pause = _FIRST_RETRY_SECONDS
                        self._say(event)
                        if isinstance(event, Met) and event.version != last:
                            last = event.version
                            yield {**event.found, "version": event.version}, event.version
            except HeadnodeError as error:
                pause = await self._after(error, pause)

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Note the version whose event is in Airflow's database; one that failed comes again."""
        taken = [item.broker_payload for item in batch if item.outcome.is_clean]
        if taken:
            await self.store(taken[-1])

    async def store(self, version: str) -> None:
        """Note the version on the cluster, whatever time that takes."""
        pause = _FIRST_RETRY_SECONDS
        while True:
            try:
                settings = await aload_settings(self._conn_id)
                await tracker_for(settings).run(store_version(await self._place(), version))
            except HeadnodeError as error:
                pause = await self._after(error, pause)
            else:
                return

    async def _place(self) -> WatchedPlace:
        settings = await aload_settings(self._conn_id)
        return WatchedPlace(
            work_directory=settings.work_directory,
            deployment_id=await asyncio.to_thread(deployment_id),
            name=self._name,
        )

    async def _after(self, error: HeadnodeError, pause: float) -> float:
        wait = pause * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, hides nothing
        _LOG.warning("watching %s: %s Trying again in %.0f s.", self._condition.path, error, wait)
        await asyncio.sleep(wait)
        return min(pause * 2, _LAST_RETRY_SECONDS)

    def _say(self, event: NotYet | Met | OutageBegan | OutageOver) -> None:
        match event:
            case OutageBegan(error):
                _LOG.warning("watching %s: %s Asking again until there is an answer.", self._condition.path, error)
            case OutageOver(seconds=seconds):
                _LOG.info("watching %s: there is an answer again after %.0f s", self._condition.path, seconds)
            case Met(found=found):
                _LOG.info("watching %s: found %s", self._condition.path, found)
            case _:
                _LOG.debug("watching %s: %s", self._condition.path, event)
