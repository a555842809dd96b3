"""``headnode script``: the batch script that starts a program on a system."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from headnode.cli_catalogue import catalogue
from headnode.cli_completion import complete_launched, complete_partition, complete_system
from headnode.cli_output import (
    AsJson,
    examples,
    fail,
    note,
    one_line_errors,
    print_bytes,
    print_json,
    replace_file,
    write_new_file,
)
from headnode.errors import JobSpecError
from headnode.slurm.visible import visible

if TYPE_CHECKING:
    from headnode.sites.environments.environment import Environment
    from headnode.sites.generator import Generated

_OPTIONS: Final = {"time_limit": "--time", "memory": "--mem", "sbatch_options": "--sbatch"} | {
    name: f"--{name.replace('_', '-')}"
    for name in ("account", "partition", "nodes", "qos", "gpus_per_node", "cpus_per_task", "job_name", "environment")
}
_EXAMPLES = examples(
    "headnode script juwels-booster pytorch --nodes 4 --time 02:00:00 --account myproject -- train.py --epochs 90",
    "headnode script lumi mpi4py --account project_1 --environment venv:/project/me/venv --output job.sh -- solve.py",
)


def script(
    system: Annotated[str, typer.Argument(help="The system's name.", autocompletion=complete_system)],
    software: Annotated[str, typer.Argument(help="What starts the command.", autocompletion=complete_launched)],
    command: Annotated[list[str], typer.Argument(help="After --: the program and its arguments, word by word.")],
    *,
    partition: Annotated[
        str | None,
        typer.Option("--partition", "-p", help="By default one that suits.", autocompletion=complete_partition),
    ] = None,
    nodes: Annotated[int | None, typer.Option("--nodes", "-N", help="How many nodes.", show_default="1")] = None,
    time: Annotated[str | None, typer.Option("--time", "-t", help="The time limit: 30, 02:00:00, 1-12.")] = None,
    account: Annotated[str | None, typer.Option("--account", "-A", help="What the job is charged to.")] = None,
    qos: Annotated[str | None, typer.Option("--qos", "-q", help="The quality of service.")] = None,
    gpus_per_node: Annotated[int | None, typer.Option(help="GPUs of each node; by default all, 0 for none.")] = None,
    cpus_per_task: Annotated[
        int | None, typer.Option("--cpus-per-task", "-c", help="Cores of each task; by default its share of a node's.")
    ] = None,
    memory: Annotated[str | None, typer.Option("--mem", help="Memory of each node, as 64G.")] = None,
    job_name: Annotated[str | None, typer.Option("--job-name", "-J", help="By default the software's name.")] = None,
    sbatch: Annotated[
        list[str] | None, typer.Option(metavar="NAME[=VALUE]", help="Another option of sbatch, by its long name.")
    ] = None,
    launch: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A setting of the launcher, as scheduler=bohb.")
    ] = None,
    environment: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND:VALUE",
            help="What is entered after the modules: venv:FOLDER, conda:NAME, apptainer:IMAGE, modules:COMMAND,"
            " commands:SHELL TEXT, or JSON. May be given several times.",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it into this file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the batch script that starts a command on a system, which `sbatch FILE` submits there.

    Partition, tasks, cores, GPUs, modules and the launch are those that the catalogue has for the system; where facts
    were read is said in the script, and what is unknown on standard error too. The command's words arrive as they are,
    also those with quotes, blanks and `$` in them.

    Ends with 2, and one line that says why, where it can't be right: more nodes than a job may have, a missing account.
    """
    fields = {
        "partition": partition, "nodes": nodes, "time_limit": time, "account": account, "qos": qos,
        "gpus_per_node": gpus_per_node, "cpus_per_task": cpus_per_task, "memory": memory, "job_name": job_name,
    }  # fmt: skip
    with one_line_errors():
        generated = _generate(
            system, software, command, fields=fields, sbatch=sbatch or (), launch=launch or (), kinds=environment or ()
        )
        if output is not None:
            _write(output, generated.text.encode(), force=force)
    if as_json:
        print_json(_answer(generated))
        return
    if output is None:
        print_bytes(generated.text.encode())
    for each in _remarks(generated, command):
        note(each)
    if output is not None:
        typer.echo(f"{visible(str(output))}: written; submit it there with sbatch", err=True)


