"""Training the members of a set, exporting them, and what they say of pixels that they never saw."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from landcover_jobs.inference.export import export_transformer, export_trees, parity
from landcover_jobs.job import StepError, say
from landcover_jobs.learning.folds import Member
from landcover_jobs.learning.judging import better_of, judged, unseen_scores
from landcover_jobs.learning.plan import TRANSFORMER, Plan
from landcover_jobs.learning.recipe import Labelled, Progress
from landcover_jobs.learning.training import Interrupted, fit
from landcover_jobs.learning.transformer import days_of_periods, load_transformer, probabilities, save_transformer
from landcover_jobs.learning.trees import fit_trees, load_trees, save_trees, tree_probabilities
from landcover_jobs.learning.workers import Workers, threads

LEAST_PARITY = 0.999

Said = npt.NDArray[np.float32]


def report_metrics(**metrics: Any) -> None:
    """Print a line that TrainOperator reads."""
    sys.stdout.write(f"METRICS {json.dumps(metrics)}\n")
    sys.stdout.flush()


def train_members(plan: Plan, workers: Workers, interrupted: Callable[[], bool]) -> None:
    """Train what is not there yet: each transformer by all processes together, trees shared out among them.

    Raises:
        Interrupted: the job is to end; what is finished is kept, and what is under way goes on from its checkpoint.
    """
    samples = plan.labelled()
    missing = workers.first_says([member for member in plan.members if not plan.path(member).is_file()])
    if workers.first and len(missing) < len(plan.members):
        say(f"{len(plan.members) - len(missing)} of {len(plan.members)} models are there already")
    for member in missing:
        if member.kind == TRANSFORMER:
            _train_transformer(plan, member, samples, workers, interrupted)
    for member in [each for each in missing if each.kind != TRANSFORMER][workers.rank :: workers.count]:
        if interrupted():
            break
        _train_trees(plan, member, samples)
    if workers.any_says(interrupted()):
        raise Interrupted


def _train_transformer(
    plan: Plan, member: Member, samples: Labelled, workers: Workers, interrupted: Callable[[], bool]
) -> None:
    rows, inner = plan.rows(member)
    recipe, checkpoint = plan.recipe(member), plan.checkpoint(member)

    def after_epoch(progress: Progress) -> None:
        if workers.first:
            scored = {} if progress.macro_f1 is None else {"inner_macro_f1": progress.macro_f1}
            report_metrics(member=member.name, epoch=progress.epoch, loss=progress.loss, **scored)

    model = fit(
        samples.only(rows),
        classes=len(plan.configuration.classes),
        days=days_of_periods(plan.configuration.composites.periods),
        recipe=recipe,
        inner=None if inner is None else samples.only(inner),
        workers=workers,
        checkpoint=checkpoint,
        after_epoch=after_epoch,
        interrupted=interrupted,
    )
    if workers.first:
        save_transformer(plan.path(member), model)
        checkpoint.unlink(missing_ok=True)
        say(f"{member.name}: {int(rows.sum())} pixels, {recipe.settings.model_dump()}")


def _train_trees(plan: Plan, member: Member, samples: Labelled) -> None:
    rows, _ = plan.rows(member)
    learnt = samples.only(rows)
    model = fit_trees(
        member.kind,
        learnt.features,
        learnt.labels,
        trees=plan.configuration.model.trees,
        seed=plan.seed(member),
        threads=threads(),
    )
    save_trees(plan.path(member), model)
    say(f"{member.name}: {len(learnt.labels)} pixels")


def judge_members(plan: Plan, workers: Workers) -> dict[str, Any]:
    """Export every member, compare the files with their origins, and score the kinds; the processes share this out.

    Returns the parts `scores`, `better` and `parity` of training.json.

    Raises:
        StepError: an exported model says other classes than its origin.
    """
    samples = plan.labelled()
    own: dict[str, tuple[Said, float | None]] = {}
    for member in plan.members[workers.rank :: workers.count]:
        own[member.name] = _exported(plan, member, samples)
    found = {name: each for part in workers.of_all(own) for name, each in part.items()}
    kinds = plan.configuration.model.kinds
    scores: dict[str, Any] = {}
    shares: dict[str, float] = {}
    for kind in kinds:
        of_members = {(each.trial, each.fold): found[each.name][0] for each in plan.members if each.kind == kind}
        said = unseen_scores(plan.samples, len(plan.configuration.classes), of_members)
        scores[kind] = judged(plan.samples.labels, said, plan.configuration)
        of_kind = [found[member.name][1] for member in plan.members if member.kind == kind]
        shares[kind] = min(share for share in of_kind if share is not None)
    return {"scores": scores, "better": better_of(kinds, scores), "parity": shares}


def _exported(plan: Plan, member: Member, samples: Labelled) -> tuple[Said, float | None]:
    """Return what a member says of its own fold, and the share that its ONNX file says alike (None without pixels)."""
    seen = samples.only(plan.samples.folds == member.fold)
    classes = len(plan.configuration.classes)
    target = plan.target / f"{member.name}.onnx"
    periods, features = seen.features.shape[1:]
    if member.kind == TRANSFORMER:
        transformer = load_transformer(plan.path(member))
        if not target.is_file():
            export_transformer(transformer, target, periods, features)
        said = probabilities(transformer, seen.features, seen.hidden)
    else:
        trees = load_trees(plan.path(member))
        if not target.is_file():
            export_trees(trees, target, periods, features, classes=classes)
        said = tree_probabilities(trees, seen.features, classes)
    if not len(said):
        return said, None
    share = parity(target, lambda _features, _hidden: said, seen.features, seen.hidden)
    _check_parity(target, share, len(said))
    return said, share


def _check_parity(target: Path, share: float, count: int) -> None:
    # One pixel of few may lie between two classes to the last bit.
    if share < LEAST_PARITY and (1 - share) * count > 1.5:  # noqa: PLR2004 - more than one pixel
        raise StepError(
            f"{target.name} says another class than the model that it was exported from for {1 - share:.2%} of "
            f"{count} pixels, more than {1 - LEAST_PARITY:.1%}: it must not draw a map; remove "
            f"{target.parent} and run the step "
            "`train` again with the versions of requirements.lock"
        )
