"""How many elements a job array has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.slurm.arrays import count_elements


@pytest.mark.parametrize(
    ("indexes", "count"),
    [
        ("0", 1),
        ("0-9", 10),
        ("0-999%50", 1000),
        ("1,3,5-8", 6),
        ("0-15:4", 4),
        ("[1-10%4]", 10),
        ("1,1,1-2", 2),
        ("[1,3,...", None),
        ("5-1", None),
        ("0-4:0", None),
        ("", None),
        ("a", None),
    ],
)
def test_notations(indexes, count):
    """What sbatch --array takes and squeue prints is counted; of the rest nothing is told."""
    assert count_elements(indexes) == count


@given(st.sets(st.integers(0, 10_000), min_size=1))
def test_any_list(indexes):
    """A list of single indexes has as many elements as it has members."""
    assert count_elements(",".join(map(str, indexes))) == len(indexes)
