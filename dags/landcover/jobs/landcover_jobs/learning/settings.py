"""Which settings the transformer of each fold is trained with: those of a search, kept ones, or the map's own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from landcover_jobs.configuration.learning import TransformerSettings
from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.folder import MapFolder
from landcover_jobs.job import StepError, say, write_json

VARIABLE = "LANDCOVER_SETTINGS"
NOTHING = ("", "{}", "null", "None")


@dataclass(frozen=True)
class FoldSettings:
    """The settings of each fold's transformer and where they come from."""

    of_fold: tuple[TransformerSettings, ...]
    origin: Literal["search", "kept", "map"]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, by fold."""
        return {str(fold): each.model_dump() for fold, each in enumerate(self.of_fold)}


def chosen_settings(configuration: MapConfiguration, folder: MapFolder) -> FoldSettings:
    """Return those of $LANDCOVER_SETTINGS where it has any, else the last ones kept, else the map's.

    Raises:
        StepError: a search's settings lack a fold, or are none of a transformer.
    """
    folds, base = configuration.validation.folds, configuration.model.transformer
    text = os.environ.get(VARIABLE, "").strip()
    if text not in NOTHING:
        return FoldSettings(_of_folds(_parsed(text), folds, base, f"${VARIABLE}"), "search")
    path = folder.root / "tuning" / "settings.json"
    if path.is_file():
        kept = _parsed(path.read_text(encoding="utf-8"), str(path)).get("settings", {})
        if set(kept) == {str(fold) for fold in range(folds)}:
            return FoldSettings(_of_folds(kept, folds, base, str(path)), "kept")
        say(f"{path} is of {len(kept)} folds, the map has {folds} now: its own settings are used")
    return untuned_settings(configuration)


def untuned_settings(configuration: MapConfiguration) -> FoldSettings:
    """Return the map's own for every fold."""
    return FoldSettings((configuration.model.transformer,) * configuration.validation.folds, "map")


def keep_settings(folder: MapFolder, settings: FoldSettings, samples_key: str) -> None:
    """Keep what a search has chosen, for the trainings to come."""
    content = {"settings": settings.as_dict(), "samples": samples_key}
    write_json(folder.root / "tuning" / "settings.json", content)


def _parsed(text: str, place: str = f"${VARIABLE}") -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise StepError(f"{place} is no JSON ({error}): it must be the best parameters of each fold's study") from error
    if not isinstance(content, dict):
        raise StepError(f"{place} must be an object with the best parameters of each fold's study, not {text[:60]}")
    return content


def _of_folds(
    found: Mapping[str, Any], folds: int, base: TransformerSettings, place: str
) -> tuple[TransformerSettings, ...]:
    settings = []
    for fold in range(folds):
        values = found.get(str(fold))
        if not isinstance(values, dict):
            raise StepError(
                f"{place} has no parameters for fold {fold} of {folds}: its study must have a finished trial; run the "
                "step `tune` again, or set tuning.when: never"
            )
        try:
            settings.append(TransformerSettings(**(base.model_dump() | values)))
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"]) or "settings"
            raise StepError(f"{place}: fold {fold}: {name}: {first['msg']}") from error
    return tuple(settings)
