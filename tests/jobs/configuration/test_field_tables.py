"""The text about all fields says what the code does."""

import re
from pathlib import Path

from landcover_jobs.configuration.reference import tables

TEXT = Path(__file__).parents[3] / "docs" / "landcover.md"
FIELDS = re.compile(r"<!-- fields: (?P<command>.*) -->\n(?P<tables>.*)<!-- end of fields -->\n", re.DOTALL)


def test_the_text_has_the_tables_of_the_code():
    """After a change of a model, put the command's output there again."""
    found = FIELDS.search(TEXT.read_text(encoding="utf-8"))
    assert found["command"] == "python -m landcover_jobs.configuration.reference"
    assert found["tables"] == tables() + "\n"


def test_each_field_has_a_meaning():
    """No row of the tables ends in nothing."""
    rows = [line for line in tables().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert [row for row in rows if row.endswith("|  |")] == []
