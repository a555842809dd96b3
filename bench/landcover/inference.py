"""``python -m bench.landcover.inference``: series a second of exported models beside PyTorch, in one run.

The reference is a transformer of 3 layers, width 64 and 4 heads (~101 k parameters) on series of 12 dates and 10
channels. Run with the jobs' Python from the project's root, with `dags/landcover/jobs` on PYTHONPATH. With `--seeds`
the smaller models' accuracy is measured too, on the folds of `bench.landcover.accuracy`.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from landcover_jobs.configuration.learning import TransformerSettings
from landcover_jobs.inference.classifier import Classifier
from landcover_jobs.inference.export import export_transformer, export_trees
from landcover_jobs.learning.recipe import Labelled, Recipe
from landcover_jobs.learning.training import fit
from landcover_jobs.learning.transformer import PREDICTION_BATCH, days_of_periods, probabilities
from landcover_jobs.learning.trees import fit_trees, tree_probabilities
from landcover_jobs.preparation.normalisation import Normalisation, Statistics

from bench.landcover.accuracy import RESULTS, say
from bench.landcover.candidates import DEFAULT, LARGER
from bench.landcover.cross_validation import FOLDS, TRANSFORMER, Candidate, Pool, Split, spatial_folds, validated
from bench.landcover.data_sets import mt_modis

PERIODS: Final = 12
CHANNELS: Final = 10
EPOCHS: Final = 4  # enough for classes that are not all the same; accuracy is measured apart
TREES: Final = 200
TORCH_BATCHES: Final = (64, 256, 1024)
LEAST_RATIO: Final = 1.5
LEAST_EQUAL: Final = 0.999
WANTED: Final = 60_000
REFERENCE: Final = LARGER.settings


def smaller(width: int, layers: int) -> TransformerSettings:
    """Return settings of another size; narrow ones learn faster."""
    like = LARGER.settings if width >= LARGER.settings.width else DEFAULT.settings
    return like.model_copy(update={"width": width, "layers": layers})


SIZES: Final = {
    "3 layers, width 64": REFERENCE,
    "2 layers, width 64": smaller(64, 2),
    "2 layers, width 48": smaller(48, 2),
    "3 layers, width 32": smaller(32, 3),
    "2 layers, width 32": smaller(32, 2),
    "1 layer, width 32": smaller(32, 1),
}
Kind = Literal["random_forest", "gradient_boosting"]
KINDS: Final[tuple[Kind, ...]] = ("random_forest", "gradient_boosting")
Said = npt.NDArray[np.float32]


@dataclass
class Contender:
    """A way from series to probabilities, the one that it stands for, and how fast it was in each round."""

    name: str
    run: Callable[[Labelled], Said]
    origin: Callable[[Labelled], Said]
    rates: list[float] = field(default_factory=list)  # series a second
    core_rates: list[float] = field(default_factory=list)  # series a second that a core worked on it

    @property
    def rate(self) -> float:
        """Series a second, the median of the rounds."""
        return statistics.median(self.rates)

    @property
    def core_rate(self) -> float:
        """Series a second of one core's time, the median of the rounds; what else the machine does counts little."""
        return statistics.median(self.core_rates)


def main() -> int:
    """Measure, print the report, and tell by the exit code whether the exported reference is fast enough and equal."""
    given = arguments()
    torch.set_num_threads(1)
    labelled = series_of(given.data)
    with tempfile.TemporaryDirectory() as folder:
        say(f"training on {len(labelled.labels)} series")
        contenders = [
            *transformers(labelled, Path(folder), given.threads),
            *trees(labelled, Path(folder), given.threads),
        ]
        torch.set_num_threads(given.threads)
        many = repeated(labelled, given.series)
        measure(contenders, many, given)
        lines, holds = table(contenders, many)
    if given.seeds:
        lines += accuracies(given)
    report = "\n".join([*heading(given), "", *lines]) + "\n"
    print(report)
    if given.write:
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(f"\n{report}")
    return 0 if holds else 1


