"""The command ``headnode``: assembles the parts' own commands."""

from __future__ import annotations

import importlib.metadata
import json
import os
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from headnode.cli_modules import app as modules
from headnode.cli_script import add_to as add_script
from headnode.cli_site import app as site
from headnode.cli_sites import app as sites
from headnode.cli_wheelhouse import add_to as add_wheelhouse
from headnode.testing.cli import app as devcluster

if TYPE_CHECKING:
    from headnode.cluster.findings import Report

app = typer.Typer(no_args_is_help=True, help="Run science on supercomputers from Apache Airflow.")
app.add_typer(devcluster, name="devcluster")
app.add_typer(modules, name="modules")
app.add_typer(site, name="site")
app.add_typer(sites, name="sites")
add_script(app)
add_wheelhouse(app)

_INTERRUPTED = 130
_STYLES = {"ok": "green", "warning": "yellow", "wrong": "bold red"}


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


@app.command()
def check(
    conn_id: Annotated[str, typer.Argument(help="The Airflow connection, of type slurm or ssh.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Log in as the connection says, look at the cluster, and say what is wrong and what to do.

    The connection is read from AIRFLOW_CONN_<ID>, a secrets backend or Airflow's database, as this machine's Airflow
    is configured. Nothing is changed on the cluster but the work directory, which is made where it is missing.

    Ends with 0 where jobs can run (warnings may be there), with 1 where something is wrong.
    """
    # As Airflow's own commands do; without it the task SDK does not look into Airflow's database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    try:
        with Console(stderr=True).status(Text("loading Airflow")) as status:
            from headnode.hooks.check import check_connection  # noqa: PLC0415 - takes seconds, --help must not

            report = check_connection(conn_id, on_progress=lambda doing: status.update(Text(doing)))
    except KeyboardInterrupt:
        typer.echo("interrupted; nothing is left running on the cluster", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        _print_report(report)
    raise typer.Exit(0 if report.ok else 1)


def _print_report(report: Report) -> None:
    console = Console()
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in report.findings:
        word = finding.verdict.value
        table.add_row(Text(word, _STYLES[word]), Text(finding.what, "bold"), Text(finding.value))
    console.print(table)
    remedies = [finding for finding in report.findings if finding.remedy]
    if remedies:
        console.print("\nWhat to do:")
    for finding in remedies:
        # Not wrapped, since keys are copied from it.
        console.print(Text(f"- {finding.what}: {finding.remedy}."), soft_wrap=True)
    name = Text(f"\n{report.conn_id}: ")
    console.print(name.append("jobs can run" if report.ok else "jobs can't run", "green" if report.ok else "bold red"))
