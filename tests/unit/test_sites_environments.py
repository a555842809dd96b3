"""Environments: the lines that enter them, what they share, what is refused; pure but for the lock file's reading."""

import json
import shutil
import subprocess

import pytest

from headnode.errors import JobSpecError
from headnode.sites.environments import (
    ENVIRONMENTS,
    Apptainer,
    Commands,
    Conda,
    Environments,
    Modules,
    VirtualEnv,
    parse_environment,
)
from headnode.sites.environments.environment import Surroundings, to_json
from headnode.sites.environments.shell_words import shell_word
from headnode.sites.environments.virtual_env import BUILDER_NAME, MAX_LOCK_BYTES
from headnode.sites.system import System

SOURCE = {"what": "the guide", "date": "2026", "kind": "official"}
SYSTEM = System.model_validate(
    {
        "name": "hill",
        "title": "Hill",
        "operator": "a centre",
        "sources": {"guide": SOURCE},
        "partitions": {
            "gpu": {"gpus": 4, "gpu_vendor": "amd", "source": "guide"},
            "open": {"internet": True, "source": "guide"},
        },
        "software": {
            "pytorch": {
                "modules": ["--force purge", "use $PROJECT/modules", "load Stages/2026", "GCC Python"],
                "environment": {"NAME": "a:b", "FOLDER": "$SCRATCH/x"},
                "partitions": ["gpu"],
            }
        },
        "container": {"runtime": "singularity", "modules": ["bindings"], "binds": ["/scratch"]},
        "internet": {"compute": False, "login": True, "source": "guide"},
    }
)
ON_SITE = Surroundings(system=SYSTEM, partition="gpu", gpus=True, gpu_vendor="amd")
NOWHERE = Surroundings()
LOCK = "# made by hand\nalpha==1.0\n\nbeta==2.0  # why\n"
FIND_MODULE = [
    "if ! command -v module >/dev/null 2>&1; then",
    (
        "  echo \"headnode: $(uname -n) has no command 'module' in this shell; a script must begin with"
        " '#!/bin/bash -l'\" >&2"
    ),
    "  exit 1",
    "fi",
]


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a lock file and a wheelhouse."""
    (tmp_path / "jobs.lock").write_text(LOCK)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "alpha-1.0-py3-none-any.whl").write_bytes(b"PK")
    return tmp_path


def test_modules_of_the_catalogue():
    """In the order of the catalogue, then one's own; each word is one, and the site's variables are variables."""
    modules = Modules("pytorch", commands=["mpi4py"], purge=True)
    assert modules.lines(ON_SITE) == [
        *FIND_MODULE,
        "module purge",
        "module --force purge",
        'module use "$PROJECT/modules"',
        "module load Stages/2026 || exit 1",
        "module load GCC Python || exit 1",
        "module load mpi4py || exit 1",
        "export NAME=a:b",
        'export FOLDER="$SCRATCH/x"',
    ]
    assert Modules().lines(NOWHERE) == []


@pytest.mark.parametrize(
    ("environment", "where", "said"),
    [
        (Modules("pytorch"), NOWHERE, "needs site="),
        (Modules("ray"), ON_SITE, "the modules of hill for 'ray' are unknown (known: pytorch)"),
        (Modules("pytorch"), Surroundings(system=SYSTEM, partition="open"), "are those of the partitions gpu"),
        (VirtualEnv("x.lock"), NOWHERE, "the lock file 'x.lock' was not read"),
        (Apptainer(image="x.sif"), Surroundings(gpus=True), "give gpu_vendor='nvidia', 'amd' or 'none'"),
    ],
)
def test_what_can_not_be_entered(environment, where, said):
    """The message says what is missing."""
    with pytest.raises(JobSpecError) as raised:
        [*environment.lines(where), environment.wrapper(where)]
    assert said in str(raised.value)


def test_a_site_that_runs_containers_otherwise():
    """Its source is named, and the way past it."""
    system = SYSTEM.model_copy(
        update={"container": SYSTEM.container.model_copy(update={"runtime": "pyxis", "source": ("guide",)})}
    )
    with pytest.raises(JobSpecError, match=r"pyxis.*the guide \(2026, official\).*runtime='apptainer'"):
        Apptainer(image="x.sif").wrapper(Surroundings(system=system))
    given = Apptainer(image="x.sif", runtime="apptainer")
    assert given.wrapper(Surroundings(system=system)) == "apptainer exec --bind /scratch x.sif"


def test_a_container():
    """By the site's runtime, for its GPUs, with its paths and one's own; the job's directory is shown inside."""
    container = Apptainer(image="$PROJECT/torch 2.sif", bind=["/data:/mnt", "/my data"], options="--cleanenv")
    assert container.wrapper(ON_SITE) == (
        "singularity exec --rocm --bind /scratch --bind /data:/mnt --bind '/my data' --cleanenv"
        ' "$PROJECT/torch 2.sif"'
    )
    lines = container.lines(ON_SITE)
    assert "module load bindings || exit 1" in lines
    assert lines[-3:] == [
        'if [ -n "${HEADNODE_DIRECTORY:-}" ]; then',
        '  export SINGULARITY_BINDPATH="${HEADNODE_DIRECTORY%/*}${SINGULARITY_BINDPATH:+,$SINGULARITY_BINDPATH}"',
        "fi",
    ]
    assert Apptainer(image="x.sif").wrapper(Surroundings(gpus=True, gpu_vendor="nvidia")) == "apptainer exec --nv x.sif"
    assert Apptainer(image="x.sif", gpu_vendor="none").wrapper(ON_SITE) == "singularity exec --bind /scratch x.sif"


