"""Programs of each framework as jobs of the private cluster, started over its nodes by headnode's launchers."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from headnode.sites.catalogue import Catalogue
from headnode.sites.environments.commands import Commands
from headnode.sites.facade import arrange
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.standalone import render_standalone_script

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROGRAMS = HERE / "programs"
FRAMEWORKS = ROOT / ".venv-frameworks"

# These programs need what `make frameworks` installs; where it has not been run, the others run alone.
if not (FRAMEWORKS / ".installed").exists():
    collect_ignore = ["test_frameworks.py"]

# All nodes are this machine, which knows nothing of their names; two real cores bear one thread for each process.
ONE_MACHINE = {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}


def pytest_report_header():
    """Say which frameworks are not there."""
    if not (FRAMEWORKS / ".installed").exists():
        return "frameworks: PyTorch and Optuna only; `make frameworks` installs the others and tests all"
    return None


@dataclass(frozen=True)
class Run:
    """A job that has been submitted, with its own folder."""

    cluster: object
    folder: Path
    job_id: str

    @property
    def output(self):
        """What the job has written so far."""
        return "".join(path.read_text() for path in self.folder.glob("*.out"))

    def state(self):
        """Return the job's state."""
        return self.cluster.run("squeue", "-h", "--states=all", "-o", "%T", f"--jobs={self.job_id}").stdout.strip()

    def wait(self, *, seconds=360):
        """Wait until the job has ended, and return its state."""
        deadline = time.monotonic() + seconds
        while (state := self.state()) in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING"):
            assert time.monotonic() < deadline, f"the job is {state} after {seconds} s:\n{self.output}"
            time.sleep(0.2)
        return state

    def result(self):
        """Wait until the job has ended well, and return what it wrote."""
        assert self.wait() == "COMPLETED", self.output
        return json.loads((self.folder / "result.json").read_text())


@pytest.fixture
def submit(slurm_cluster, tmp_path_factory):
    """Return a function that submits a program by a launcher; what is left of its jobs is cancelled at the end."""
    runs = []

    def run(program, launch, *, python, **fields):
        folder = tmp_path_factory.mktemp(Path(program).stem)
        fields = {
            "site": "private",
            "launch": launch,
            "environment": Commands(f'export PATH="{ROOT / python}/bin:$PATH"'),
            "command": [str(PROGRAMS / program)],
            "time_limit": "00:10:00",
            "job_name": folder.name,
            **fields,
            "env": {**ONE_MACHINE, **fields.get("env", {})},
        }
        spec = parse_jobspec(arrange(fields, Catalogue([HERE / "sites"])))
        script = folder / "job.sh"
        script.write_text(render_standalone_script(spec))
        answer = slurm_cluster.run("sbatch", "--parsable", f"--chdir={folder}", str(script))
        runs.append(Run(slurm_cluster, folder, answer.stdout.strip()))
        return runs[-1]

    yield run
    slurm_cluster.run("scancel", f"--user={slurm_cluster.user}", check=False)
    for each in runs:
        each.wait()
        shutil.rmtree(f"/tmp/ray-{each.job_id}", ignore_errors=True)  # noqa: S108 - where the launcher has it
