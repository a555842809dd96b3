"""A served catalogue of a few dates, where a file has none of its own; what else these tests share lies beside them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scene_catalogue import build_catalogue
from scene_steps import few_dates
from stac_server import served


@pytest.fixture(scope="module")
def cube():
    """Return images of a few dates."""
    return few_dates()


@pytest.fixture
def server(cube, tmp_path):
    """Serve a catalogue of these dates."""
    build_catalogue(cube, tmp_path / "root")
    with served(tmp_path / "root") as server:
        yield server
