"""Memory is bounded by the block, however wide the tile is."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
JOBS = Path(__file__).parents[3] / "dags" / "landcover" / "jobs"
# Two tiles in one process of its own, for a process remembers its greatest memory: of 2 blocks and of 40 blocks. Three
# dates a month, made up as they are read; rows of 128 pixels.
PREPARE = """
import resource, sys
from pathlib import Path
import numpy as np
from conftest import small_map
from landcover_jobs.grid.frame import Frame
from landcover_jobs.preparation.tile import TileYear, prepare_tile
from landcover_jobs.scenes.inventory import Scene

def read(scenes, bands, frame):
    values = np.full((len(scenes), len(bands), *frame.shape), 4, dtype=np.uint16)
    values += np.arange(frame.width, dtype=np.uint16) % 2
    return values

scenes = tuple(
    Scene(f"{month}-{day}", f"2018-{month:02}-{day:02}", (-180, -90, 180, 90), {}, {})
    for month in range(1, 13) for day in (3, 13, 23)
)
for blocks in (2, 40):
    frame = Frame("EPSG:3035", 5_000_000.0, 2_600_000.0, 20.0, 128, 128 * blocks)
    work = TileYear(f"of{blocks}", frame, 2018, scenes, f"key{blocks}")
    prepare_tile(Path(sys.argv[1]) / f"{blocks}.zarr", work, small_map(composites={"block_pixels": 128}), read)
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
"""


def test_a_wide_tile_takes_no_more_memory_than_a_narrow_one(tmp_path):
    """40 blocks would be 190 MB as composites in float32 and as they are stored; they take less than 40 MB more."""
    environment = {"PYTHONPATH": f"{JOBS}:{HERE}", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PREPARE, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    narrow, wide = (int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("peak"))
    assert 40 * 128 * 128 * 12 * (2 * 6 + 1) > 100e6
    assert wide - narrow < 40e6
