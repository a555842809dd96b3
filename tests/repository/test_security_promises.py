"""Each promise in SECURITY.md names the tests that show it, and these exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "SECURITY.md").read_text())


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_the_test_exists(path, name):
    """Under the very name."""
    functions = ast.walk(ast.parse((ROOT / path).read_text()))
    assert name in {each.name for each in functions if isinstance(each, ast.FunctionDef)}


def test_there_are_some():
    """The texts are found at all."""
    assert len(NAMED) > 20
