"""The DAGs of all land-cover maps: `landcover_<name>` and `landcover_<name>_rollback` for each file of `maps/`.

A map's file that is wrong has no DAG, and leaves those of the others alone: `landcover_maps_problems.py` is where its
error is shown. Were it shown here, Airflow would take all DAGs of this file for gone.
"""

import sys
from pathlib import Path

# The checks of a configuration are the jobs' own, which need no more than pydantic and PyYAML.
for folder in (Path(__file__).parent, Path(__file__).parent / "jobs"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from airflow.sdk import get_parsing_context  # noqa: E402 - the folders above come first
from landcover_dags.factory import build  # noqa: E402 - found in the folders above

# A worker that begins a task needs its DAG alone.
for dag in build(only=get_parsing_context().dag_id).dags:
    globals()[dag.dag_id] = dag
