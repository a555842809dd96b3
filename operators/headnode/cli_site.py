"""``headnode site``: what a site has, measured; and whether jobs get there what its catalogue file says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from headnode.cli_catalogue import catalogue
from headnode.cli_completion import complete_partition, complete_system
from headnode.cli_output import AsJson, examples, fail, note, one_line_errors, print_json, replace_file, write_new_file
from headnode.errors import HeadnodeError, JobSpecError

if TYPE_CHECKING:
    from headnode.hooks.slurm import SlurmHook
    from headnode.sites.certification import Wanted
    from headnode.sites.system import System
    from headnode.sites.verdicts import Result

app = typer.Typer(no_args_is_help=True, help="Measure what a site has, and certify that jobs get it.")

_FAILED: Final = 1
_INTERRUPTED: Final = 130
_STYLES: Final = {"passed": "green", "failed": "bold red", "not there": "yellow", "skipped": "dim"}

ConnId = Annotated[str, typer.Argument(help="The Airflow connection, of type slurm or ssh.")]


@app.command(
    epilog=examples(
        "headnode site probe my_cluster",
        "headnode site probe my_cluster --name my-cluster --output sites/my-cluster.yaml",
        "headnode site probe my_cluster --write --force",
    )
)
def probe(
    conn_id: ConnId,
    *,
    name: Annotated[
        str | None,
        typer.Option(help="What to call the system: small letters, digits, hyphens. By default its cluster's."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write this file.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write into the last of [headnode] sites_folder.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Log in as the connection says, ask Slurm and a login shell what there is, and print a file for the catalogue.

    Nothing is changed there and no job is submitted. What can't be learned stays null, with the reason beside it:
    complete the file by hand. The file is named after the system: NAME.yaml.
    """
    if output is not None and write:
        fail("--output and --write are two places for one file; give one of them")
    if output is not None and output.exists() and not force:
        _refuse_to_replace(output)
    with _session(conn_id) as (hook, tell):
        from headnode.hooks.site_probe import probe_site, user_folder  # noqa: PLC0415 - takes seconds, --help must not
        from headnode.sites.measured import is_site_name  # noqa: PLC0415 - as above

        if name is not None and not is_site_name(name):
            raise JobSpecError("--name", f"{name!r} must be of small letters, digits and hyphens")
        if name is None and output is not None and is_site_name(output.stem):
            name = output.stem
        folder = user_folder() if write else None
        site = probe_site(hook, name=name, today=datetime.now(UTC).date(), on_progress=tell)
    path = output if folder is None else folder / f"{site.name}.yaml"
    if path is not None:
        _write(path, site.text.encode(), force=force)
        if path.name != f"{site.name}.yaml":
            note(f"the catalogue finds the system as {path.stem!r}, the name of the file")
    if as_json:
        print_json({"name": site.name, "path": None if path is None else str(path), "facts": site.facts})
    else:
        typer.echo(site.text if path is None else f"{path} is written; complete what is null", nl=path is not None)


def _write(path: Path, content: bytes, *, force: bool) -> None:
    with one_line_errors(f"{path}: "):
        path.parent.mkdir(parents=True, exist_ok=True)
        if force and path.exists():
            replace_file(path, content)
            return
        try:
            write_new_file(path, content)
        except FileExistsError:
            _refuse_to_replace(path)


def _refuse_to_replace(path: Path) -> NoReturn:
    fail(f"{path} is there already; --force replaces it, which takes away what was written by hand")