def series_of(data: Path) -> Labelled:
    """Return labelled crop years at 12 of their 23 dates, four of the six channels twice."""
    samples = mt_modis(data, all_classes=False).samples
    dates = np.linspace(0, samples.features.shape[1] - 1, PERIODS).round().astype(int)
    channels = np.arange(CHANNELS) % samples.features.shape[2]
    features = np.ascontiguousarray(samples.features[:, dates][:, :, channels])
    hidden = np.random.default_rng(2018).random(features.shape[:2]) < 0.1  # noqa: PLR2004
    hidden[:, 0] = False
    features = Normalisation.of([Statistics.of(features)]).apply(features)
    return Labelled(features, hidden, samples.labels)


def repeated(labelled: Labelled, count: int) -> Labelled:
    """Return so many series: the given ones again and again, with a little noise."""
    which = np.arange(count) % len(labelled.labels)
    noise = np.random.default_rng(2019).normal(scale=0.1, size=labelled.features[which].shape)
    features = (labelled.features[which] + noise).astype(np.float32)
    return Labelled(features, labelled.hidden[which], labelled.labels[which])


def transformers(labelled: Labelled, folder: Path, threads: int) -> list[Contender]:
    """Return PyTorch with the reference, at several batches, and onnxruntime with every size."""
    contenders: list[Contender] = []
    for name, settings in SIZES.items():
        recipe = Recipe(settings=settings, epochs=EPOCHS, batch=64, seed=1)
        model = fit(labelled, classes=int(labelled.labels.max()) + 1, days=days_of_periods(PERIODS), recipe=recipe)

        def torch_says(series: Labelled, model: torch.nn.Module = model, batch: int = PREDICTION_BATCH) -> Said:
            return probabilities(model, series.features, series.hidden, batch=batch)  # type: ignore[arg-type]

        if settings == REFERENCE:
            for batch in (PREDICTION_BATCH, *TORCH_BATCHES):

                def at_batch(series: Labelled, batch: int = batch, says: Callable[..., Said] = torch_says) -> Said:
                    return says(series, batch=batch)

                contenders.append(Contender(f"PyTorch, {name}, batches of {batch}", at_batch, torch_says))
        path = folder / f"{name}.onnx"
        export_transformer(model, path, PERIODS, CHANNELS)
        contenders.append(exported(f"onnxruntime, {name}", path, torch_says, threads))
    return contenders


def trees(labelled: Labelled, folder: Path, threads: int) -> list[Contender]:
    """Return onnxruntime with both kinds of trees."""
    contenders = []
    for kind in KINDS:
        model = fit_trees(kind, labelled.features, labelled.labels, trees=TREES, seed=1, threads=threads)
        classes = int(labelled.labels.max()) + 1

        def sklearn_says(series: Labelled, model: object = model, classes: int = classes) -> Said:
            return tree_probabilities(model, series.features, classes)

        path = folder / f"{kind}.onnx"
        export_trees(model, path, PERIODS, CHANNELS, classes=classes)
        name = kind.replace("_", " ")
        contenders.append(exported(f"onnxruntime, {name}, {TREES} trees or rounds", path, sklearn_says, threads))
    return contenders


def exported(name: str, path: Path, origin: Callable[[Labelled], Said], threads: int) -> Contender:
    """Return a contender that runs a model file."""
    classifier = Classifier(path, threads)
    return Contender(name, lambda series: classifier.probabilities(series.features, series.hidden), origin)


def measure(contenders: Sequence[Contender], many: Labelled, given: argparse.Namespace) -> None:
    """Let all run in turns, so that what else the machine does hits them alike."""
    few = many.only(np.arange(len(many.labels)) < 2048)  # noqa: PLR2004
    for contender in contenders:
        contender.run(few)
    for number in range(given.rounds):
        for contender in contenders:
            began, cpu_began, done = time.perf_counter(), time.process_time(), 0
            while time.perf_counter() - began < given.seconds:
                contender.run(many)
                done += len(many.labels)
            contender.rates.append(done / (time.perf_counter() - began))
            contender.core_rates.append(done / (time.process_time() - cpu_began))
        say(f"round {number + 1} of {given.rounds}")


