"""A virtual environment, built on the cluster once for each content of its lock file."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from headnode.errors import JobSpecError
from headnode.sites.environments.environment import Environment, Surroundings
from headnode.sites.environments.shell_words import OneLine, Operand, shell_word

BUILDER_NAME: Final = "build_venv.sh"
MAX_LOCK_BYTES: Final = 512 * 1024
#: Where the environments of a connection's work directory are, seen from a job's own directory in it.
FOLDER_FROM_JOB: Final = "${HEADNODE_DIRECTORY%/*/*/*/*}/environments"

RESTORE_PYTHON_PATH: Final = 'export PYTHONPATH="$headnode_python_path"'
_DIGITS: Final = 16
# pip reads these as other files or folders, which do not travel.
_ELSEWHERE: Final = re.compile(r"(?:-r|-c|-e|--requirement|--constraint|--editable)(?:[=\s]|$)|\.{0,2}/|\.$|file:")
_PASSWORD: Final = re.compile(r"://[^/\s@]*:[^/\s@]*@")
_FORMS: Final = {
    "uv.lock": "uv export --format requirements-txt",
    "poetry.lock": "poetry export",
    "Pipfile.lock": "pipenv requirements",
    "pdm.lock": "pdm export",
    "pixi.lock": "pixi list",
}


class VirtualEnv(Environment):
    """A virtual environment with what a lock file says, built on the cluster where it is not there yet.

    It is built by ``uv`` where that is in PATH, else by ``python -m venv`` and ``pip``, from the package index or from
    a wheelhouse. Jobs with the same lock file, ``python``, ``system_site_packages`` and what was entered before it
    (``Modules(...) + VirtualEnv(...)``) share one.

    :param requirements: the lock file, in the form of pip's requirements files; relative paths are beside the DAG file
    :param python: the interpreter that it is made of, on the cluster
    :param wheelhouse: a local folder of wheels (``headnode wheelhouse`` makes one), which is put on the cluster once
        and installed from; for sites without internet
    :param system_site_packages: show the packages of modules and of the site's Python inside, behind its own
    :param folder: where it is built, on the cluster, may hold variables (``$PROJECT/environments``); in the
        connection's work directory by default
    :param lock: and ``wheels``: what ``resolved`` has read; not given by hand
    """

    kind: Literal["virtualenv"] = "virtualenv"

    requirements: OneLine
    python: Operand = "python3"
    wheelhouse: OneLine | None = None
    system_site_packages: bool = False
    folder: Operand | None = None
    lock: str | None = None
    wheels: Annotated[str, Field(pattern=r"^wheels-[0-9a-f]{16}$")] | None = None

    def __init__(self, requirements: str | None = None, **fields: Any) -> None:
        super().__init__(**({"requirements": requirements} if requirements is not None else {}), **fields)

    def resolved(self, base: Path | None, *, on_worker: bool = True) -> VirtualEnv:
        """Return it with the lock file's text and the wheelhouse's digest in it."""
        if self.lock is not None:
            return self
        lock = _read_lock(_local(self.requirements, base))
        if self.wheelhouse is None or not on_worker:
            return self.model_copy(update={"lock": lock})
        wheelhouse = _local(self.wheelhouse, base)
        wheels = f"wheels-{_digest(_wheels_in(wheelhouse))}"
        return self.model_copy(update={"lock": lock, "wheelhouse": str(wheelhouse), "wheels": wheels})

    def wheelhouses(self) -> dict[str, str]:
        """Return its wheelhouse."""
        return {self.wheels: self.wheelhouse} if self.wheels is not None and self.wheelhouse is not None else {}

    def files(self) -> dict[str, bytes]:
        """Return the lock file and the script that builds."""
        return {BUILDER_NAME: _builder(), self._lock_name: self._lock.encode()}

    def lines(self, surroundings: Surroundings) -> list[str]:
        """Return the line that builds it where it is not there, and those that enter it."""
        folder = shell_word(self.folder) if self.folder is not None else f'"{FOLDER_FROM_JOB}"'
        words = [
            f'bash "$HEADNODE_DIRECTORY/{BUILDER_NAME}" "$HEADNODE_DIRECTORY/{self._lock_name}"',
            f"{folder}/{self.name(surroundings)}",
            *self._builder_options(surroundings),
        ]
        return [
            f'headnode_venv="$({" ".join(words)})" || exit 1',
            'export VIRTUAL_ENV="$headnode_venv" PATH="$headnode_venv/bin:$PATH" PYTHONNOUSERSITE=1',
            "unset PYTHONHOME",
            *self._python_path(surroundings),
        ]

    def key(self, surroundings: Surroundings) -> list[str]:
        """Return its name."""
        return [self.name(surroundings)]

    def name(self, surroundings: Surroundings) -> str:
        """Return the name of its folder, which stands for all that it is made of."""
        content = [
            1,  # to be counted up where the builder makes something else of the same content
            surroundings.system.name if surroundings.system is not None else None,
            surroundings.entered,
            self.python,
            self.system_site_packages,
            _without_comments(self._lock),
        ]
        return f"venv-{_digest(json.dumps(content))}"

    def _builder_options(self, surroundings: Surroundings) -> list[str]:
        words = [shell_word(self.python)]
        if self.system_site_packages:
            words.append("--system-site-packages")
        if self.wheels is not None:
            words.append(f'--wheels "{FOLDER_FROM_JOB}"/{self.wheels}')
        system = surroundings.system
        if system is not None and self.wheels is None:
            if system.internet.proxy is not None:
                words.append(f"--proxy {shlex.quote(system.internet.proxy)}")
            if (source := _offline(surroundings)) is not None:
                words.append(f"--offline {shlex.quote(source)}")
        return words

    def _python_path(self, surroundings: Surroundings) -> list[str]:
        if self.system_site_packages:
            # The modules of some sites name their packages in PYTHONPATH, which comes before those of any environment.
            return [
                'for headnode_packages in "$headnode_venv"/lib/python3*/site-packages; do',
                '  export PYTHONPATH="${HEADNODE_CODE:+$HEADNODE_CODE:}$headnode_packages${PYTHONPATH:+:$PYTHONPATH}"',
                "done",
            ]
        return [RESTORE_PYTHON_PATH] if surroundings.entered else []

    @property
    def _lock(self) -> str:
        if self.lock is None:
            raise JobSpecError("environment", f"VirtualEnv: the lock file {self.requirements!r} was not read")
        return self.lock

    @property
    def _lock_name(self) -> str:
        return f"requirements-{_digest(self._lock)}.lock"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


@cache
def _builder() -> bytes:
    return package_files(__package__).joinpath(BUILDER_NAME).read_bytes()


def _offline(surroundings: Surroundings) -> str | None:
    """Return where it is said that there is no internet, None where there is or nothing is known."""
    system = surroundings.system
    if system is None:
        return None
    partition = system.partitions.get(surroundings.partition or "")
    if surroundings.on_login_host:
        place, fact, internet = "internet", "login", system.internet.login
    elif partition is not None and partition.internet is not None:
        place, fact, internet = f"partitions.{surroundings.partition}", "internet", partition.internet
    else:
        place, fact, internet = "internet", "compute", system.internet.compute
    return f"{system.name}, {system.source_of(place, fact)}" if internet is False else None


def _local(path: str, base: Path | None) -> Path:
    try:
        given = Path(path).expanduser()
    except RuntimeError as error:
        raise JobSpecError("environment", f"VirtualEnv: {path!r}: {error}") from error
    if not given.is_absolute() and base is None:
        raise JobSpecError("environment", f"VirtualEnv: {path!r} is relative, and nothing says to what; give all of it")
    return given if base is None else base / given


def _read_lock(path: Path) -> str:
    if (instead := _FORMS.get(path.name)) or path.suffix == ".toml":
        raise JobSpecError(
            "environment",
            f"VirtualEnv: {path} is not in the form of a requirements file, which pip installs from; make one of it"
            f" with `{instead or 'uv export --format requirements-txt'}`",
        )
    try:
        if path.stat().st_size > MAX_LOCK_BYTES:
            raise JobSpecError(
                "environment",
                f"VirtualEnv: {path} is larger than {MAX_LOCK_BYTES // 1024} KiB, and travels with each job",
            )
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JobSpecError("environment", f"VirtualEnv: the lock file {path} can't be read: {error}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if problem := _problem_in(line):
            raise JobSpecError("environment", f"VirtualEnv: {path}, line {number}: {problem}")
    return text


def _problem_in(line: str) -> str | None:
    if _ELSEWHERE.match(line.strip()):
        return f"{line.strip()[:80]!r} is another file, which does not travel; lock all of it into this one"
    if _PASSWORD.search(line):
        return "holds a password, which would be in Airflow's database; pip's configuration on the cluster is its place"
    if "{{" in line or "{%" in line or "\0" in line:
        return f"{line.strip()[:80]!r} can't be part of a lock file"
    return None


def _without_comments(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _wheels_in(folder: Path) -> str:
    """Return the names and sizes of the wheels, which tell a wheelhouse well enough: it is compared when it is sent."""
    try:
        files = sorted((each.name, each.stat().st_size) for each in folder.iterdir() if each.is_file())
    except OSError as error:
        raise JobSpecError("environment", f"VirtualEnv: the wheelhouse {folder} can't be read: {error}") from error
    if not any(name.endswith(".whl") for name, _ in files):
        raise JobSpecError(
            "environment", f"VirtualEnv: {folder} holds no wheel; `headnode wheelhouse LOCK FOLDER` fills it"
        )
    return json.dumps(files)
