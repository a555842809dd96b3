"""``headnode modules``: blocks of module lines in start scripts."""

from __future__ import annotations

import difflib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headnode.cli_catalogue import catalogue
from headnode.cli_completion import complete_software, complete_system
from headnode.cli_output import AsJson, examples, fail, note, one_line_errors, print_bytes, print_json, replace_file
from headnode.slurm.visible import visible

if TYPE_CHECKING:
    from headnode.sites.module_stacks import CheckedFile

app = typer.Typer(no_args_is_help=True, help="Blocks of module lines in start scripts, from the catalogue of systems.")

_OUTDATED = 1


@app.command(
    epilog=examples("headnode modules gen juwels-booster pytorch", "headnode modules gen lumi pytorch ray >> job.sh")
)
def gen(
    system: Annotated[str, typer.Argument(help="The system's name.", autocompletion=complete_system)],
    software: Annotated[
        list[str], typer.Argument(help="What is to run, one or several.", autocompletion=complete_software)
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Print the module lines that software needs at a system, between `# MODULES BEGIN` and `# MODULES END`.

    Of several, each module is loaded once; where two want different versions, this is said on standard error.
    """
    with one_line_errors():
        from headnode.sites.module_stacks import find_stacks, make_block  # noqa: PLC0415 - pydantic takes a while
        from headnode.sites.modules_block import render_modules_block  # noqa: PLC0415

        stacks = find_stacks(catalogue().system(system), software)
    block = render_modules_block(make_block(stacks))
    if as_json:
        fields = ("system", "software", "lines", "notes", "sources")
        print_json({**{name: getattr(stacks, name) for name in fields}, "block": block})
        return
    print_bytes(block.encode())
    for each in stacks.notes:
        note(each)


@app.command(
    "eval",
    epilog=examples(
        "headnode modules eval job.sh",
        "headnode modules eval job.sh --add ray --write",
        "headnode modules eval job.sh --system lumi --write",
    ),
)
def evaluate(
    file: Annotated[str, typer.Argument(help="The start script; - is standard input.")],
    *,
    write: Annotated[
        bool, typer.Option("--write", help="Write the file; of -, print it whole. Without it nothing is changed.")
    ] = False,
    add: Annotated[
        list[str] | None,
        typer.Option(help="Software that each block is to be for, too.", autocompletion=complete_software),
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Software that no block is to be for any more.")] = None,
    system: Annotated[
        str | None, typer.Option(help="The system that all blocks move to.", autocompletion=complete_system)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the blocks of module lines in a script with the catalogue, and show what would change as a diff.

    Module lines in a block are headnode's. Whatever else is in it is yours and stays, and what is outside of it stays
    to the byte. LAMEC's `#MODULES BEGIN` is read too.

    Ends with 0 where all is up to date or was written, with 1 where it is not, with 2 where the file can't be read
    or a block in it is broken.
    """
    name = "standard input" if file == "-" else file
    with one_line_errors(f"{name}: "):
        before = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        # Whatever the bytes are, they are the same again.
        checked = _checked(before.decode("utf-8", "surrogateescape"), name, add=add, remove=remove, system=system)
        after = checked.text.encode("utf-8", "surrogateescape")
        diff = diff_of(before, after, name=file)
        if write and file != "-" and not checked.up_to_date:
            replace_file(Path(file), after)
    if as_json:
        print_json(_answer(checked, file, diff=diff, written=write and not checked.up_to_date and file != "-"))
    elif write and file == "-":
        print_bytes(after)
    else:
        print_bytes(diff)
    if not as_json:
        _say(checked, name, write=write)
    raise typer.Exit(0 if checked.up_to_date or write else _OUTDATED)


def _checked(
    text: str, name: str, *, add: list[str] | None, remove: list[str] | None, system: str | None
) -> CheckedFile:
    from headnode.sites.module_stacks import check_file  # noqa: PLC0415 - pydantic takes a while
    from headnode.sites.modules_block import ModulesBlockError  # noqa: PLC0415

    try:
        return check_file(text, catalogue(), add=add or (), remove=remove or (), system=system)
    except ModulesBlockError as error:
        fail(f"{name}:{error.line}: {error.problem}")


def _say(checked: CheckedFile, name: str, *, write: bool) -> None:
    for block in checked.blocks:
        for each in block.notes:
            note(each)
    outdated = "written" if write else "out of date (--write brings it up to date)"
    state = "up to date" if checked.up_to_date else outdated
    typer.echo(f"{visible(name)}: {state}", err=True)


def _answer(checked: CheckedFile, file: str, *, diff: bytes, written: bool) -> dict[str, Any]:
    return {
        "file": file,
        "up_to_date": checked.up_to_date,
        "written": written,
        "blocks": [
            {
                "line": block.line,
                "system": block.after.system,
                "software": block.after.software,
                "up_to_date": block.up_to_date,
                "lines": [line.rstrip("\r\n") for line in block.after.lines],
                "notes": block.notes,
            }
            for block in checked.blocks
        ],
        "text": checked.text,
        "diff": diff.decode("utf-8", "surrogateescape"),
    }


def diff_of(before: bytes, after: bytes, *, name: str) -> bytes:
    """Return the difference in the unified form, which ``patch`` takes; empty where there is none."""
    old, new = (re.findall(rb"[^\n]*\n|[^\n]+", text) for text in (before, after))
    label = (name if name.isprintable() else visible(name)).encode("utf-8", "surrogateescape")
    lines = difflib.diff_bytes(difflib.unified_diff, old, new, label, label)
    return b"".join(line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n" for line in lines)
