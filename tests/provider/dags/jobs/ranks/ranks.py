"""Each of several processes says that it is there; the first one waits for all, and tells of them."""

import json
import os
import sys
import time
from pathlib import Path

there = Path(os.environ["HEADNODE_DIRECTORY"], "ranks" + os.environ.get("HEADNODE_ELEMENT", ""))
there.mkdir(exist_ok=True)
(there / os.environ["SLURM_PROCID"]).write_text(os.environ["SLURMD_NODENAME"])
while os.environ["SLURM_PROCID"] == "0" and len(list(there.iterdir())) < int(os.environ["SLURM_NTASKS"]):
    time.sleep(0.1)
if os.environ["SLURM_PROCID"] == "0":
    told = {
        "ranks": len(list(there.iterdir())),
        "nodes": len({each.read_text() for each in there.iterdir()}),
        "greeting": os.environ.get("GREETING"),
        "words": sys.argv[1:],
    }
    Path(os.environ["HEADNODE_RESULT"]).write_text(json.dumps(told))
