"""Says what is wrong with files of land-cover maps, as an import error of Airflow's; holds no DAG.

It is a file of its own since Airflow takes all DAGs of a file with an import error for gone.
"""

import sys
from pathlib import Path

for folder in (Path(__file__).parent, Path(__file__).parent / "jobs"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from landcover_dags.factory import MapsRefused, build  # noqa: E402 - found in the folders above

if problems := build().problems:
    raise MapsRefused("\n" + "\n".join(problems))
