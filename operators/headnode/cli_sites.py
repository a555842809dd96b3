"""``headnode sites``: the systems of the catalogue, and all that is known of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from headnode.cli_catalogue import catalogue
from headnode.cli_completion import complete_system
from headnode.cli_output import AsJson, examples, note, one_line_errors, print_json
from headnode.errors import JobSpecError
from headnode.slurm.visible import visible

if TYPE_CHECKING:
    from headnode.sites.catalogue import Catalogue
    from headnode.sites.summary import FactBlock
    from headnode.sites.system import System

app = typer.Typer(help="The supercomputers that headnode knows, each fact with its source.")

_NOT_ALL_READ = 1
# Columns of a terminal from which on there is room for the titles beside the names.
_WIDE = 110
_UNKNOWN = Text("unknown", "yellow")

SitesFolder = Annotated[
    str | None,
    typer.Option(
        "--sites-folder",
        help="Folders with files of your own systems, with colons or commas between them; in place of [headnode] "
        "sites_folder of Airflow's configuration.",
    ),
]


@app.callback(
    invoke_without_command=True,
    epilog=examples("headnode sites", "headnode sites show lumi", "headnode sites --sites-folder ~/sites"),
)
def sites(context: typer.Context, *, sites_folder: SitesFolder = None, as_json: AsJson = False) -> None:
    """List the systems of the catalogue: their partitions with GPUs, software with known modules, and what is unknown.

    Ends with 1 where a file of your own can't be read; the others are listed.
    """
    if context.invoked_subcommand is not None:
        context.obj = sites_folder
        return
    with one_line_errors():
        known = _catalogue(sites_folder)
        systems, unreadable = _read(known)
    rows = [_summary(system, known) for system in systems]
    if as_json:
        print_json({"systems": rows, "unreadable": unreadable})
    else:
        _print_list(rows)
        for problem in unreadable:
            note(problem)
    raise typer.Exit(_NOT_ALL_READ if unreadable else 0)


@app.command(epilog=examples("headnode sites show juwels-booster", "headnode sites show lumi --json"))
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The system's name or alias.", autocompletion=complete_system)],
    *,
    sites_folder: SitesFolder = None,
    as_json: AsJson = False,
) -> None:
    """Print all that is known of a system, each fact with its source and date; what is unknown is said to be."""
    with one_line_errors():
        known = _catalogue(sites_folder if sites_folder is not None else context.obj)
        system = known.system(name)
    if as_json:
        from headnode.sites.summary import as_json as system_as_json  # noqa: PLC0415 - as in _catalogue

        print_json({"file": str(known.path(system.name)), **system_as_json(system)})
        return
    _print_system(system, str(known.path(system.name)))


def _catalogue(folders: str | None) -> Catalogue:
    if folders is None:
        return catalogue()
    from headnode.sites.catalogue import Catalogue, split_folders  # noqa: PLC0415 - pydantic: --help must not wait

    return Catalogue(split_folders(folders))


def _read(known: Catalogue) -> tuple[list[System], list[str]]:
    systems, unreadable = [], []
    for name in known.names():
        try:
            systems.append(known.system(name))
        except JobSpecError as error:
            unreadable.append(error.problem)
    return systems, unreadable


def _summary(system: System, known: Catalogue) -> dict[str, Any]:
    from headnode.sites.summary import gaps_of, gpus_of  # noqa: PLC0415 - as in _catalogue

    return {
        "name": system.name,
        "title": system.title,
        "operator": system.operator,
        "aliases": list(system.aliases),
        "partitions": list(system.partitions),
        "gpus": gpus_of(system),
        "software": sorted(system.software),
        "unknown": gaps_of(system),
        "file": str(known.path(system.name)),
    }


def _print_list(rows: list[dict[str, Any]]) -> None:
    console = Console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    titled = console.width >= _WIDE
    for heading in (*(["system"] if titled else []), "partitions", "GPUs of a node", "modules for", "unknown"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        partitions, software = len(row["partitions"]), row["software"]
        table.add_row(
            Text(row["name"], "bold"),
            *([Text(visible(row["title"]))] if titled else []),
            Text(str(partitions)) if partitions else _UNKNOWN,
            Text(visible(row["gpus"])) if row["gpus"] else _UNKNOWN,
            Text(", ".join(software)) if software else _UNKNOWN,
            Text(", ".join(row["unknown"]), "yellow"),
        )
    console.print(table)


def _print_system(system: System, file: str) -> None:
    from headnode.sites.summary import blocks_of  # noqa: PLC0415 - as in _catalogue

    console = Console()
    console.print(Text(visible(system.title), "bold"))
    general = Table(box=None, show_header=False, pad_edge=False)
    for heading, value in (
        ("name", ", ".join([system.name, *system.aliases])),
        ("operator", system.operator),
        ("documentation", system.documentation),
        ("file", file),
        ("modules by", system.module_system),
        ("without partition", system.default_partition),
        ("the same, with GPUs", system.gpu_partition),
    ):
        general.add_row(heading, Text(visible(value)) if value else _UNKNOWN)
    console.print(general)
    for block in blocks_of(system):
        _print_block(console, block)
    for each in system.notes:
        text = Text(f"- {visible(each.text)} ")
        console.print(text.append(", ".join(each.source), "cyan"))
    sources = Table(box=None, show_header=False, pad_edge=False, title="sources", title_justify="left")
    for name, source in system.sources.items():
        text = Text(visible(source.what))
        text.append(f" {source.url}" if source.url else "")
        sources.add_row(Text(visible(name), "cyan"), text, source.when, source.kind)
    console.print()
    console.print(sources)


def _print_block(console: Console, block: FactBlock) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for fact in block.facts:
        if fact.value is not None:
            source = Text(", ".join(fact.sources), "cyan") if fact.sources else Text("no source", "yellow")
            table.add_row(f"  {fact.name}", Text(visible(fact.value)), source)
    if block.unknown:
        table.add_row("  unknown", Text(", ".join(block.unknown), "yellow"), "")
    if block.note:
        table.add_row("  note", Text(visible(block.note)), "")
    console.print()
    console.print(Text(visible(block.place), "bold"))
    console.print(table)
