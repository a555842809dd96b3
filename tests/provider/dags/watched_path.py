"""A DAG that each new version of a file on the cluster starts."""

import os

from airflow.sdk import DAG, Asset, AssetWatcher, task

from headnode import RemotePathEventTrigger

FOLDER = os.environ.get("HEADNODE_TEST_WATCHED", "/nonexistent")
trigger = RemotePathEventTrigger(path=f"{FOLDER}/scene.txt", stable_for_seconds=1)
scene = Asset("scene", watchers=[AssetWatcher(name="scene", trigger=trigger)])

with DAG("watched_path", schedule=[scene]):

    @task
    def take(triggering_asset_events=None):
        """Return the events that started this run."""
        return [event.extra["payload"] for event in triggering_asset_events[scene]]

    take()