def test_a_conda_environment():
    """Activated by whichever there is, without anything in start-up files."""
    lines = Conda(prefix="$PROJECT/envs/torch").lines(NOWHERE)
    assert lines[1] == '  eval "$(conda shell.posix hook)" && conda activate "$PROJECT/envs/torch" || exit 1'
    assert lines[3].endswith('&& micromamba activate "$PROJECT/envs/torch" || exit 1')
    assert lines[-2:] == ["  exit 1", "fi"]
    assert "conda activate 'my env'" in Conda(name="my env").lines(NOWHERE)[1]


def test_a_virtual_environment(folder):
    """One line builds it or finds it; its Python comes first, and PYTHONPATH is the job's own again."""
    environment = (Commands("export A=1") + VirtualEnv("jobs.lock", python="python3.11")).resolved(folder)
    (lock,) = (name for name in environment.files() if name != BUILDER_NAME)
    assert environment.files()[lock] == LOCK.encode()
    name = environment.environments[1].name(Surroundings(entered=("export A=1",)))
    assert environment.lines(NOWHERE) == [
        'headnode_python_path="${PYTHONPATH:-}"',
        "export A=1",
        (
            f'headnode_venv="$(bash "$HEADNODE_DIRECTORY/build_venv.sh" "$HEADNODE_DIRECTORY/{lock}"'
            f' "${{HEADNODE_DIRECTORY%/*/*/*/*}}/environments"/{name} python3.11)" || exit 1'
        ),
        'export VIRTUAL_ENV="$headnode_venv" PATH="$headnode_venv/bin:$PATH" PYTHONNOUSERSITE=1',
        "unset PYTHONHOME",
        'export PYTHONPATH="$headnode_python_path"',
    ]


