"""The golden start scripts: which there are, and how they are made; ``python tests/texts/golden_scripts.py`` does it.

tests/golden/<system>/<software>.sh    a script for every system and program that the facts support
tests/golden/shapes/<name>.sh          launchers with their options, in containers, on CPUs
tests/golden/refused.txt               what can't be generated, with the reason
"""

import shutil
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2] / "operators"))

from headnode.errors import JobSpecError
from headnode.sites.catalogue import Catalogue
from headnode.sites.environments import parse_environment
from headnode.sites.generator import generate_script

FOLDER = Path(__file__).parents[1] / "golden"
CATALOGUE = Catalogue()
COMMAND = ["train.py", "--epochs", "3", "--note", "it's 5 $ & more"]
CONTAINER = {"kind": "apptainer", "image": "/project/images/torch.sif", "bind": ["/data"]}

#: name: (system, software, further arguments of generate_script)
SHAPES = {
    "deepspeed-task-per-gpu": ("juwels-booster", "deepspeed", {"launch": {"tasks": "gpu"}}),
    "deepspeed-task-per-gpu-where-gpus-go-by-task": ("alps-daint", "deepspeed", {"launch": {"tasks": "gpu"}}),
    "tensorflow-worker-per-gpu": ("leonardo", "tensorflow", {"launch": {"workers": "gpu"}}),
    "ray-older": ("juwels-booster", "ray", {"launch": {"symmetric": False}}),
    "ray-older-one-node": ("lumi", "ray", {"launch": {"symmetric": False}, "nodes": 1}),
    "ray-shared-nodes": (
        "leonardo", "ray",
        {"launch": {"symmetric": False, "shared_nodes": True}, "gpus_per_node": 1, "cpus_per_task": 8},
    ),
    "ray-tune-pbt": ("juwels-booster", "ray-tune", {"launch": {"scheduler": "pbt"}}),
    "optuna-eight-workers": (
        "juwels-booster", "optuna", {"launch": {"workers": 8, "study": "loss", "journal": "/p/scratch/x/loss.journal"}},
    ),
    "optuna-on-cpus": ("lumi", "optuna", {"partition": "standard", "launch": {"workers": 16}}),
    "deephyper-on-cpus": ("alps-eiger", "deephyper", {"launch": {"ranks_per_node": 16}}),
    "heat-on-cpus": ("jureca-dc", "heat", {"partition": "dc-cpu", "launch": {"ranks_per_node": 8}}),
    "mpi-program": ("deep", "mpi", {"command": ["./solver", "input.nml"]}),
    "half-a-node": ("vsc-flemish-wice", "pytorch", {"gpus_per_node": 2, "nodes": 1}),
    "text-with-redirection": ("juwels-booster", "pytorch", {"command": "train.py --epochs 3 > train.log 2>&1"}),
    "own-network": ("juwels-booster", "pytorch", {"env": {"NCCL_SOCKET_IFNAME": "ib1", "MASTER_PORT": "29500"}}),
    "pytorch-in-a-container": ("lumi", "pytorch", {"environment": CONTAINER}),
    "horovod-in-a-container": ("juwels-booster", "horovod", {"environment": CONTAINER}),
    "heat-in-a-container-with-another-mpi": ("deep", "heat", {"environment": CONTAINER, "launch": {"mpi": "pmi2"}}),
    "ray-in-a-container": ("lumi", "ray", {"environment": CONTAINER}),
    "ray-older-in-a-container": ("lumi", "ray", {"environment": CONTAINER, "launch": {"symmetric": False}}),
}  # fmt: skip


def generate(system_name, software, **given):
    """Return what is generated for a system and a program, with whatever the site wants of each job."""
    system = CATALOGUE.system(system_name)
    if isinstance(given.get("environment"), dict):
        given["environment"] = parse_environment(given["environment"])
    return generate_script(
        system_name,
        software,
        **{
            "command": COMMAND,
            "catalogue": CATALOGUE,
            "nodes": 1 if software == "python" else 2,
            "account": "my-project",
            "qos": "my-qos" if system.mandatory.qos and not given.get("partition") else None,
            "time_limit": "00:30:00",
        }
        | given,
    )


def software_of(system_name):
    """Return the programs that the catalogue knows of there, and Optuna, which needs no more than Python."""
    return sorted({*CATALOGUE.system(system_name).software, "optuna"})


def golden_scripts():
    """Return the text of each file, by its path below ``FOLDER``."""
    scripts, refused = {}, []
    for name in CATALOGUE.names():
        for software in software_of(name):
            try:
                scripts[f"{name}/{software}.sh"] = generate(name, software).text
            except JobSpecError as error:
                refused.append(f"{name} {software}: {error}\n")
    for name, (system, software, given) in SHAPES.items():
        scripts[f"shapes/{name}.sh"] = generate(system, software, **given).text
    return scripts | {"refused.txt": "".join(refused)}


def system_of(path):
    """Return the name of the system that a golden script is for."""
    folder, _, name = path.partition("/")
    return SHAPES[name.removesuffix(".sh")][0] if folder == "shapes" else folder


def write():
    """Write the files anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for path, text in golden_scripts().items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
