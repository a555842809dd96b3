"""What docs/command-line.md shows is what the commands print; ``HEADNODE_UPDATE=1`` writes it anew."""

import os
import re
import subprocess
import sys
from pathlib import Path

from typer.main import get_command

from headnode.cli import app

TEXT = Path(__file__).parents[2] / "docs" / "command-line.md"
CONSOLE = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)


def shown(typed, folder):
    """Return the commands with what they print, standard error among it, all in one folder."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder), "COLUMNS": "80",
        "LANG": "C.UTF-8",
    }  # fmt: skip
    result = ""
    for command in typed:
        done = subprocess.run(
            ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
            env=environment, check=False, timeout=60,
        )  # fmt: skip
        result += f"$ {command}\n{done.stdout}"
    return result


def test_the_text_shows_what_is_printed(tmp_path):
    """Word by word, in the order of the text."""
    text = TEXT.read_text()
    anew = CONSOLE.sub(lambda block: shown(re.findall(r"^\$ (.*)", block[0], re.MULTILINE), tmp_path), text)
    if os.environ.get("HEADNODE_UPDATE"):
        TEXT.write_text(anew)
    assert anew == TEXT.read_text(), "HEADNODE_UPDATE=1 writes it anew"
    assert "Traceback" not in anew


def test_each_command_and_option_has_its_place():
    """What is new is not left out; options that sbatch has are told of together."""
    text = TEXT.read_text()
    commands = get_command(app).commands
    modules = commands["modules"].commands.values()
    options = {name for command in modules for each in command.params for name in each.opts if name.startswith("--")}
    assert all(f"`headnode {name}" in text for name in commands)
    assert all(f"`{option}" in text for option in (options | SCRIPT) - {"--help"})


SCRIPT = {"--sbatch", "--launch", "--environment", "--output", "--force", "--json"}
