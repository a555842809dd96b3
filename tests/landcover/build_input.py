"""Write a STAC catalogue of invented images that can be learnt from, and an old map; print the map's configuration.

Run with the jobs' Python, which has the libraries: `python build_input.py FOLDER CATALOGUE_URL`.
"""

import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "tests" / "jobs" / "scenes"), str(ROOT / "dags" / "landcover" / "jobs")]

from landcover_jobs.scenes.romania import frame_of  # noqa: E402 - found in the folders above
from scene_catalogue import COLLECTION, build_catalogue, invented_cube, map_content, write_raster  # noqa: E402

EDGE = 40
NAME = "interrupted"


def main() -> None:
    """Write both, and print the configuration as JSON."""
    folder, url = Path(sys.argv[1]), sys.argv[2]
    cube = invented_cube(EDGE, dates=36)
    frame = frame_of(cube)
    random = np.random.default_rng(7)
    forest = random.random((EDGE // 4, EDGE // 4)).repeat(4, axis=0).repeat(4, axis=1) < 0.5
    cube["B8A"] = cube["B8A"] * 0.5 + 2500.0 * forest
    build_catalogue(cube, folder / "stac")
    write_raster(folder / "old_map.tif", np.where(forest, 20, 10).astype(np.uint8), frame)
    content = map_content(
        {
            "kind": "stac",
            "url": f"{url}/catalog.json",
            "collection": COLLECTION,
            "transfer": {"attempts": 20, "wait_seconds": 0.5, "timeout_seconds": 5, "at_once": 2},
        },
        frame,
        name=NAME,
        years={"first": 2018, "last": 2018},
        old_map={
            "path": str(folder / "old_map.tif"),
            "year": 2018,
            "legend": [{"becomes": 1, "values": [10]}, {"becomes": 2, "values": [20]}],
        },
        samples={"selection": "all", "erosion_pixels": 0},
        model={"epochs": 12, "trees": 20, "kinds": ["transformer", "random_forest"]},
        tuning={"when": "never"},
        validation={"block_size": 160, "folds": 3, "least_overall_accuracy": 0.8},
        resources={"train": {"nodes": 2, "tasks_per_node": 1}},
    )
    content["grid"]["tile_pixels"] = EDGE // 2
    print(json.dumps(content))  # noqa: T201 - this is what the program is for


if __name__ == "__main__":
    main()