def table(contenders: Sequence[Contender], many: Labelled) -> tuple[list[str], bool]:
    """Return what was found, and whether the exported reference is as fast and as equal as it must be."""
    usual = contenders[0]
    best = max((each for each in contenders if each.name.startswith("PyTorch")), key=lambda each: each.rate)
    ratios = (f"x PyTorch at {PREDICTION_BATCH}", "x PyTorch at its best batch")
    columns = ("model", "series/s", *ratios, "series/s of a core's time", "equal classes")
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join(['---'] * len(columns))} |"]
    verdicts = {}
    for each in contenders:
        equal = float((each.run(many).argmax(axis=1) == each.origin(many).argmax(axis=1)).mean())
        ratio, least = each.rate / usual.rate, each.rate / best.rate
        cells = (
            each.name,
            f"{each.rate:,.0f}",
            f"{ratio:.2f}",
            f"{least:.2f}",
            f"{each.core_rate:,.0f}",
            f"{equal:.3%}",
        )
        lines.append(f"| {' | '.join(cells)} |")
        verdicts[each.name] = ratio >= LEAST_RATIO and equal >= LEAST_EQUAL
    holds = verdicts[f"onnxruntime, {next(iter(SIZES))}"]
    fast = [each.name for each in contenders if each.rate >= WANTED]
    said = f"{LEAST_RATIO} times as fast as PyTorch by batches of {PREDICTION_BATCH}, and {LEAST_EQUAL:.1%} equal: "
    said += f"{'yes' if holds else 'no'}. Over {WANTED:,} series/s: {', '.join(fast) or 'none'}."
    lines += ["", said]
    return lines, holds


def accuracies(given: argparse.Namespace) -> list[str]:
    """Return what smaller models lose, trained as the bench of accuracy trains."""
    data = mt_modis(given.data, all_classes=False)
    split, seeds = Split(data, spatial_folds(data)), tuple(range(1, given.seeds + 1))
    lines = ["", f"{data.name}, {FOLDS} spatially disjoint folds, {given.seeds} seeds:", ""]
    lines += ["| model | OA | macro F1 | OA lost, points |", "| --- | --- | --- | --- |"]
    first: float | None = None
    with Pool(given.threads, {data.name: split}, say) as pool:
        for name, settings in SIZES.items():
            chosen = dict.fromkeys(range(FOLDS), Candidate(settings, DEFAULT.epochs, DEFAULT.batch))
            outcomes = validated(pool, split, TRANSFORMER, seeds, trees=0, chosen=chosen)
            accuracy = np.array([each.accuracy for each in outcomes])
            f1 = np.array([each.macro_f1 for each in outcomes])
            first = accuracy.mean() if first is None else first
            lost = 100 * (first - accuracy.mean())
            lines.append(f"| {name} | {spread(accuracy)} | {spread(f1)} | {lost:+.2f} |")
    return lines


def spread(values: npt.NDArray[np.float64]) -> str:
    """Return mean and standard deviation of the seeds."""
    return f"{values.mean():.4f} ± {values.std(ddof=1) if len(values) > 1 else 0:.4f}"


def heading(given: argparse.Namespace) -> list[str]:
    """Say what was run, and on what."""
    command = shlex.join(["python", "-m", "bench.landcover.inference", *sys.argv[1:]])
    said = (
        f"`{command}`, {given.threads} threads of {os.cpu_count()} cores, {platform.machine()}, PyTorch "
        f"{torch.__version__}, onnxruntime {onnxruntime.__version__}; load before {LOAD_BEFORE:.1f}; {PERIODS} dates, "
        f"{CHANNELS} channels; the median of {given.rounds} rounds in which all take turns."
    )
    return ["## Series a second", "", said]


LOAD_BEFORE = os.getloadavg()[0]


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.landcover.inference")
    parser.add_argument("--data", type=Path, required=True, help="the folder with mt_modis_samples.npz")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--series", type=int, default=8192, help="that each turn classifies")
    parser.add_argument("--seconds", type=float, default=1.0, help="least time of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=0, help="measure accuracy too, with so many seeds")
    parser.add_argument("--write", action="store_true", help="append the report to bench/RESULTS.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
