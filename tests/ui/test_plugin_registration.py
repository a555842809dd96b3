"""The plugin is registered exactly once: by the wheel, by the mounted folders, and by both together."""

import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).parents[2]
WHEEL, FOLDERS = "airflow-provider-headnode==", "$PLUGINS_FOLDER/headnode_plugin.py"

# Asks both of Airflow's plugin managers: the server's, and the one that workers use.
QUESTION = """
import json
import sys
from airflow import settings
settings.initialize()
from airflow import plugins_manager as server
from airflow.sdk import plugins_manager as worker
worker._get_plugins()
imported = [name for name in sys.modules if name.startswith("headnode_ui")]
print("ANSWER " + json.dumps({
    "server": [str(p.source) for p in server._get_plugins()[0] if p.name == "headnode"],
    "worker": [str(p.source) for p in worker._get_plugins()[0] if p.name == "headnode"],
    "errors": {**server.get_import_errors(), **worker._get_plugins()[1]},
    "mounted": [app["url_prefix"] for app in server.get_fastapi_plugins()[0]],
    "imported by worker": imported,
    "tabs": [view["url_route"] for view in server._get_ui_plugins()[0]],
}))
"""


def ask(python, home, **settings):
    """Return what Airflow's plugin managers say in a new process."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW_", "PYTHON")) and name != "VIRTUAL_ENV"
    }
    env = {**inherited, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", **settings}
    answer = subprocess.run(
        [python, "-c", QUESTION], cwd=home, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    lines = [line for line in answer.stdout.splitlines() if line.startswith("ANSWER ")]
    assert lines, answer.stdout + answer.stderr
    return json.loads(lines[-1].removeprefix("ANSWER "))


def folders():
    """Return the settings of a deployment that mounts this repository's folders."""
    return {
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "PYTHONPATH": str(ROOT / "operators"),
    }


def assert_once(answer, source):
    """Fail unless the plugin is registered once, from ``source``, without an error, and mounted once."""
    for manager in ("server", "worker"):
        assert len(answer[manager]) == 1
        assert answer[manager][0].startswith(source)
    assert answer["errors"] == {}
    assert answer["mounted"] == ["/headnode"]
    assert answer["tabs"] == ["slurm-job"]


def test_airflow_alone_has_no_such_plugin(airflow_alone, tmp_path):
    """The environment of the next test is what it claims to be."""
    answer = ask(airflow_alone, tmp_path)
    assert (answer["server"], answer["worker"], answer["mounted"]) == ([], [], [])


def test_folders_register_once(airflow_alone, tmp_path):
    """Entry points do not exist where only the folders are mounted: the module in the folder registers."""
    assert_once(ask(airflow_alone, tmp_path, **folders()), FOLDERS)


def test_wheel_registers_once(airflow_with_wheel, tmp_path):
    """The entry point registers, and the wheel holds all that the plugin needs."""
    assert_once(ask(airflow_with_wheel, tmp_path), WHEEL)


def test_wheel_and_folders_register_once(airflow_with_wheel, tmp_path):
    """The entry point registers, and the module in the folder stands back."""
    assert_once(ask(airflow_with_wheel, tmp_path, **folders()), WHEEL)


def test_workers_do_not_import_the_pages(airflow_with_wheel, tmp_path):
    """Each task's process loads the plugins; the pages' imports would add most of a second to it."""
    assert set(ask(airflow_with_wheel, tmp_path)["imported by worker"]) == {"headnode_ui", "headnode_ui.plugin"}


def test_wheel_holds_the_templates(airflow_with_wheel, site_packages):
    """A page without its templates would fail only when someone opens it."""
    templates = {path.name for path in (site_packages(airflow_with_wheel) / "headnode_ui/templates").iterdir()}
    assert {"page.html", "job.html", "message.html", "style.css"} <= templates
