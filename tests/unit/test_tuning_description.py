"""A study's description: what is right, and what is refused when the DAG is parsed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.errors import JobSpecError
from headnode.tuning.description import describe_study, grid_points, parse_objective, parse_pruner, parse_sampler

GOOD = {
    "objective": "tune.py:objective",
    "trials": 24,
    "workers": 4,
    "direction": "maximize",
    "sampler": "tpe",
    "pruner": "asha",
    "seed": 1,
    "max_failures": 3,
    "lost_seconds": 60,
}


def test_a_good_one():
    """As the worker reads it."""
    assert describe_study(GOOD) == {
        "objective": "tune.py:objective",
        "trials": 24,
        "workers": 4,
        "maximize": True,
        "sampler": {"kind": "tpe"},
        "pruner": {"kind": "asha"},
        "seed": 1,
        "max_failures": 3,
        "lost_seconds": 60.0,
        "grid": [],
    }


def test_rendered_texts_are_numbers():
    """A template gives text."""
    rendered = GOOD | {"trials": "24", "workers": "4", "seed": "1", "max_failures": "3"}
    assert describe_study(rendered) == describe_study(GOOD)
    assert parse_pruner({"kind": "asha", "min_resource": "2"}) == {"kind": "asha", "min_resource": 2}


@pytest.mark.parametrize(
    ("field", "value", "part"),
    [
        ("objective", "tune.py", "'tune.py:objective' or 'package.module:objective'"),
        ("objective", "tune.py:objective()", "must name a function"),
        ("objective", "/home/me/tune.py:objective", "must be a file in the folder of code="),
        ("objective", "../tune.py:objective", "must be a file in the folder of code="),
        ("objective", None, "must name a function"),
        ("trials", 0, "a whole number from 1 to 10000"),
        ("trials", None, "say how many"),
        ("trials", "many", "no whole number"),
        ("trials", 2.5, "a whole number"),
        ("workers", -1, "a whole number from 1"),
        ("workers", 25, "25 are more than the 24 trials"),
        ("direction", "max", "must be 'maximize' or 'minimize'"),
        ("sampler", "tep", "there is no sampler 'tep'; did you mean tpe?"),
        ("sampler", "bohb", "there is no sampler 'bohb'; there are cmaes, grid, random, tpe"),
        ("sampler", {"kind": "tpe", "n_startup_trial": 5}, "did you mean n_startup_trials"),
        ("sampler", {"kind": "tpe", "seed": 5}, "give seed= to the operator"),
        ("sampler", {"kind": "random", "n": 5}, "'random' has no argument 'n'; it has none"),
        ("sampler", {"kind": "tpe", "multivariate": 1}, "must be True or False"),
        ("sampler", "grid", "a grid needs its points"),
        ("sampler", {"kind": "grid", "space": {}}, "must be a dict of a list of values"),
        ("sampler", {"kind": "grid", "space": {"lr": 0.1}}, "'lr' must be a list"),
        ("sampler", {"kind": "grid", "space": {"lr": [float("nan")]}}, "not finite"),
        ("sampler", {"kind": "grid", "space": {"lr": [1, 2]}}, "24 are more than the 2 points"),
        ("sampler", {"kind": "grid", "space": {name: list(range(10)) for name in "abcde"}}, "100000 points"),
        ("sampler", 7, "must be a name, or a dict"),
        ("pruner", "ahsa", "did you mean asha?"),
        ("pruner", {"kind": "asha", "reduction_factor": 1}, "a whole number from 2"),
        ("pruner", {"kind": "hyperband", "max_resource": "much"}, "a whole number from 1"),
        ("pruner", {"type": "asha"}, "must be a name, or a dict with its 'kind'"),
        ("seed", -1, "from 0"),
        ("max_failures", 0, "from 1"),
        ("lost_seconds", 0.1, "from 1 to 86400"),
    ],
)
def test_what_can_not_be_is_refused(field, value, part):
    """The message says what is wrong, and what there is."""
    with pytest.raises(JobSpecError) as refused:
        describe_study(GOOD | {field: value})
    assert part in str(refused.value)
    assert refused.value.field == ("trials" if "points of the grid" in part or "2 points" in part else field)


def test_a_grid_has_all_of_its_points():
    """Each once, and so many trials."""
    grid = {"kind": "grid", "space": {"lr": [0.1, 0.01], "depth": [2, 3, 4]}}
    described = describe_study(GOOD | {"sampler": grid, "trials": None})
    assert described["trials"] == 6
    assert described["sampler"] == {"kind": "grid"}
    assert described["grid"] == [{"lr": lr, "depth": depth} for lr in (0.1, 0.01) for depth in (2, 3, 4)]
    assert describe_study(GOOD | {"sampler": grid, "trials": 5})["grid"] == described["grid"][:5]
    assert grid_points({"one": [1]}) == [{"one": 1}]


def test_arguments_that_optuna_takes_as_words():
    """``auto`` is one."""
    assert parse_pruner({"kind": "asha", "min_resource": "auto"})["min_resource"] == "auto"
    assert parse_pruner(None) == {"kind": "none"}
    assert parse_sampler({"kind": "tpe", "group": True, "multivariate": True})["group"] is True


@given(st.text())
def test_no_text_is_an_objective_that_leads_elsewhere(text):
    """Either it is refused, or it is a path within the code, or a module."""
    try:
        where = parse_objective(text).partition(":")[0]
    except JobSpecError:
        return
    assert not where.startswith("/")
    assert ".." not in where.split("/")
