"""The training in docs/training.md goes on where it stopped, and fits its line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = re.compile(r"(?<=^```python\n)\"\"\"dags/jobs/train\.py.*?(?=^```$)", re.DOTALL | re.MULTILINE)


def train(folder, epochs):
    """Train by two processes of torchrun; return what was reported.

    Where processes that begin can't connect to each other, which happens, torchrun starts them once more.
    """
    program = folder / "train.py"
    program.write_text(PROGRAM.search((ROOT / "docs" / "training.md").read_text())[0])
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1",
        program, "--epochs", str(epochs),
    ]  # fmt: skip
    env = {
        **os.environ, "HEADNODE_CHECKPOINT": str(folder), "HEADNODE_RESULT": str(folder / "result.json"),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(each) for each in re.findall("^METRICS (.*)$", done.stdout, re.MULTILINE)]


def test_it_goes_on_from_its_checkpoint(tmp_path):
    """With each epoch once, and a loss that falls."""
    first, second = train(tmp_path, 2), train(tmp_path, 6)
    assert [each["epoch"] for each in first + second] == [1, 2, 3, 4, 5, 6]
    assert first[0]["loss"] > first[1]["loss"] > second[0]["loss"] > second[-1]["loss"]
    assert json.loads((tmp_path / "result.json").read_text()) == {"checkpoint": str(tmp_path / "training.pt")}
