"""An exported model, run by onnxruntime: class probabilities of normalised series, the same whoever asks.

A batch is as small as keeps a transformer's intermediate arrays in a core's own cache (measured: bench/landcover), and
always of one size, so that a pixel's probabilities do not depend on how many others came with it. Threads work on
batches of their own, which scales better than threads within tiny matrix products, and leaves the bits alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from landcover_jobs.job import StepError, say

PROCESSOR_BATCH = 128
ACCELERATOR_BATCH = 16_384
ACCELERATOR, PROCESSOR = "CUDAExecutionProvider", "CPUExecutionProvider"
OUTPUT = "probabilities"


class Classifier:
    """One model file; may be called from several threads at a time."""

    def __init__(self, path: Path, threads: int = 1, *, batch: int | None = None) -> None:
        """Load a model; on a GPU where onnxruntime has one, else on `threads` threads of the processor.

        Raises:
            StepError: the file is missing, or is no model.
        """
        if not path.is_file():
            raise StepError(f"{path} is missing: run the step `train` again")
        try:
            self._session = _opened(path)
        except Exception as error:  # onnxruntime's errors have no other base
            raise StepError(f"{path} cannot be read as an ONNX model: run the step `train` again ({error})") from error
        self._inputs = {given.name for given in self._session.get_inputs()}
        self.provider: str = self._session.get_providers()[0]
        self.batch = batch or (ACCELERATOR_BATCH if self.provider == ACCELERATOR else PROCESSOR_BATCH)
        self._threads = threads

    def probabilities(
        self, features: npt.NDArray[np.float32], hidden: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Return the probability of each class (n, class).

        Args:
            features: (n, period, feature), normalised, no NaN.
            hidden: (n, period), the periods that the model shall not attend to; trees do not ask for it.
        """
        classes = self._session.get_outputs()[0].shape[1]
        result = np.empty((len(features), classes), dtype=np.float32)

        def work(part: slice) -> None:
            result[part] = self._run(features[part], hidden[part])

        if self._threads == 1:
            for part in _parts(len(features), self.batch):
                work(part)
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                list(pool.map(work, _parts(len(features), self.batch)))
        return result

    def _run(self, features: npt.NDArray[np.float32], hidden: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        count = len(features)
        given: dict[str, Any] = {"features": _filled_up(features, self.batch), "hidden": _filled_up(hidden, self.batch)}
        found = self._session.run([OUTPUT], {name: given[name] for name in self._inputs})[0]
        probabilities: npt.NDArray[np.float32] = found[:count]
        return probabilities


def threads_here() -> int:
    """Return how many threads this job may use: Slurm's CPUs of a task, or those that the process may run on."""
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return int(granted) if granted.isdigit() and int(granted) else len(os.sched_getaffinity(0))


def _opened(path: Path) -> onnxruntime.InferenceSession:
    """Open a model on the GPU where onnxruntime has one that can run it, else on the processor."""
    if ACCELERATOR in onnxruntime.get_available_providers():
        # TF32 has 10 bits of mantissa: too few for the same classes as on a processor.
        accelerated = [(ACCELERATOR, {"use_tf32": "0"}), PROCESSOR]
        session = onnxruntime.InferenceSession(str(path), _options(), providers=accelerated)
        try:
            session.run([OUTPUT], {given.name: _nothing(given) for given in session.get_inputs()})
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no other base
            say(f"{path.name} does not run on the GPU, so the processor classifies: {error}")
        else:
            return session
    return onnxruntime.InferenceSession(str(path), _options(), providers=[PROCESSOR])


def _nothing(given: Any) -> npt.NDArray[Any]:
    """Return two series of zeros, or of shown periods, as an input wants them."""
    return np.zeros((2, *given.shape[1:]), dtype=bool if given.type == "tensor(bool)" else np.float32)


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3  # a GPU that cannot be used is seen in `provider`
    return options


def _parts(count: int, size: int) -> Iterator[slice]:
    return (slice(first, min(first + size, count)) for first in range(0, count, size))


def _filled_up(values: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    if len(values) == size:
        return np.ascontiguousarray(values)
    filled = np.zeros((size, *values.shape[1:]), dtype=values.dtype)
    filled[: len(values)] = values
    return filled
