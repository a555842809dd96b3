"""One tracker for each cluster and event loop, shared by all triggers of a triggerer."""

from __future__ import annotations

import asyncio
import gc
from typing import Final
from weakref import WeakKeyDictionary

from headnode.cluster.tracker import Tracker
from headnode.ssh.settings import ClusterSettings

#: How many collections of the middle generation come before a full one; Python's own figure is 10.
FULL_COLLECTION_AFTER: Final = 2

_TRACKERS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ClusterSettings, Tracker]]] = WeakKeyDictionary()


def tracker_for(settings: ClusterSettings) -> Tracker:
    """Return the running loop's tracker of the cluster.

    A changed connection makes a new tracker; the old one closes its connection when its last job is over.
    """
    if not _TRACKERS:
        _shorten_collections()
    trackers = _TRACKERS.setdefault(asyncio.get_running_loop(), {})
    if settings not in trackers:
        # Loaded where it is used: workers that only hand a trigger to Airflow have no use for it.
        from headnode.ssh.transports import transport_to  # noqa: PLC0415

        trackers[settings] = Tracker(
            transport_to(settings.ssh),
            poll_seconds=settings.poll_seconds,
            poll_max_seconds=settings.poll_max_seconds,
            lost_after_seconds=settings.lost_after_seconds,
        )
    return trackers[settings]


def _shorten_collections() -> None:
    """Have Python's garbage collector stop the loop that all triggers share for shorter times.

    A full collection walks through all that Airflow has loaded (0.2 s and more were seen); what is loaded by now stays
    anyway. And each trigger that started its task leaves its whole DAG behind, in cycles: the sooner a full collection
    comes, the fewer those are (0.12 s of work were seen for two hundred of ten tasks each).
    """
    gc.freeze()
    first, second, _ = gc.get_threshold()
    gc.set_threshold(first, second, FULL_COLLECTION_AFTER)
