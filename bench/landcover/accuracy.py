"""``python -m bench.landcover.accuracy``: how good both kinds of models are on data from outside the project.

Run with the jobs' Python from the project's root, with `dags/landcover/jobs` on PYTHONPATH. Folds are spatially
disjoint, settings are chosen on inner folds, and each figure is the mean and standard deviation of several seeds.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import sklearn
import torch
from landcover_jobs.validation.accuracy import grouped

from bench.landcover.candidates import CANDIDATES, DEFAULT
from bench.landcover.cross_validation import (
    FOLDS,
    TRANSFORMER,
    Candidate,
    Outcome,
    Pool,
    Split,
    Task,
    choose,
    spatial_folds,
    validated,
)
from bench.landcover.data_sets import SCARCE, lucc_mt, mt_modis
from bench.landcover.own_map import read_own_map

RESULTS: Final = Path(__file__).parents[1] / "RESULTS.md"
KINDS: Final = (TRANSFORMER, "random_forest", "gradient_boosting")
BARRED: Final = "mt_modis, 7 classes"
BAR: Final = (0.95, 0.90)  # overall accuracy and macro F1
DRAWING: Final = (TRANSFORMER, "random_forest")  # boosting draws nothing: all seeds give the same
TREES: Final = {"random_forest": 500, "gradient_boosting": 100, TRANSFORMER: 0}
FIRST_YEARS: Final = 4  # crop years to learn from; the first three have a single class
WHY_NINE_ARE_WORSE: Final = (
    "Forest and Soy_Fallow are why nine classes are worse: all pixels of each lie in one block, so that the models"
    " which are asked about them have never seen any. That says where the samples are, not how well the classes can be"
    " told apart; a random split, which leaks between neighbours, hides it."
)
YEARS_TABLE: Final = (
    "Trained on all crop years before the one that is scored, with the default settings.",
    "",
    "| crop year | learnt from | scored | model | overall accuracy | of classes seen before | and of new places |",
    "| --- " * 7 + "|",
)

BEGAN = time.monotonic()


def say(text: str) -> None:
    """Print a line with the time since the beginning."""
    minutes, seconds = divmod(int(time.monotonic() - BEGAN), 60)
    print(f"[{minutes:3d}:{seconds:02d}] {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print the report, and tell by the exit code whether the bar is reached."""
    given = arguments()
    seeds = tuple(range(1, given.seeds + 1))
    splits, studied = data_sets(given)
    parts = []
    reached = True
    with Pool(given.processes, splits, say) as pool:
        for name, split in splits.items():
            say(f"{name}: {len(split.data.samples.labels)} pixels, {len(np.unique(split.data.blocks))} blocks")
            if name == "lucc_mt":
                parts.append(year_by_year(pool, split, seeds))
                continue
            how, chosen = settings_of(pool, split, studied.get(name), given)
            lines, outcomes = cross_validated(pool, split, seeds, chosen)
            parts.append([*lines, "", f"The transformer has {how}: {described(chosen)}."])
            if name == BARRED:
                reached = any(holds(each) for each in outcomes.values())
                parts.append([f"The bar, overall accuracy {BAR[0]} and macro F1 {BAR[1]}: {verdict(outcomes)}"])
    report = "\n".join([heading(given), *("\n".join(["", *lines]) for lines in parts)]) + "\n"
    print(report)
    if given.write:
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(f"\n{report}")
        say(f"appended to {RESULTS}")
    return 0 if reached else 1


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.landcover.accuracy", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with mt_modis_samples.npz and lucc_mt")
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="of one thread each")
    parser.add_argument("--quick", action="store_true", help="the default settings, without a search")
    parser.add_argument("--only", help="data sets whose names begin so: mt_modis, lucc_mt, or the map's name")
    parser.add_argument("--map", type=Path, help="a map of the project, whose sampled year is scored as well")
    parser.add_argument("--map-data", type=Path, help="the data folder in which that map's samples lie")
    parser.add_argument("--write", action="store_true", help="append the report to bench/RESULTS.md")
    given = parser.parse_args()
    if (given.map is None) != (given.map_data is None):
        parser.error("give both --map and --map-data, or neither")
    if not (given.data / "mt_modis_samples.npz").is_file():
        parser.error(f"{given.data} has no mt_modis_samples.npz")
    return given


