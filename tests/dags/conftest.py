"""The DAGs of land-cover maps as Airflow would build them, from the shipped maps or from maps that a test writes."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

LANDCOVER = Path(__file__).parents[2] / "dags" / "landcover"
MAPS = LANDCOVER / "maps"


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch):
    """Let the DAGs' own modules be found, as landcover_maps.py does; nothing is set in the environment."""
    for name in ("SCHEDULE", "DATA", "CONNECTION", "MAPS", "ENV"):
        monkeypatch.delenv(f"HEADNODE_LANDCOVER_{name}", raising=False)
    monkeypatch.delenv("HEADNODE_JOBS_PYTHON", raising=False)
    for folder in (LANDCOVER, LANDCOVER / "jobs"):
        monkeypatch.syspath_prepend(str(folder))
    names = ("factory", "map_dag", "years", "reporting", "settings", "steps")
    return SimpleNamespace(**{name: importlib.import_module(f"landcover_dags.{name}") for name in names})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a folder of maps that is the only one."""
    monkeypatch.setenv("HEADNODE_LANDCOVER_MAPS", str(tmp_path))
    return tmp_path


@pytest.fixture
def write_map(folder):
    """Return a function that writes a map's file like the valley's; `a__b` is the field b of a."""

    def write(name: str, **fields):
        content = yaml.safe_load((MAPS / "romania_valley.yaml").read_text(encoding="utf-8")) | {"name": name}
        for path, value in fields.items():
            *before, last = path.split("__")
            place = content
            for part in before:
                place = place.setdefault(part, {})
            place[last] = value
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    return write


@pytest.fixture
def build(code, write_map):
    """Return a function that builds the DAG of a map like the valley's with other fields."""

    def built(**fields):
        write_map("mine", **fields)
        found = code.factory.build()
        assert found.problems == ()
        return next(dag for dag in found.dags if dag.dag_id == "landcover_mine")

    return built


@pytest.fixture
def valley(code):
    """Return the valley's DAG."""
    return next(dag for dag in code.factory.build().dags if dag.dag_id == "landcover_romania_valley")