@app.command(
    epilog=examples(
        "headnode site check juwels-booster --conn-id juwels --account myproject",
        "headnode site check lumi --conn-id lumi --partition dev-g --only modules,torchrun,ray",
        "headnode site check my-cluster --json > certificate.json",
    )
)
def check(
    system: Annotated[str, typer.Argument(metavar="NAME", help="The system.", autocompletion=complete_system)],
    *,
    conn_id: Annotated[str, typer.Option(help="The Airflow connection, of type slurm or ssh.")] = "slurm_default",
    nodes: Annotated[int, typer.Option("--nodes", "-N", min=1, help="On how many nodes launchers say hello.")] = 2,
    partition: Annotated[
        str | None,
        typer.Option("--partition", "-p", help="By default those that suit.", autocompletion=complete_partition),
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", "-A", help="What jobs are charged to; by default the connection's.")
    ] = None,
    qos: Annotated[str | None, typer.Option("--qos", "-q", help="The quality of service.")] = None,
    gpus_per_node: Annotated[int | None, typer.Option(min=0, help="GPUs of each node; by default all.")] = None,
    only: Annotated[str, typer.Option(help="With commas: modules, launchers, or launchers by name (torchrun).")] = "",
    env: Annotated[list[str], typer.Option("--env", help="NAME=VALUE for the jobs; may be given again.")] = [],  # noqa: B006
    timeout: Annotated[int, typer.Option(min=1, help="Minutes after which jobs that wait are cancelled.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Certify a site: its modules load, and each launcher says hello from all nodes of a job.

    A small job for each is submitted, all at once; a table says which passed, failed, were skipped, and which need a
    framework that is not there. Ctrl-C cancels the jobs. They ask for whole nodes, as the launchers do.

    Ends with 0 where something passed and nothing failed, else with 1.
    """
    with _session(conn_id) as (hook, tell):
        from headnode.sites.certification import Wanted, check_only, plan  # noqa: PLC0415 - pydantic, as above

        checks = check_only([name.strip() for name in only.split(",") if name.strip()])
        variables = _variables(env)
        known = catalogue()
        site = known.system(system)
        wanted = Wanted(
            nodes=nodes,
            partition=partition,
            account=account or hook.settings.account,
            qos=qos,
            gpus_per_node=gpus_per_node,
            only=checks,
            env=variables,
        )
        trials, skipped = plan(site, known, wanted)
        from headnode.hooks.site_check import CheckInterrupted, check_site  # noqa: PLC0415 - as above
        from headnode.sites.verdicts import certifies  # noqa: PLC0415 - as above

        try:
            results = check_site(hook, trials, timeout=timedelta(minutes=timeout), on_progress=tell)
        except CheckInterrupted as interrupted:
            typer.echo(f"interrupted; {interrupted}", err=True)
            raise typer.Exit(_INTERRUPTED) from None
    results = sorted([*results, *skipped], key=lambda result: result.kind != "modules")
    ok = certifies(results)
    if as_json:
        print_json(_certificate(site, hook, wanted, results) | {"ok": ok})
    else:
        _print_results(site.name, results, ok=ok)
    raise typer.Exit(0 if ok else _FAILED)


def _variables(words: list[str]) -> dict[str, str]:
    for word in words:
        if "=" not in word:
            raise JobSpecError("--env", f"{word!r} must be NAME=VALUE")
    return dict(word.split("=", 1) for word in words)


def _certificate(site: System, hook: SlurmHook, wanted: Wanted, results: list[Result]) -> dict[str, object]:
    return {
        "site": site.name,
        "conn_id": hook.slurm_conn_id,
        "host": hook.settings.ssh.host,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "partition": wanted.partition,
        "nodes": wanted.nodes,
        "checks": [result.as_json() for result in results],
    }


def _print_results(name: str, results: list[Result], *, ok: bool) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False)
    for title in ("", "check", "job", "what was seen"):
        table.add_column(title, header_style="bold")
    for each in results:
        word = each.verdict.value
        what = f"{'modules of ' if each.kind == 'modules' else ''}{each.name}"
        table.add_row(Text(word, _STYLES[word]), Text(what), Text(each.job_id or ""), Text(each.detail))
    console.print(table)
    for each in results:
        if each.log:
            console.print(Text(f"\n{each.name}, the last lines of job {each.job_id}:", "bold"))
            console.print(Text("\n".join(f"  {line}" for line in each.log)), soft_wrap=True)
    counts = ", ".join(
        f"{sum(each.verdict.value == word for each in results)} {word}"
        for word in _STYLES
        if any(each.verdict.value == word for each in results)
    )
    end = Text("certified" if ok else "not certified", "green" if ok else "bold red")
    console.print(Text(f"\n{name}: ").append(end).append(f" ({counts or 'there was nothing to check'})"))


@contextlib.contextmanager
def _session(conn_id: str) -> Iterator[tuple[SlurmHook, Callable[[str], object]]]:
    """Give a hook and what tells progress; errors are said as ``headnode check`` says them, and end with 1."""
    # As Airflow's own commands do; without it the task SDK does not look into Airflow's database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    hook: SlurmHook | None = None
    try:
        with Console(stderr=True).status(Text("loading Airflow")) as status:
            from headnode.hooks.slurm import SlurmHook as Hook  # noqa: PLC0415 - takes seconds, --help must not

            hook = Hook(conn_id)
            yield hook, lambda doing: status.update(Text(doing))
    except JobSpecError as error:
        fail(str(error))
    except HeadnodeError as error:
        from headnode.hooks.check import explain_error  # noqa: PLC0415 - as above

        finding = explain_error(conn_id, error)
        said = [f"{finding.what}: {finding.value}", *([f"{finding.remedy}."] if finding.remedy else [])]
        typer.echo("\n".join([*said, *getattr(error, "__notes__", [])]), err=True)
        raise typer.Exit(_FAILED) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; nothing is left running on the cluster", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    finally:
        if hook is not None and "transport" in vars(hook):
            hook.transport.close()
