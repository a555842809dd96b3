"""Hostile values in every field of every launcher and environment: refused by name, or words that no shell reads."""

import shutil
import subprocess

import pytest
from hostile_values import hostile_values

from headnode.errors import JobSpecError
from headnode.sites.catalogue import Catalogue
from headnode.sites.environments import ENVIRONMENTS
from headnode.sites.facade import arrange
from headnode.sites.launchers import LAUNCHERS
from headnode.sites.launchers.torchrun import Torchrun
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.script import render_script

#: What a description must have beside the field that is looked at.
NEEDED = {
    "virtualenv": {"requirements": "r.lock", "lock": "attrs==25.1.0\n"},
    "apptainer": {"image": "a.sif", "gpu_vendor": "none"},
    "conda": {"name": "x"},
    "deephyper": {"ranks_per_node": 2},
}
#: The author's own shell text; environments that are looked at one by one; and what is read from files, not given.
OWN = {("commands", "text"), ("environments", "environments"), ("virtualenv", "lock"), ("virtualenv", "wheels")}
#: Each field where it is written down; those that all launchers have are looked at with one of them.
CASES = [
    ("site", None, None),
    *(("launch", "torchrun", name) for name in Torchrun.model_fields),
    *(
        (field, kind, name)
        for field, known in (("launch", LAUNCHERS), ("environment", ENVIRONMENTS))
        for kind, model in known.items()
        for name in model.__annotations__
        if name in model.model_fields and name != "kind" and (kind, name) not in OWN
    ),
]
PROGRAMS = ("srun", "scontrol", "module", "apptainer", "conda", "python3", "ray", "uv")


def _job(field, kind, name, value):
    """Return the forms of a job in which ``value`` is given: alone, in a list, and as a name and a value of a dict."""
    job = {"job_name": "j", "command": ["train.py"], "site": "lumi", "partition": "small-g", "account": "a"}
    if field == "site":
        return [{**job, "site": value}]
    described = {"kind": kind, **NEEDED.get(kind, {})}
    if kind == "conda" and name == "prefix":
        del described["name"]
    return [{**job, field: {**described, name: form}} for form in (value, [value], {value: "x"}, {"X": value})]


def _script(job, refusals):
    """Return what a job's script has after its prologue, None where it was refused."""
    try:
        whole = render_script(parse_jobspec(arrange(job, Catalogue())))
    except JobSpecError as refusal:
        refusals.append(refusal)
        return None
    return whole.partition("' EXIT\n")[2]


def _run(scripts, tmp_path):
    """Run the scripts one after the other with programs that do nothing but start what they are given."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in PROGRAMS:
        # What follows "bash" is run as it would be on a node.
        text = '#!/bin/sh\nwhile [ $# -gt 0 ]; do [ "$1" != bash ] || exec "$@"; shift; done\n'
        (programs / name).write_text(text if name == "srun" else "#!/bin/sh\n")
        (programs / name).chmod(0o755)
    job = tmp_path / "job" / "work"
    job.mkdir(parents=True)
    whole = "".join(f"(\n{script}\n)\necho survived >> ../survived\n" for script in scripts)
    (tmp_path / "all.sh").write_text(whole, encoding="utf-8")
    subprocess.run(
        [shutil.which("bash"), tmp_path / "all.sh"],
        check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, cwd=job,
        env={"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    return (tmp_path / "job" / "survived").read_text().count("survived") if scripts else 0


@pytest.mark.parametrize(("field", "kind", "name"), CASES)
def test_a_value_is_refused_or_is_a_word(tmp_path, field, kind, name):
    """Nothing of it is run, and the script goes on after it."""
    canaries = tmp_path / "canaries"
    canaries.mkdir()
    refusals, scripts = [], []
    for value in hostile_values(str(canaries)):
        scripts += [script for job in _job(field, kind, name, value) if (script := _script(job, refusals)) is not None]
    assert refusals
    for refusal in refusals:
        assert refusal.field in (field, name)
        assert len(str(refusal)) < 2000
    assert len(scripts) < 1500
    assert _run(scripts, tmp_path) == len(scripts)
    assert list(canaries.iterdir()) == []


def test_what_is_run_would_be_seen(tmp_path):
    """By a value that is shell text on purpose."""
    job = {"job_name": "j", "command": ["x.py"], "launch": {"kind": "python"}, "setup": f"touch {tmp_path}/seen"}
    assert _run([_script(job, [])], tmp_path) == 1
    assert (tmp_path / "seen").exists()
