"""The DAGs in README and docs/training.md parse, as they stand there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = ("README.md", "docs/training.md")
BLOCK = re.compile(r"(?<=^```python\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)


def blocks(text):
    """Return the examples of a text that make a DAG."""
    return [block for block in BLOCK.findall((ROOT / text).read_text()) if "with DAG(" in block]


@pytest.mark.parametrize(("text", "number"), [(text, number) for text in TEXTS for number in range(len(blocks(text)))])
def test_a_dag_parses(tmp_path, text, number):
    """Beside a folder of code and a lock file, where it names them."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "requirements.lock").write_text("attrs==25.1.0\n")
    exec(compile(blocks(text)[number], tmp_path / "example.py", "exec"), {"__name__": "example"})  # noqa: S102 - ours


def test_each_text_has_one():
    """They are found at all, and the site's is among them."""
    assert all(blocks(text) for text in TEXTS)
    assert any("site=" in block for block in blocks("README.md"))


def test_programs_are_python():
    """Those that run on the cluster."""
    for text in TEXTS:
        for block in BLOCK.findall((ROOT / text).read_text()):
            ast.parse(block)
