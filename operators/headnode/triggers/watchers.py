"""One watcher of conditions for each tracker, so that all sensors of a triggerer share its connection."""

from __future__ import annotations

from typing import Final
from weakref import WeakKeyDictionary

from headnode.cluster.tracker import Tracker
from headnode.cluster.watching import Conditions
from headnode.ssh.settings import ClusterSettings
from headnode.triggers.trackers import tracker_for

_WATCHERS: Final[WeakKeyDictionary[Tracker, Conditions]] = WeakKeyDictionary()


def conditions_of(settings: ClusterSettings) -> Conditions:
    """Return the running loop's watcher of the cluster."""
    tracker = tracker_for(settings)
    if tracker not in _WATCHERS:
        _WATCHERS[tracker] = Conditions(
            tracker, poll_seconds=settings.poll_seconds, poll_max_seconds=settings.poll_max_seconds
        )
    return _WATCHERS[tracker]
