"""Where the settings of each fold's transformer come from."""

import json

import pytest
from landcover_jobs.job import StepError
from landcover_jobs.learning.settings import chosen_settings, keep_settings

FOUND = {str(fold): {"width": 32, "learning_rate": 0.001 * (fold + 1)} for fold in range(3)}


def test_without_a_search_the_map_decides(ground, monkeypatch):
    """For every fold; an empty answer is none."""
    made = ground()
    for text in (None, "", "{}", "null"):
        monkeypatch.delenv("LANDCOVER_SETTINGS", raising=False)
        if text is not None:
            monkeypatch.setenv("LANDCOVER_SETTINGS", text)
        chosen = chosen_settings(made.configuration, made.folder)
        assert chosen.origin == "map"
        assert chosen.of_fold == (made.configuration.model.transformer,) * 3


def test_what_a_search_has_found_is_kept_for_later(ground, monkeypatch):
    """What it did not search is the map's."""
    made = ground()
    monkeypatch.setenv("LANDCOVER_SETTINGS", json.dumps(FOUND))
    found = chosen_settings(made.configuration, made.folder)
    assert found.origin == "search"
    assert [each.learning_rate for each in found.of_fold] == [0.001, 0.002, 0.003]
    assert {(each.width, each.heads) for each in found.of_fold} == {(32, 2)}
    keep_settings(made.folder, found, "0a1b")
    monkeypatch.delenv("LANDCOVER_SETTINGS")
    kept = chosen_settings(made.configuration, made.folder)
    assert kept.origin == "kept"
    assert kept.of_fold == found.of_fold


def test_kept_settings_of_other_folds_are_left_aside(ground, monkeypatch, capsys):
    """And said to be."""
    made = ground()
    monkeypatch.setenv("LANDCOVER_SETTINGS", json.dumps(FOUND))
    keep_settings(made.folder, chosen_settings(made.configuration, made.folder), "0a1b")
    monkeypatch.delenv("LANDCOVER_SETTINGS")
    validation = made.configuration.validation.model_copy(update={"folds": 4})
    chosen = chosen_settings(made.configuration.model_copy(update={"validation": validation}), made.folder)
    assert (chosen.origin, len(chosen.of_fold)) == ("map", 4)
    assert "is of 3 folds, the map has 4 now" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "is no JSON"),
        ("[1, 2]", "must be an object"),
        (json.dumps({"0": {}, "1": {}}), "has no parameters for fold 2 of 3"),
        (json.dumps(FOUND | {"1": None}), "has no parameters for fold 1 of 3"),
        (json.dumps(FOUND | {"1": {"widht": 3}}), "fold 1: widht: Extra inputs are not permitted"),
        (json.dumps(FOUND | {"1": {"width": 30}}), "must be a multiple of twice the heads"),
    ],
)
def test_what_is_wrong_is_named(ground, monkeypatch, text, expected):
    """With the variable, the fold and the field."""
    made = ground()
    monkeypatch.setenv("LANDCOVER_SETTINGS", text)
    with pytest.raises(StepError, match=expected) as caught:
        chosen_settings(made.configuration, made.folder)
    assert "$LANDCOVER_SETTINGS" in str(caught.value)