def data_sets(given: argparse.Namespace) -> tuple[dict[str, Split], dict[str, dict[int, Candidate]]]:
    """Return what is to be scored, and settings that were chosen elsewhere."""
    both = [mt_modis(given.data, all_classes=every) for every in (False, True)]
    found = [Split(each, spatial_folds(each)) for each in both]
    lucc = lucc_mt(given.data)
    found.append(Split(lucc, np.zeros(len(lucc.blocks), dtype=np.int64)))
    studied = {}
    if given.map is not None:
        split, chosen = read_own_map(given.map, given.map_data)
        found.append(split)
        studied[split.data.name] = chosen
    wanted = {each.data.name: each for each in found if not given.only or each.data.name.startswith(given.only)}
    return wanted, studied


def settings_of(
    pool: Pool, split: Split, studied: dict[int, Candidate] | None, given: argparse.Namespace
) -> tuple[str, dict[int, Candidate]]:
    """Return in words how each fold's settings were chosen, and what they are."""
    if studied is not None:
        return "the settings that the step `tune` has found for each fold on the others", studied
    if given.quick or split.data.name != BARRED:
        return "the default settings", dict.fromkeys(range(FOLDS), DEFAULT)
    return f"settings chosen for each fold among {len(CANDIDATES)} on the others", choose(
        pool, split, CANDIDATES, seed=0
    )


def cross_validated(
    pool: Pool, split: Split, seeds: Sequence[int], chosen: dict[int, Candidate]
) -> tuple[list[str], dict[str, list[Outcome]]]:
    """Return the lines of the report and the outcomes of each kind."""
    data, outcomes = split.data, {}
    lines = [f"### {data.name}", "", "| scored | model | overall accuracy | macro F1 | each seed's macro F1 |"]
    lines.append("| --- " * 5 + "|")
    for kind in KINDS:
        drawn = seeds if kind in DRAWING else seeds[:1]
        settings = chosen if kind == TRANSFORMER else None
        outcomes[kind] = validated(pool, split, kind, drawn, trees=TREES[kind], chosen=settings)
        scored = {f"{len(data.classes)} classes": outcomes[kind]}
        if data.groups:
            groups = list(data.groups.values())
            scored[" / ".join(data.groups)] = [Outcome(grouped(each.matrix, groups)) for each in outcomes[kind]]
        for what, of_seeds in scored.items():
            accuracy, f1 = (spread([getattr(each, name) for each in of_seeds]) for name in ("accuracy", "macro_f1"))
            single = ", ".join(f"{each.macro_f1:.3f}" for each in of_seeds)
            lines.append(f"| {what} | {kind} | {accuracy} | {f1} | {single} |")
            say(f"{data.name}: {what}, {kind}: overall accuracy {accuracy}, macro F1 {f1}")
    return [*lines, "", *of_classes(split, outcomes)], outcomes


def of_classes(split: Split, outcomes: dict[str, list[Outcome]]) -> list[str]:
    """Return a table of the classes: pixels, blocks and folds that hold them, and each kind's F1."""
    data = split.data
    lines = ["| class | pixels | blocks | folds | " + " | ".join(f"F1, {kind}" for kind in outcomes) + " |"]
    lines.append("| --- " * (4 + len(outcomes)) + "|")
    for index, name in enumerate(data.classes):
        rows = data.samples.labels == index
        counts = [int(rows.sum()), len(np.unique(data.blocks[rows])), len(np.unique(split.folds[rows]))]
        f1 = [f"{np.nanmean([each.f1[index] for each in of_seeds]):.3f}" for of_seeds in outcomes.values()]
        lines.append("| " + " | ".join([name, *map(str, counts), *f1]) + " |")
    if set(SCARCE) <= set(data.classes):
        lines += ["", WHY_NINE_ARE_WORSE]
    return lines


