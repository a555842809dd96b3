"""Lists of modules as Lmod and Environment Modules print them, among whatever start-up files say."""

import pytest

from headnode.errors import UnreadableAnswer
from headnode.slurm.module_names import parse_modules

# Lmod 8.6.19, and what a start-up file says before.
LMOD = """\
Welcome to the cluster! GCC/1.0
headnode:modules lmod 8.6.19
/apps/modules/Core:
GCC/
GCC/12.3.0
GCC/13.2.0
OpenMPI/4.1.5
PyTorch/2.1.2-CUDA-12.1
cray-python/3.11.7
torch-extras/1.0
/apps/containers:
apptainer/1.2.5
headnode:modules:end
"""
# Environment Modules 5.2.0, with a symbolic name as newer ones write it.
TCL = """\
headnode:modules tcl 5.2.0
/usr/share/modules/modulefiles:
dot
gcc/12.2(default)
gcc/13.1
pytorch/2.1(@latest:test)
python/3.11.6-gcc-11.3.1-4y5
ERROR: Unable to locate a modulefile
headnode:modules:end
"""


def test_lmod():
    """Headings and directories are no modules; what a banner says comes before the list."""
    modules = parse_modules(LMOD)
    assert (modules.system, modules.version) == ("lmod", "8.6.19")
    assert modules.names[:2] == ("GCC/12.3.0", "GCC/13.2.0")
    assert modules.candidates() == {
        "mpi": ("OpenMPI/4.1.5",),
        "python": ("cray-python/3.11.7",),
        "pytorch": ("PyTorch/2.1.2-CUDA-12.1",),
    }
    assert modules.containers() == ("apptainer/1.2.5",)


def test_environment_modules():
    """The marks behind names are left out, and so are errors."""
    modules = parse_modules(TCL)
    assert (modules.system, modules.version) == ("tcl", "5.2.0")
    assert modules.names == ("dot", "gcc/12.2", "gcc/13.1", "pytorch/2.1", "python/3.11.6-gcc-11.3.1-4y5")


@pytest.mark.parametrize("system", ["none", "uenv"])
def test_no_modules(system):
    """A login shell without the command has none."""
    modules = parse_modules(f"headnode:modules {system}\nheadnode:modules:end\n")
    assert (modules.system, modules.names, modules.candidates()) == (system, (), {})


@pytest.mark.parametrize("text", ["", LMOD[:200], LMOD.partition("headnode:modules:end")[0], TCL[10:]])
def test_a_list_that_was_cut(text):
    """It is refused."""
    with pytest.raises(UnreadableAnswer, match="the list of modules"):
        parse_modules(text)
