"""The processes that train together: who they are, what they agree on, and the settings that make them reproducible."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.utils.deterministic

from landcover_jobs.job import StepError

# Other processes wait while one grows trees or exports; that they wait is no failure.
PATIENCE = timedelta(hours=24)
CPU = torch.device("cpu")
Said = TypeVar("Said")


@dataclass(frozen=True)
class Workers:
    """This process among those that train together."""

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def any_says(self, answer: bool) -> bool:  # noqa: FBT001 - the answer is all there is
        """Tell all whether one of them says yes."""
        if self.count == 1:
            return answer
        flag = torch.tensor([int(answer)], device=self.device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())

    def first_says(self, what: Said) -> Said:
        """Return to all what the first process has."""
        if self.count == 1:
            return what
        told: list[Any] = [what]
        dist.broadcast_object_list(told, src=0, device=self.device)
        said: Said = told[0]
        return said

    def of_all(self, what: Said) -> list[Said]:
        """Return what each process has, by rank."""
        if self.count == 1:
            return [what]
        told: list[Any] = [None] * self.count
        dist.all_gather_object(told, what)
        return told

    def sum(self, value: float) -> float:
        """Return the sum over all processes."""
        if self.count == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total.item())

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            self.any_says(False)


@contextmanager
def joined() -> Iterator[Workers]:
    """Yield this process's place: among those that torchrun has started, else alone.

    Threads are as many as `threads()` says, and algorithms are the deterministic ones, so that the same processes get
    the same weights from the same seed.

    Raises:
        StepError: the processes have not found each other.
    """
    torch.set_num_threads(threads())
    reproducible()
    rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = _device()
    if count == 1:
        yield Workers(device=device)
        return
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise StepError(
            f"process {rank} of {count} has not found the others ({error}): start this step by torchrun, or alone"
        ) from error
    try:
        yield Workers(rank, count, device)
    finally:
        dist.destroy_process_group()


def reproducible() -> None:
    """Let PyTorch use only algorithms that do the same each time."""
    # cuBLAS reads this when it starts; without it its sums are not reproducible.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True)
    # To fill what is not yet written shows mistakes of PyTorch's own, and takes a tenth of the time of a training.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # made when imported


def threads() -> int:
    """Return how many threads this process may use: its share of the task's CPUs, 1 where nothing says more.

    The number is part of what makes weights reproducible: sums in other pieces differ in their last bits.
    """
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cpus = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("OMP_NUM_THREADS") or "1"
    if "SLURM_CPUS_PER_TASK" not in os.environ:
        local = 1
    return max(1, int(cpus) // local) if cpus.isdigit() else 1


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return CPU
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device
