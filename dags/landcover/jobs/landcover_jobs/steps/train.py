"""Train all kinds of models on the same folds, export them, and let the better one draw the map.

Run by torchrun, all processes train each transformer together and share out the trees; run alone, one does it all. A
job that is warned of its end (USR1) saves and ends with 75; submitted again it goes on, and the models are those of a
job that was never stopped.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from landcover_jobs.grid.tiles import read_tiles
from landcover_jobs.invocation import invoked
from landcover_jobs.job import run, say, write_json
from landcover_jobs.learning.ensemble import judge_members, report_metrics, train_members
from landcover_jobs.learning.model_set import RECORD
from landcover_jobs.learning.plan import TRANSFORMER, Plan, plan_of
from landcover_jobs.learning.settings import chosen_settings, keep_settings
from landcover_jobs.learning.training import Interrupted
from landcover_jobs.learning.workers import Workers, joined, threads
from landcover_jobs.preparation.year import frozen_normalisation
from landcover_jobs.records import already_made, record_made
from landcover_jobs.samples.novelty import note_search

GO_ON = 75
SHOWN = ("better", "kinds", "scores", "parity", "processes")


def warned_of_the_end() -> Callable[[], bool]:
    """Return what tells whether USR1 has come since now."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    signal.signal(signal.SIGUSR1, note)
    return lambda: bool(came)


def main() -> dict[str, Any] | None:
    """Train, unless models of the very same inputs are there; the first process reports."""
    warned = warned_of_the_end()
    invocation = invoked("train")
    with joined() as workers:
        settings = chosen_settings(invocation.map, invocation.folder)
        plan = plan_of(invocation.map, invocation.folder, settings)
        made = workers.first_says(already_made(plan.target / RECORD, plan.key))
        reused = made is not None
        if workers.first and settings.origin == "search":
            keep_settings(plan.folder, settings, plan.samples_key)
            note_search(plan.folder, plan.samples_key)
        try:
            if made is None:
                made = _train(plan, workers, warned)
        except Interrupted as error:
            say("warned of the job's end: what is needed to go on is saved")
            raise SystemExit(GO_ON) from error
    if not workers.first:
        return None
    if reused:
        say(f"reusing the models {plan.key}: they were made from the same samples, settings and code")
    _tell(made, plan)
    write_json(plan.folder.current_models, {"key": plan.key})
    return {name: made[name] for name in SHOWN} | {"key": plan.key, "models": str(plan.target), "reused": reused}


def _train(plan: Plan, workers: Workers, warned: Callable[[], bool]) -> dict[str, Any]:
    """Train, export, judge and record."""
    train_members(plan, workers, warned)
    judgement = judge_members(plan, workers)
    content = _content(plan, workers) | judgement
    if workers.first:
        tiles, _ = read_tiles(plan.folder)
        # The training year is mapped as it was learnt from.
        frozen_normalisation(plan.folder, plan.key, plan.configuration.training_year, tiles)
        files = [file for member in plan.members for file in (plan.path(member), plan.target / f"{member.name}.onnx")]
        record_made(plan.target / RECORD, plan.key, files, content)
    workers.wait()
    return content


def _content(plan: Plan, workers: Workers) -> dict[str, Any]:
    configuration = plan.configuration
    kinds = configuration.model.kinds
    return {
        "kinds": list(kinds),
        "trials": len(plan.samples.trials),
        "folds": configuration.validation.folds,
        "classes": list(configuration.class_names),
        "features": list(configuration.features),
        "periods": configuration.composites.periods,
        "normalisation": plan.normalisation.as_dict(),
        "settings": plan.settings.as_dict() if TRANSFORMER in kinds else {},
        "settings_from": plan.settings.origin,
        "samples": plan.samples_key,
        "pixels": len(plan.samples.labels),
        "year": configuration.training_year,
        "processes": workers.count,
        "threads": threads(),
        "device": workers.device.type,
    }


def _tell(made: dict[str, Any], plan: Plan) -> None:
    for kind in made["kinds"]:
        scores, parity = made["scores"][kind], made["parity"][kind]
        of_classes, of_groups = scores["classes"], scores["groups"]
        report_metrics(
            kind=kind,
            macro_f1=of_classes["macro_f1"],
            overall_accuracy=of_classes["overall_accuracy"],
            groups_macro_f1=of_groups["macro_f1"],
            groups_overall_accuracy=of_groups["overall_accuracy"],
            onnx_parity=parity,
        )
    say(f"{made['better']} draws the map: it is better on {made['pixels']} pixels that no member of {plan.key} saw")


if __name__ == "__main__":
    run(main)
