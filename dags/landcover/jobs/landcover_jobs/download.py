"""Fetch the real input: a package on the Python index carries the Sentinel-2 cube and the tree-cover reference."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from landcover_jobs.job import StepError, arguments, read_json, replacing, run, say, write_json
from landcover_jobs.layout import Layout

REQUIREMENT = "nrt==0.2.0"
WHEEL_SHA256 = "3e94a675e1862e9402fb45a806dc8e37994a6729fadb6b4aebc2147b6685aca0"
CUBE_MEMBER = "nrt/data/sentinel2_cube_subset_romania_20m.nc"
REFERENCE_MEMBER = "nrt/data/tree_cover_density_2018_romania.tif"
LICENCE = (
    "EUPL-1.2 (package nrt); contains modified Copernicus Sentinel data and Copernicus Land Monitoring Service data"
)
DOWNLOAD_SECONDS = 600


def sha256(path: Path) -> str:
    """Return the hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_complete(layout: Layout) -> bool:
    """Tell whether an earlier download is there, unchanged."""
    if not layout.source_record.is_file():
        return False
    files = read_json(layout.source_record, made_by="download")["files"]
    wanted = {path.name: path for path in (layout.cube, layout.reference)}
    return files.keys() == wanted.keys() and all(
        path.is_file() and sha256(path) == files[name] for name, path in wanted.items()
    )


def fetch_wheel(folder: Path) -> Path:
    """Let pip fetch the package as the machine's own configuration says."""
    # -I: the jobs' PYTHONPATH is no business of pip.
    command = [sys.executable, "-I", "-m", "pip", "download", "--no-deps", "--quiet"]
    command += ["--dest", str(folder), REQUIREMENT]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise StepError(
            f"pip could not fetch {REQUIREMENT} within {DOWNLOAD_SECONDS} s: is the index reachable?"
        ) from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")] or error.stderr.splitlines()
        raise StepError(
            f"pip could not fetch {REQUIREMENT} ({'; '.join(lines[-2:]) or 'no message'}). This step needs the package "
            f"index: run it on a node with network access, or put the wheel into pip's find-links there."
        ) from error
    return next(folder.glob("nrt-*.whl"))


def extract(wheel: Path, member: str, target: Path) -> None:
    """Copy one file out of the wheel."""
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(member) as source,
        replacing(target) as temporary,
        temporary.open("wb") as sink,
    ):
        shutil.copyfileobj(source, sink)


def main() -> dict[str, Any]:
    """Bring both files into the data folder unless they are there already."""
    layout = Layout(arguments("download").data)
    reused = is_complete(layout)
    if reused:
        say(f"reusing {layout.cube.parent}: the hashes match")
    else:
        layout.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=layout.root, prefix=".download-") as folder:
            say(f"fetching {REQUIREMENT}")
            wheel = fetch_wheel(Path(folder))
            found = sha256(wheel)
            if found != WHEEL_SHA256:
                raise StepError(
                    f"{wheel.name} has the hash {found}, expected {WHEEL_SHA256}: the index serves another file"
                )
            extract(wheel, CUBE_MEMBER, layout.cube)
            extract(wheel, REFERENCE_MEMBER, layout.reference)
        files = {path.name: sha256(path) for path in (layout.cube, layout.reference)}
        write_json(
            layout.source_record, {"from": REQUIREMENT, "wheel": WHEEL_SHA256, "files": files, "licence": LICENCE}
        )
    return {"source": str(layout.cube.parent), "from": REQUIREMENT, "reused": reused}


if __name__ == "__main__":
    run(main)
