"""A tile's composites of a year: blocks streamed into a Zarr group that appears whole, and its record.

Work goes on in a hidden folder beside the final group, named by the key of all inputs: the group, and the journal of
finished blocks. A job that was killed finds it there and does only the blocks that are missing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import zarr

from landcover_jobs.configuration.map_configuration import MapConfiguration
from landcover_jobs.grid.frame import Frame, Window
from landcover_jobs.job import say
from landcover_jobs.preparation.block import Reader, Summary, by_period, composites_of, summary_of
from landcover_jobs.preparation.journal import Journal
from landcover_jobs.preparation.progress import Progress
from landcover_jobs.preparation.store import array_of, create_store
from landcover_jobs.scenes.inventory import Scene


@dataclass(frozen=True)
class TileYear:
    """What is prepared: one tile's pixels in one year, from these scenes."""

    name: str
    frame: Frame
    year: int
    scenes: tuple[Scene, ...]
    key: str  # of everything that the composites depend on

    @property
    def said(self) -> str:
        """The tile and year as the log names them."""
        return f"tile {self.name}, {self.year}"


def prepare_tile(
    path: Path, work: TileYear, configuration: MapConfiguration, read: Reader, *, threads: int = 1
) -> Summary:
    """Write the composites to `path`, a Zarr group, and return what to note of them.

    Any number of `threads` writes the same bytes and returns the same numbers. Each holds one block.
    """
    folder = _work_folder(path, work.key)
    _remove_others(path, folder)
    windows = tuple(work.frame.blocks(configuration.composites.block_pixels))
    with Journal(folder / "blocks.jsonl") as journal:
        if path.is_dir() and len(journal.finished) == len(windows) and not _group_of(folder).is_dir():
            return journal.whole(len(windows))  # killed after the group was moved to its place
        group = _begun_group(folder, journal, work, configuration)
        if journal.finished:
            say(f"{work.said}: {len(journal.finished)} of {len(windows)} blocks were finished by an earlier job")
        writer = _BlockWriter(group, _group_of(folder), journal, work, configuration, read)
        writer.write_all(windows, threads)
        summary = journal.whole(len(windows))
    _move_into_place(folder, path)
    return summary


def forget_work(path: Path, key: str) -> None:
    """Remove what `prepare_tile` kept to go on with; call it once the tile is recorded as made."""
    shutil.rmtree(_work_folder(path, key), ignore_errors=True)


@dataclass(frozen=True)
class _BlockWriter:
    group: zarr.Group
    path: Path
    journal: Journal
    work: TileYear
    configuration: MapConfiguration
    read: Reader

    def write_all(self, windows: Sequence[Window], threads: int) -> None:
        left = [number for number in range(len(windows)) if number not in self.journal.finished]
        pixels = sum(windows[number].height * windows[number].width for number in left)
        progress = Progress(self.work.said, blocks=len(left), pixels=pixels)
        periods = by_period(self.work.scenes, self.configuration)

        def write(number: int) -> None:
            self._write(number, windows[number], periods)
            progress.done(windows[number].height * windows[number].width)

        with ThreadPoolExecutor(threads, thread_name_prefix="block") as pool:
            futures = [pool.submit(write, number) for number in left]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            pool.shutdown(cancel_futures=True)
        for future in (each for each in futures if each in done):
            future.result()

    def _write(self, number: int, window: Window, periods: Sequence[Sequence[Scene]]) -> None:
        frame = self.work.frame.part(window)
        composites = composites_of(self.read, periods, frame, self.configuration)
        rows, columns = window.slices
        array_of(self.group, "bands")[:, :, rows, columns] = composites.bands
        array_of(self.group, "observations")[:, rows, columns] = composites.observations
        edge = self.configuration.composites.block_pixels
        self._flush((window.row // edge, window.column // edge))
        self.journal.add(number, summary_of(composites, self.configuration))

    def _flush(self, chunk: tuple[int, int]) -> None:
        """Put a block's chunks on disk before the journal says so; those of nothing but the fill value have no file."""
        for name, leading in (("bands", (0, 0)), ("observations", (0,))):
            metadata = array_of(self.group, name).metadata
            file = self.path / name / metadata.encode_chunk_key((*leading, *chunk))
            if file.is_file():
                _fsync(file)


def _work_folder(path: Path, key: str) -> Path:
    return path.parent / f".{path.stem}.{key}.work"


def _group_of(folder: Path) -> Path:
    return folder / "composites.zarr"


def _begun_group(folder: Path, journal: Journal, work: TileYear, configuration: MapConfiguration) -> zarr.Group:
    """Open the group that an earlier job began, or begin it."""
    if journal.finished and _group_of(folder).is_dir():
        return zarr.open_group(_group_of(folder), mode="r+")
    journal.clear()
    return create_store(_group_of(folder), configuration, work.frame, work.year)


def _remove_others(path: Path, folder: Path) -> None:
    """Make the work folder, and remove those that were begun from other inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    others: Iterable[Path] = (each for each in path.parent.glob(f".{path.stem}.*.work") if each != folder)
    for other in others:
        shutil.rmtree(other)


def _move_into_place(folder: Path, path: Path) -> None:
    """Put the finished group where readers look, and what was there, with its record, aside; both are renames."""
    path.with_suffix(".json").unlink(missing_ok=True)
    if path.is_dir():
        aside = folder / "replaced.zarr"
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
    _group_of(folder).rename(path)


def _fsync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