def test_what_the_builder_is_told(folder):
    """A wheelhouse by its name on the cluster; without one that there is no internet, and who says so."""
    plain = VirtualEnv("jobs.lock", folder="$PROJECT/environments", system_site_packages=True).resolved(folder)
    building = next(line for line in plain.lines(ON_SITE) if "build_venv" in line)
    assert ' "$PROJECT/environments"/venv-' in building
    assert " --system-site-packages --offline 'hill, the guide (2026, official)')\"" in building
    for where in (
        Surroundings(system=SYSTEM, partition="open"),
        Surroundings(system=SYSTEM, partition="gpu", on_login_host=True),
        NOWHERE,
    ):
        assert "--offline" not in "".join(plain.lines(where))
    with_wheels = VirtualEnv("jobs.lock", wheelhouse="wheels").resolved(folder)
    assert with_wheels.wheelhouse == str(folder / "wheels")
    building = with_wheels.lines(ON_SITE)[0]
    assert f'--wheels "${{HEADNODE_DIRECTORY%/*/*/*/*}}/environments"/{with_wheels.wheels}' in building
    assert "--offline" not in building


def test_who_shares_an_environment(folder):
    """What it is made of decides; comments, the wheelhouse and where the lock file is do not."""

    def name(environment, where=NOWHERE):
        (line,) = (line for line in environment.resolved(folder).lines(where) if "build_venv" in line)
        return line.partition("/venv-")[2][:16]

    plain = name(VirtualEnv("jobs.lock"))
    (folder / "other.lock").write_text("alpha==1.0\nbeta==2.0  # why")
    (folder / "newer.lock").write_text("alpha==1.1\nbeta==2.0  # why")
    assert name(VirtualEnv(str(folder / "other.lock"), wheelhouse="wheels")) == plain
    others = [
        name(VirtualEnv("newer.lock")),
        name(VirtualEnv("jobs.lock", python="python3.12")),
        name(VirtualEnv("jobs.lock", system_site_packages=True)),
        name(VirtualEnv("jobs.lock"), ON_SITE),
        name(Modules(commands=["GCC"]) + VirtualEnv("jobs.lock")),
        name(Modules(commands=["GCC/13"]) + VirtualEnv("jobs.lock")),
        name(Modules("pytorch") + VirtualEnv("jobs.lock"), ON_SITE),
    ]
    assert len({plain, *others}) == len(others) + 1


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.lock", "x==1\n-r b.lock\n", "line 2: '-r b.lock' is another file"),
        ("a.lock", "-e .\n", "line 1"),
        ("a.lock", "./folder\n", "line 1"),
        ("a.lock", "--index-url https://me:secret@host/simple\n", "line 1: holds a password"),
        ("a.lock", "x=={{ version }}\n", "line 1"),
        ("a.lock", "x\n" * (MAX_LOCK_BYTES // 2 + 1), "larger than 512 KiB"),
        ("uv.lock", "", "uv export --format requirements-txt"),
        ("pylock.toml", "", "uv export --format requirements-txt"),
        ("poetry.lock", "", "poetry export"),
    ],
)
def test_lock_files_that_can_not_travel(tmp_path, name, text, said):
    """The message names the line; a password is not in it."""
    (tmp_path / name).write_text(text)
    with pytest.raises(JobSpecError) as raised:
        VirtualEnv(name).resolved(tmp_path)
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)


def test_files_that_are_not_there(tmp_path):
    """Neither a lock file, nor a wheelhouse, nor wheels in it, nor a folder that the path is relative to."""
    with pytest.raises(JobSpecError, match=r"the lock file .*/no\.lock can't be read: .*No such file"):
        VirtualEnv("no.lock").resolved(tmp_path)
    with pytest.raises(JobSpecError, match="is relative, and nothing says to what"):
        VirtualEnv("no.lock").resolved(None)
    (tmp_path / "a.lock").write_bytes(b"\xff")
    with pytest.raises(JobSpecError, match="can't be read"):
        VirtualEnv("a.lock").resolved(tmp_path)
    (tmp_path / "a.lock").write_text("x==1\n")
    with pytest.raises(JobSpecError, match=r"the wheelhouse .*/wheels can't be read"):
        VirtualEnv("a.lock", wheelhouse="wheels").resolved(tmp_path)
    with pytest.raises(JobSpecError, match=r"holds no wheel; `headnode wheelhouse"):
        VirtualEnv("a.lock", wheelhouse=".").resolved(tmp_path)


