"""Trains for four epochs, two in each submission, and reports after each; it goes on from its checkpoint."""

import json
import os
import sys
from pathlib import Path

EPOCHS = 4

checkpoint = Path(os.environ["HEADNODE_CHECKPOINT"], "epoch." + os.environ["SLURM_PROCID"])
begin = int(checkpoint.read_text()) if checkpoint.exists() else 0
for epoch in range(begin + 1, EPOCHS + 1):
    if os.environ["SLURM_PROCID"] == "0":
        print("METRICS", json.dumps({"epoch": epoch, "accuracy": [0.5, 0.9, 0.8, 0.7][epoch - 1]}), flush=True)  # noqa: T201 - what it is for
    checkpoint.write_text(str(epoch))
    if epoch == begin + 2 < EPOCHS:
        sys.exit(75)
