"""How tests read what is under test: a batch script as sbatch does, and which functions a package has."""

import importlib
import inspect
import pkgutil

#: What runs on the cluster and imports Optuna, which is there alone; its functions are tested there (tests/jobs).
ON_CLUSTER = frozenset({"headnode.tuning.on_cluster.study", "headnode.tuning.on_cluster.worker"})


def directives(script):
    """Return the lines that sbatch reads as options: up to the first that is a command (src/sbatch/opt.c)."""
    found = []
    for line in script.split("\n"):
        if line.startswith("#SBATCH"):
            found.append(line)
        elif line.strip(" \t\v\f\r") and not line.lstrip(" \t\v\f\r").startswith("#"):
            break
    return found


def functions_named(prefix, *packages):
    """Return the names of all functions of the packages that begin so, but for those of ``testing``."""
    found = set()
    for package in packages:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".testing" in module.name or module.name in ON_CLUSTER:
                continue
            members = vars(importlib.import_module(module.name)).items()
            found |= {
                name
                for name, function in members
                if inspect.isfunction(function)
                and function.__module__ == module.name
                and name.lstrip("_").startswith(prefix)
            }
    return found
