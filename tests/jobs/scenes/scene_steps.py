"""A map and its steps `search` and `fetch`, run within the test's process or as processes of their own."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
import yaml
from landcover_jobs.folder import MapFolder
from landcover_jobs.job import run
from landcover_jobs.records import file_sha256
from landcover_jobs.scenes.romania import frame_of
from landcover_jobs.steps import fetch, search
from scene_catalogue import BANDS, COLLECTION, MASK, cube_of, impatient, map_content, real_cube

JOBS = Path(__file__).parents[3] / "dags" / "landcover" / "jobs"
FILES = len((*BANDS, MASK))


def few_dates() -> xr.Dataset:
    """Return images of six dates of each of two years."""
    whole = cube_of(real_cube())
    picked = [*range(3), *range(-3, 0)]
    time_of = whole["time"].dt.year.values
    years = sorted(set(time_of[(time_of >= 2018) & (time_of <= 2019)]))
    return xr.concat([whole.isel(time=time_of == year).isel(time=picked) for year in years], "time")


class Steps:
    """A map, and its steps as processes."""

    def __init__(self, folder: Path, content: dict, **env: str) -> None:
        self.data, self.map, self.env = folder / "data", folder / "map.yaml", env
        self.folder = MapFolder(self.data / content["name"])
        self.write(content)

    def write(self, content: dict) -> None:
        """Change the map."""
        self.content = content
        self.map.write_text(yaml.safe_dump(content))

    def start(self, step: str, *words: str, year: int = 2018) -> subprocess.Popen[str]:
        """Begin a step as a process of its own, as a job does."""
        command = [sys.executable, "-m", f"landcover_jobs.steps.{step}", "--data", str(self.data), "--year", str(year)]
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "HEADNODE_"))}
        env = outside | {"LANDCOVER_MAP": json.dumps(self.content)}
        env |= {"HEADNODE_RESULT": str(self.data.parent / f"{step}.json")} | self.env
        return subprocess.Popen(
            [*command, *words], cwd=JOBS, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run_alone(self, step: str, *words: str) -> dict:
        """Run a step that succeeds as a process of its own, and return its result."""
        process = self.start(step, *words)
        self.said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, self.said
        return json.loads((self.data.parent / f"{step}.json").read_text())

    def run(self, step: str, *words: str, year: int = 2018) -> dict:
        """Run a step that succeeds, in this process, and return its result."""
        self.said = self._within(step, "--data", str(self.data), "--map", str(self.map), "--year", str(year), *words)
        result = next(line for line in reversed(self.said.splitlines()) if "] result {" in line)
        return json.loads(result.partition("result ")[2])

    def fail(self, step: str, *words: str, year: int = 2018) -> str:
        """Run a step that fails, in this process, and return its last line."""
        with pytest.raises(SystemExit) as caught:
            self._within(step, "--data", str(self.data), "--map", str(self.map), "--year", str(year), *words)
        assert caught.value.code == 1
        return self.said.strip().splitlines()[-1]

    def _within(self, step: str, *words: str) -> str:
        said = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
            patch.setattr(sys, "argv", [step, *words])
            try:
                run({"search": search.main, "fetch": fetch.main}[step])
            finally:
                self.said = said.getvalue()
        return self.said

    def hashes(self) -> dict[str, str]:
        """Return the hash of each file of scenes."""
        files = sorted(self.folder.scenes.rglob("*.tif"))
        return {path.relative_to(self.folder.scenes).as_posix(): file_sha256(path) for path in files}


def stac_map(server, cube, **source) -> dict:
    """Return a map of the served catalogue."""
    settings = {"kind": "stac", "url": f"{server.url}/catalog.json", "collection": COLLECTION}
    return map_content(settings | {"transfer": impatient()} | source, frame_of(cube))


def originals(server) -> dict[str, str]:
    """Return the hash of each served file of 2018 and 2019."""
    root = server.folder / COLLECTION
    return {path.relative_to(root).as_posix(): file_sha256(path) for path in sorted(root.rglob("*.tif"))}