def _generate(
    system: str,
    software: str,
    command: list[str],
    *,
    fields: dict[str, Any],
    sbatch: Any,
    launch: Any,
    kinds: Any,
) -> Generated:
    from headnode.sites.generator import generate_script  # noqa: PLC0415 - pydantic takes a while, --help must not

    try:
        return generate_script(
            system,
            software,
            command=command,
            catalogue=catalogue(),
            sbatch_options=dict(_pair(each, "--sbatch", needs_value=False) for each in sbatch),
            launch=dict(_pair(each, "--launch", needs_value=True) for each in launch),
            environment=_environment(kinds),
            **fields,
        )
    except JobSpecError as error:
        fail(_in_options(str(error)))


def _in_options(problem: str) -> str:
    """Return what is said to Python programs, ``give account=``, in the words of the command line."""
    from headnode.sites.launchers import LAUNCHERS  # noqa: PLC0415 - as above

    settings = {name: f"--launch {name}=" for each in LAUNCHERS.values() for name in each.model_fields}
    options = settings | _OPTIONS
    return re.sub(r"\b([a-z_]+)=(?=[\s;,.)]|$)", lambda match: options.get(match[1], match[0]), problem)


def _pair(text: str, option: str, *, needs_value: bool) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not name or (needs_value and not equals):
        fail(f"{option} {text}: give NAME{'=' if needs_value else '[='}VALUE{'' if needs_value else ']'}")
    return name.removeprefix("--"), value if equals else None


def _environment(texts: list[str]) -> Environment | None:
    from headnode.sites.environments import VirtualEnv, parse_environment  # noqa: PLC0415 - as above

    entered: Environment | None = None
    for text in texts:
        environment = parse_environment(_described(text))
        if any(isinstance(each, VirtualEnv) for each in environment.parts()):
            fail(f"--environment {text}: is built by a job that Airflow runs; venv:FOLDER enters one that is there")
        entered = environment if entered is None else entered + environment
    return entered


def _described(text: str) -> Any:
    """Return an environment's description, as ``parse_environment`` reads it, of ``KIND:VALUE`` or of JSON."""
    from headnode.sites.environments.shell_words import shell_word  # noqa: PLC0415 - as above

    if text.startswith("{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            fail(f"--environment {text}: is no JSON: {error}")
    kind, _, value = text.partition(":")
    known = {
        "venv": {"kind": "commands", "text": [f". {shell_word(f'{value}/bin/activate')} || exit 1"]},
        "conda": {"kind": "conda", "prefix" if "/" in value else "name": value},
        "apptainer": {"kind": "apptainer", "image": value},
        "modules": {"kind": "modules", "commands": [value]},
        "commands": {"kind": "commands", "text": [value]},
    }
    if kind not in known or not value.strip():
        fail(f"--environment {text}: give KIND:VALUE, where KIND is one of {', '.join(known)}")
    return known[kind]


def _write(path: Path, content: bytes, *, force: bool) -> None:
    if not os.path.lexists(path):
        write_new_file(path, content)
    elif force:
        replace_file(path, content)
    else:
        fail(f"{path}: is there already; --force replaces it")


def _remarks(generated: Generated, command: list[str]) -> list[str]:
    remarks = list(generated.notes)
    if len(command) == 1 and " " in command[0].strip():
        remarks.append(f"the command is the one word {command[0]!r}; without the quotes it would have arguments")
    return remarks


def _answer(generated: Generated) -> dict[str, Any]:
    return {
        "system": generated.system,
        "software": generated.software,
        "partition": generated.partition,
        "directives": generated.requested,
        "script": generated.text,
        "notes": generated.notes,
        "sources": generated.sources,
    }


def add_to(app: typer.Typer) -> None:
    """Add the command to the program's."""
    app.command(epilog=_EXAMPLES)(script)
