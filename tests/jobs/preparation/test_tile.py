"""A tile's store: the same bytes for any number of threads and interruptions, whole or not there."""

import hashlib
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
from landcover_jobs.job import StepError
from landcover_jobs.preparation.store import open_store
from landcover_jobs.preparation.tile import TileYear, forget_work, prepare_tile


def digests(folder):
    """Return the hash of every file below a folder."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


@dataclass
class Interrupted:
    """Reads a cube, notes the blocks, and finds a damaged scene once so many blocks were read."""

    cube: object
    blocks: int
    read: set = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, scenes, bands, frame):
        """Return the cube's values, as long as it goes well."""
        with self.lock:
            self.read.add((frame.left, frame.top))
            if len(self.read) > self.blocks:
                raise StepError("scene 7, B4: 7/B4.tif is damaged")
        return self.cube(scenes, bands, frame)


@pytest.fixture
def work(make_cube, frame):
    """Return a tile of 12 blocks of 16 pixels, and its cube."""
    cube = make_cube(11)
    return TileYear("r0c0", frame, 2018, cube.scenes, "0123456789abcdef"), cube


@pytest.mark.parametrize("edge", [17, 25, 64])
def test_the_pixels_do_not_depend_on_the_size_of_the_blocks(make_map, work, tmp_path, edge):
    """Nor do the counts; the statistics are equal but for rounding."""
    task, cube = work
    mask = {"band": "SCL", "clear": [4], "grow_pixels": 3}
    one = prepare_tile(tmp_path / "one.zarr", task, make_map(composites={"cloud_mask": mask}), cube)
    changed = make_map(composites={"cloud_mask": mask, "block_pixels": edge})
    other = prepare_tile(tmp_path / "other.zarr", task, changed, cube)
    first, second = open_store(tmp_path / "one.zarr"), open_store(tmp_path / "other.zarr")
    assert np.array_equal(first["bands"][:], second["bands"][:])
    assert np.array_equal(first["observations"][:], second["observations"][:])
    assert one.seen_in_period == other.seen_in_period
    assert one.statistics.mean == pytest.approx(other.statistics.mean, rel=1e-9)


def test_any_number_of_threads_writes_the_same_bytes_and_numbers(make_map, work, tmp_path):
    """Blocks end in another order; what is noted of them is added up in one order."""
    task, cube = work
    one = prepare_tile(tmp_path / "one.zarr", task, make_map(), cube, threads=1)
    four = prepare_tile(tmp_path / "four.zarr", task, make_map(), cube, threads=4)
    assert digests(tmp_path / "one.zarr") == digests(tmp_path / "four.zarr")
    assert one.as_dict() == four.as_dict()


@pytest.mark.parametrize("threads", [1, 3])
def test_after_an_error_only_the_missing_blocks_are_done(make_map, work, tmp_path, capsys, threads):
    """The tile does not appear before it is whole, and is then what one job without an error writes."""
    task, cube = work
    path = tmp_path / "tile.zarr"
    broken = Interrupted(cube, blocks=5)
    with pytest.raises(StepError, match=r"7/B4\.tif is damaged"):
        prepare_tile(path, task, make_map(), broken, threads=threads)
    assert not path.exists()
    repaired = Interrupted(cube, blocks=99)
    summary = prepare_tile(path, task, make_map(), repaired, threads=threads)
    finished = 12 - len(repaired.read)
    assert finished == 5 if threads == 1 else 5 - threads < finished <= 5
    assert f"{finished} of 12 blocks were finished by an earlier job" in capsys.readouterr().out
    undisturbed = prepare_tile(tmp_path / "undisturbed.zarr", task, make_map(), cube)
    assert digests(path) == digests(tmp_path / "undisturbed.zarr")
    assert summary.as_dict() == undisturbed.as_dict()


@pytest.mark.parametrize(
    ("tear", "left"),
    [
        (lambda lines: [*lines[:4], lines[4][:-100]], 4),
        (lambda lines: [*lines[:4], lines[4][:-1]], 4),
        (lambda lines: [*lines[:2], b"\x00" * 50 + b"\n", *lines[3:]], 2),
    ],
    ids=["half a line", "a line without its end", "zeros in the middle"],
)
def test_a_torn_line_of_the_journal_is_a_block_that_is_done_again(make_map, work, tmp_path, tear, left):
    """As a kill in the middle of a write, or a node that went down, leaves it."""
    task, cube = work
    path = tmp_path / "tile.zarr"
    with pytest.raises(StepError):
        prepare_tile(path, task, make_map(), Interrupted(cube, blocks=5))
    (journal,) = tmp_path.glob(".tile.*.work/blocks.jsonl")
    journal.write_bytes(b"".join(tear(journal.read_bytes().splitlines(keepends=True))))
    with pytest.raises(StepError):
        prepare_tile(path, task, make_map(), Interrupted(cube, blocks=3))
    repaired = Interrupted(cube, blocks=99)
    summary = prepare_tile(path, task, make_map(), repaired)
    assert len(repaired.read) == 12 - left - 3
    assert summary.as_dict() == prepare_tile(tmp_path / "undisturbed.zarr", task, make_map(), cube).as_dict()


def test_a_job_that_was_killed_after_the_tile_was_in_place_reads_nothing_again(make_map, work, tmp_path):
    """The journal stays until the tile is recorded."""
    task, cube = work
    path = tmp_path / "tile.zarr"
    first = prepare_tile(path, task, make_map(), cube)
    again = Interrupted(cube, blocks=0)
    assert prepare_tile(path, task, make_map(), again).as_dict() == first.as_dict()
    forget_work(path, task.key)
    assert [each.name for each in tmp_path.iterdir()] == ["tile.zarr"]


def test_a_lost_store_makes_the_journal_worthless(make_map, work, tmp_path):
    """Someone cleaned up: all blocks are done again."""
    task, cube = work
    path = tmp_path / "tile.zarr"
    prepare_tile(path, task, make_map(), cube)
    path.rename(tmp_path / "elsewhere.zarr")
    again = Interrupted(cube, blocks=99)
    prepare_tile(path, task, make_map(), again)
    assert len(again.read) == 12
    assert digests(path) == digests(tmp_path / "elsewhere.zarr")


def test_new_inputs_replace_the_tile_and_what_was_begun_from_others(make_map, make_cube, work, tmp_path):
    """Also its record, before its store; a begun one of other inputs is removed."""
    task, cube = work
    path = tmp_path / "tile.zarr"
    prepare_tile(path, task, make_map(), cube)
    (tmp_path / "tile.json").write_text("{}")
    newer = TileYear("r0c0", task.frame, 2018, make_cube(12).scenes, "fedcba9876543210")
    prepare_tile(path, newer, make_map(), make_cube(12))
    forget_work(path, newer.key)
    prepare_tile(tmp_path / "expected.zarr", newer, make_map(), make_cube(12))
    assert digests(path) == digests(tmp_path / "expected.zarr")
    assert sorted(each.name for each in tmp_path.glob("*tile*")) == ["tile.zarr"]
