"""The command ``headnode``: assembles the parts' own commands."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from headnode.testing.cli import app as devcluster

app = typer.Typer(no_args_is_help=True, help="Run science on supercomputers from Apache Airflow.")
app.add_typer(devcluster, name="devcluster")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if not wanted:
        return
    try:
        version = importlib.metadata.version("airflow-provider-headnode")
    except importlib.metadata.PackageNotFoundError:
        version = "(not installed as a package)"
    typer.echo(f"headnode {version}")
    raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Run science on supercomputers from Apache Airflow."""
