"""The two ends of a transfer, asked the same questions: a folder on the worker, and one on a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from headnode.cluster.staging import local, remote
from headnode.cluster.staging.manifest import Item, Manifest
from headnode.cluster.staging.spot import Spot
from headnode.hooks.slurm import SlurmHook


class End(Protocol):
    """One end of a transfer, on the worker or on the cluster."""

    where: str

    def survey(self) -> Spot:
        """Look at the path itself."""
        ...

    def list_items(self, root: str) -> dict[str, Item]:
        """Return what is below ``root``, without hashes."""
        ...

    def hash_files(self, root: str, names: Sequence[str], *, size: int) -> dict[str, str]:
        """Return the SHA-256 of files below ``root``, ``size`` bytes in all."""
        ...

    def prepare(self, spot: Spot, part: str, wanted: Manifest) -> int | None:
        """Make the staging folder; return the free bytes where known."""
        ...

    def remove(self, part: str, names: Iterable[str]) -> None:
        """Remove left-overs from the staging folder."""
        ...

    def link_present(self, spot: Spot, part: str, names: Sequence[str]) -> None:
        """Take over files that the destination holds already."""
        ...

    def finish(self, spot: Spot, part: str, wanted: Manifest) -> None:
        """Give verified content its name."""
        ...


class ClusterEnd:
    """A path on the cluster behind a hook."""

    def __init__(self, hook: SlurmHook, path: str) -> None:
        self._hook = hook
        self._path = path
        self.where = f"{path} on {hook.settings.ssh.host}"

    def survey(self) -> Spot:
        """Look at the path itself."""
        return self._hook.run(remote.survey(self._path, work_directory=self._hook.settings.work_directory))

    def list_items(self, root: str) -> dict[str, Item]:
        """Return what is below ``root``, without hashes."""
        return self._hook.run(remote.list_items(root, where=self.where))

    def hash_files(self, root: str, names: Sequence[str], *, size: int) -> dict[str, str]:
        """Return the SHA-256 of files below ``root``, ``size`` bytes in all."""
        return self._hook.run(remote.hash_files(root, names, size=size, where=self.where))

    def prepare(self, spot: Spot, part: str, wanted: Manifest) -> int | None:
        """Make the staging folder; return the free bytes where known."""
        return self._hook.run(remote.prepare(spot, part, wanted))

    def remove(self, part: str, names: Iterable[str]) -> None:
        """Remove left-overs from the staging folder."""
        self._hook.run(remote.remove(part, names))

    def link_present(self, spot: Spot, part: str, names: Sequence[str]) -> None:
        """Take over files that the destination holds already."""
        self._hook.run(remote.link_present(spot, part, names))

    def finish(self, spot: Spot, part: str, wanted: Manifest) -> None:
        """Give verified content its name."""
        self._hook.run(remote.finish(spot, part, wanted))


class WorkerEnd:
    """A path on the machine that runs the task."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.where = f"{path} on the worker"

    def survey(self) -> Spot:
        """Look at the path itself."""
        return local.survey(self._path)

    def list_items(self, root: str) -> dict[str, Item]:
        """Return what is below ``root``, without hashes."""
        return local.list_items(Path(root))

    def hash_files(self, root: str, names: Sequence[str], *, size: int) -> dict[str, str]:  # noqa: ARG002 - the cluster's clock needs it
        """Return the SHA-256 of files below ``root``, ``size`` bytes in all."""
        return local.hash_files(Path(root), names)

    def prepare(self, spot: Spot, part: str, wanted: Manifest) -> int | None:
        """Make the staging folder; return the free bytes where known."""
        with self._storing():
            return local.prepare(spot, Path(part), wanted)

    def remove(self, part: str, names: Iterable[str]) -> None:
        """Remove left-overs from the staging folder."""
        with self._storing():
            local.remove(Path(part), names)

    def link_present(self, spot: Spot, part: str, names: Sequence[str]) -> None:
        """Take over files that the destination holds already."""
        with self._storing():
            local.link_present(spot, Path(part), names)

    def finish(self, spot: Spot, part: str, wanted: Manifest) -> None:
        """Give verified content its name."""
        with self._storing():
            local.finish(spot, Path(part), wanted)

    @contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise remote.storing_error(str(error), what=f"{self.where} can't be written") from error