def year_by_year(pool: Pool, split: Split, seeds: Sequence[int]) -> list[str]:
    """Return the lines for crop years that follow those which were learnt from."""
    data = split.data
    years = sorted(set(data.years.tolist()))
    lines = [f"### {data.name}, year by year", "", *YEARS_TABLE]
    for year in years[FIRST_YEARS:]:
        rows, learnt = data.years == year, data.years < year
        labels = data.samples.labels[rows]
        known = np.isin(labels, data.samples.labels[learnt])
        elsewhere = known & ~np.isin(data.places[rows], data.places[learnt])
        for kind in KINDS:
            candidate = DEFAULT if kind == TRANSFORMER else None
            chances = seeds if kind in DRAWING else seeds[:1]
            tasks = [Task(data.name, kind, candidate, (year,), seed, TREES[kind], by_years=True) for seed in chances]
            answers = pool.answers(f"{data.name}: {year}, {kind}", tasks)
            right = [answers[task].argmax(axis=1) == labels for task in tasks]
            cells = [
                f"{spread([float(each[part].mean()) for each in right])} ({int(part.sum())} pixels)"
                if part.any()
                else "-"
                for part in (np.ones_like(known), known, elsewhere)
            ]
            counts = [f"{year}-{year + 1}", f"{int(learnt.sum())} pixels", str(len(labels)), kind]
            lines.append("| " + " | ".join([*counts, *cells]) + " |")
    return lines


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation."""
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.3f}"


def holds(outcomes: Sequence[Outcome]) -> bool:
    """Tell whether a kind's means reach the bar."""
    means = np.mean([[each.accuracy, each.macro_f1] for each in outcomes], axis=0)
    return bool((means >= BAR).all())


def verdict(outcomes: dict[str, list[Outcome]]) -> str:
    """Say which kinds reach the bar."""
    good = [kind for kind, of_seeds in outcomes.items() if holds(of_seeds)]
    return f"reached by {', '.join(good)}." if good else "**not reached**."


def described(chosen: dict[int, Candidate]) -> str:
    """Return the settings of each fold in words."""
    texts = [in_words(each) for each in chosen.values()]
    if len(set(texts)) == 1:
        return texts[0]
    return "; ".join(f"fold {fold}: {text}" for fold, text in zip(chosen, texts, strict=True))


def in_words(candidate: Candidate) -> str:
    """Return one choice of settings in words."""
    found = candidate.settings
    return (
        f"width {found.width}, {found.layers} layers, dropout {found.dropout:.2g}, rate {found.learning_rate:.2g}, "
        f"decay {found.weight_decay:.2g}, period dropout {found.period_dropout:.2g}, {candidate.epochs} epochs of "
        f"batches of {candidate.batch}"
    )


def heading(given: argparse.Namespace) -> str:
    """Return the title and how this was measured."""
    command = shlex.join(["python", "-m", "bench.landcover.accuracy", *sys.argv[1:]])
    now = dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    minutes = (time.monotonic() - BEGAN) / 60
    return (
        "## Accuracy of land cover on other data\n\n"
        f"`{command}`, {given.processes} processes of one thread on {os.cpu_count()} cores, Python"
        f" {platform.python_version()}, PyTorch {torch.__version__}, scikit-learn {sklearn.__version__},"
        f" {minutes:.0f} min, {now}. Five folds that share no block; mean ± standard deviation over {given.seeds}"
        " seeds, of the predictions of all folds together, each by a model that never saw the fold."
    )


if __name__ == "__main__":
    sys.exit(main())
