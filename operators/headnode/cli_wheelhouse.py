"""``headnode wheelhouse``: the wheels of a lock file, for a site without internet."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess  # nosec B404
import sys
from pathlib import Path
from typing import Annotated

import typer

from headnode.cli_catalogue import catalogue
from headnode.cli_completion import complete_system
from headnode.cli_output import AsJson, examples, fail, one_line_errors, print_json
from headnode.errors import JobSpecError

_STDERR = 2  # what pip says is no answer
_EXAMPLES = examples(
    "headnode wheelhouse requirements.lock wheels --python 3.11 --site juwels-booster",
    "headnode wheelhouse requirements.lock wheels --python 3.12 --architecture aarch64 --glibc 2.34",
)


def wheelhouse(
    lock: Annotated[Path, typer.Argument(help="The lock file, in the form of pip's requirements files.")],
    folder: Annotated[Path, typer.Argument(help="Where the wheels go; those that are there are kept.")],
    *,
    python: Annotated[str, typer.Option("--python", help="The version of Python on the cluster, e.g. 3.11.")],
    site: Annotated[
        str | None,
        typer.Option("--site", help="The system, whose processor is known.", autocompletion=complete_system),
    ] = None,
    partition: Annotated[str | None, typer.Option("--partition", help="Of the system, its default one else.")] = None,
    architecture: Annotated[
        str | None, typer.Option("--architecture", help="x86_64 or aarch64, where no system is named.")
    ] = None,
    glibc: Annotated[str, typer.Option("--glibc", help="The version of the C library there (ldd --version).")] = "2.28",
    as_json: AsJson = False,
) -> None:
    """Fetch the wheels of a lock file for another machine, from pip's package index.

    VirtualEnv(requirements=LOCK, wheelhouse=FOLDER) installs from them where there is no internet. What has no wheel
    there is refused. Call it again to go on after an error.
    """
    from headnode.sites.wheels import download_options  # noqa: PLC0415 - pydantic: --help must not wait

    with one_line_errors():
        options = download_options(
            python=python, architecture=architecture or _architecture_of(site, partition), glibc=glibc
        )
        if not lock.is_file():
            raise JobSpecError("lock", f"{lock} is no file")
        folder.mkdir(parents=True, exist_ok=True)
    command = [*_pip(), "download", "--dest", str(folder), "--requirement", str(lock), *options]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    done = subprocess.run(command, stdout=_STDERR, stdin=subprocess.DEVNULL, check=False)  # nosec B603
    if done.returncode:
        fail(
            f"pip download ended with {done.returncode}; what it says is above. Of what has no wheel for that machine,"
            f" make one there (pip wheel NAME) and put it into {folder}"
        )
    wheels = sorted(each.name for each in folder.glob("*.whl"))
    megabytes = sum((folder / each).stat().st_size for each in wheels) / 1e6
    if as_json:
        print_json({"folder": str(folder.resolve()), "wheels": wheels, "megabytes": round(megabytes, 3)})
    else:
        typer.echo(f"{len(wheels)} wheels, {megabytes:.1f} MB: VirtualEnv({str(lock)!r}, wheelhouse={str(folder)!r})")


def _architecture_of(site: str | None, partition: str | None) -> str:
    if site is None:
        raise JobSpecError("architecture", "give --architecture, or --site for that of a system of the catalogue")
    from headnode.sites.facade import find_place  # noqa: PLC0415 - as above

    place = find_place(site, partition, None, catalogue())
    known = place.partition.architecture if place.partition is not None else None
    if known is None:
        where = f"partition {place.partition_name!r} of {site}" if place.partition_name else site
        raise JobSpecError("architecture", f"that of {where} is unknown; give --architecture (uname -m says it there)")
    return known


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    program = shutil.which("pip3") or shutil.which("pip")
    if program is None:
        fail("there is no pip, neither beside this Python nor in PATH; install it (python3 -m ensurepip)")
    return [program]


def add_to(app: typer.Typer) -> None:
    """Add the command to the program's."""
    app.command(epilog=_EXAMPLES)(wheelhouse)
