"""Registers the plugin where only the folders are deployed.

Where the distribution is installed its entry point ``airflow.plugins`` registers the plugin, and this module
must not do it again: Airflow would report the second one as an import error.
"""

from __future__ import annotations

from importlib.metadata import entry_points

if not entry_points(group="airflow.plugins", name="headnode"):
    from headnode_ui.plugin import HeadnodePlugin

    __all__ = ["HeadnodePlugin"]
