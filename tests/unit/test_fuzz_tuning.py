"""What describes a study gets broken values: it is refused by name, or it is what it says."""

import contextlib
import json

import broken_answers as said
from hypothesis import given
from hypothesis import strategies as st

from headnode.errors import JobSpecError
from headnode.tuning.description import PRUNERS, SAMPLERS, parse_objective, parse_pruner, parse_sampler
from headnode.tuning.on_cluster.claims import parse_owner

values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.lists(st.integers())
names = st.sampled_from(sorted({*SAMPLERS, *PRUNERS, "space", "min_resource", "multivariate", "kind"}))


@given(values | st.dictionaries(names | st.text(max_size=5), values | names | st.dictionaries(names, values)))
@said.BUDGET
def test_samplers_and_pruners_are_refused_or_are_json(value):
    """And are read again as they are."""
    fields = []
    for parse, field in ((parse_sampler, "sampler"), (parse_pruner, "pruner")):
        try:
            read = parse(value)
        except JobSpecError as refusal:
            fields.append(refusal.field)
        else:
            assert parse(json.loads(json.dumps(read))) == read
            fields.append(field)
    assert fields == ["sampler", "pruner"]


@given(said.broken("folder/tune.py:objective") | said.broken("package.module:objective") | st.text(max_size=30))
@said.BUDGET
def test_objectives_are_refused_or_names(text):
    """A file and a function, or a module and a function."""
    with contextlib.suppress(JobSpecError):
        where, _, name = parse_objective(text).partition(":")
        assert name.isidentifier()
        assert where.endswith(".py") or all(part.isidentifier() for part in where.split("."))


@given(said.broken("3.1.0123456789ab.n1") | st.text(max_size=30))
@said.BUDGET
def test_owners_are_read_again_or_are_none(text):
    """Whatever a link's target or a file's name is."""
    owner = parse_owner(text)
    if owner is not None:
        assert parse_owner(owner.text) == owner