EXAMPLES = [
    Modules("pytorch", commands=["load A"], purge=True),
    VirtualEnv("jobs.lock", wheelhouse="wheels", system_site_packages=True),
    Apptainer(image="x.sif", bind="/data"),
    Conda(name="x"),
    Commands("a\nb", "c"),
    Modules("pytorch") + VirtualEnv("jobs.lock") + Commands("x"),
]


def test_every_kind_has_an_example():
    """So that none is forgotten below."""
    assert {each.kind for each in EXAMPLES} == set(ENVIRONMENTS)


@pytest.mark.parametrize("environment", EXAMPLES, ids=lambda each: each.kind)
def test_environments_go_through_json(environment, folder):
    """As Airflow stores them, also with the content of their files."""
    for each in (environment, environment.resolved(folder)):
        assert parse_environment(json.loads(json.dumps(to_json(each)))) == each


def test_composing():
    """In order, flat."""
    both = (Modules("a") + Commands("b")) + Commands("c")
    flat = Environments(environments=(Modules("a"), Commands("b"), Commands("c")))
    assert both == flat == Environments(environments=(Modules("a"), Commands("b") + Commands("c")))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("modules", "'modules' is no environment; there are Apptainer, Commands, Conda, Modules, VirtualEnv"),
        ({"kind": "modules", "commands": ["load A; rm -rf /"]}, "commands.0: String should match pattern"),
        ({"kind": "modules", "commands": ["load `id`"]}, "commands.0: String should match pattern"),
        ({"kind": "modules", "comands": []}, "comands: Extra inputs are not permitted"),
        ({"kind": "virtualenv"}, "requirements: Field required"),
        ({"kind": "virtualenv", "requirements": "a\nb"}, "requirements: 'a\\nb' is empty, too long"),
        ({"kind": "virtualenv", "requirements": "a", "wheels": "x; id"}, "wheels: String should match pattern"),
        ({"kind": "conda"}, "give exactly one of name= and prefix="),
        ({"kind": "conda", "name": "x", "prefix": "/x"}, "give exactly one of name= and prefix="),
        ({"kind": "apptainer", "image": "--help"}, "image: '--help' begins with a dash"),
        (
            {"kind": "environments", "environments": [to_json(VirtualEnv("a")), to_json(Apptainer(image="x"))]},
            "can't be seen in an Apptainer's container",
        ),
        (
            {"kind": "environments", "environments": [to_json(VirtualEnv("a")), to_json(VirtualEnv("b"))]},
            "VirtualEnv is given twice",
        ),
    ],
)
def test_what_is_no_environment(value, said):
    """The message names the value."""
    with pytest.raises(JobSpecError) as raised:
        parse_environment(value)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("/a/b-1.2:ro", "/a/b-1.2:ro"),
        ("$PROJECT/x", '"$PROJECT/x"'),
        ("${A}b c", '"${A}b c"'),
        ("~/x", '"$HOME/x"'),
        ("a b", "'a b'"),
        ("$(id)", "'$(id)'"),
        ("$A`id`", "'$A`id`'"),
        ('$A"b', "'$A\"b'"),
        ("$1", "'$1'"),
        ("~root/x", "'~root/x'"),
    ],
)
def test_words(value, word):
    """Variables of the site stay variables; what a shell would do beyond that is literal."""
    assert shell_word(value) == word


def test_shellcheck(folder):
    """Neither the builder nor what enters each environment gives it anything to say."""
    assert shutil.which("shellcheck"), "shellcheck is missing; `make test` installs it"
    entering = {
        each.kind: "\n".join(each.resolved(folder).lines(ON_SITE)) for each in EXAMPLES if each.kind != "commands"
    }
    for kind, text in {
        **entering,
        "builder": VirtualEnv("jobs.lock").resolved(folder).files()[BUILDER_NAME].decode(),
    }.items():
        done = subprocess.run(
            ["shellcheck", "--shell=bash", "--exclude=SC2154", "-"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (kind, done.stdout) == (kind, "")
