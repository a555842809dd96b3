"""Versions: their names, their appearing, the link to the one that counts, and the history."""

import json
import threading
from pathlib import Path

import pytest
from landcover_jobs.job import StepError
from landcover_jobs.publishing.history import FILE, add_to_history, read_history
from landcover_jobs.publishing.versions import Version, appearing, current_version, sweep, turn, versions_in, years_in


def test_versions_are_ordered_by_number_and_strangers_are_no_versions(tmp_path: Path):
    """Ten comes after two, and neither files nor links nor half-made folders count."""
    for name in ("v10-ab", "v2-cd", "v02-ee", "version", ".new-v3-ff"):
        (tmp_path / name).mkdir()
    (tmp_path / "v4-aa").touch()
    (tmp_path / "v5-aa").symlink_to("v2-cd")
    assert [str(each) for each in versions_in(tmp_path)] == ["v2-cd", "v10-ab"]
    assert current_version(tmp_path) is None
    assert versions_in(tmp_path / "nowhere") == ()


def test_a_version_appears_whole_or_not_at_all(tmp_path: Path):
    """Whoever fails in the middle leaves nothing behind."""

    def fail() -> None:
        with appearing(tmp_path, Version(1, "aa")) as folder:
            (folder / "classes.tif").write_bytes(b"half")
            assert versions_in(tmp_path) == ()
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert list(tmp_path.iterdir()) == []
    with appearing(tmp_path, Version(1, "aa")) as folder:
        (folder / "classes.tif").write_bytes(b"whole")
    assert (tmp_path / "v1-aa" / "classes.tif").read_bytes() == b"whole"
    assert (tmp_path / "v1-aa").stat().st_mode & 0o777 == 0o755


def test_readers_never_see_a_year_without_a_map(tmp_path: Path):
    """While `current` turns to and fro, a file behind it is always there."""
    versions = [Version(number, "ab") for number in (1, 2)]
    for version in versions:
        (tmp_path / str(version)).mkdir()
        (tmp_path / str(version) / "classes.tif").write_text(str(version))
    turn(tmp_path, versions[0])
    seen, done = set(), threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add((tmp_path / "current" / "classes.tif").read_text())

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(60):
        turn(tmp_path, versions[number % 2])
    done.set()
    reader.join()
    assert seen <= {"v1-ab", "v2-ab"}
    assert seen
    assert current_version(tmp_path) == versions[1]


def test_what_a_killed_publication_has_left_is_swept_away(tmp_path: Path):
    """Temporary folders go; versions and the link stay."""
    (tmp_path / "v1-ab").mkdir()
    turn(tmp_path, Version(1, "ab"))
    (tmp_path / ".new-x").mkdir()
    (tmp_path / ".new-x" / "classes.tif").touch()
    (tmp_path / ".link-x").mkdir()
    sweep(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["current", "v1-ab"]


def test_years_are_those_that_have_a_folder(tmp_path: Path):
    """The collection and the lock beside them are no years."""
    for name in ("2019", "2018", "20189", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "collection.json").touch()
    assert years_in(tmp_path) == (2018, 2019)
    assert years_in(tmp_path / "nowhere") == ()


def test_the_history_keeps_time_year_version_and_who(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A line an action, in the order in which they were taken."""
    monkeypatch.setenv("LANDCOVER_BY", "a.person")
    add_to_history(tmp_path, "publish", 2018, "v1-ab")
    monkeypatch.delenv("LANDCOVER_BY")
    monkeypatch.setenv("SLURM_JOB_USER", "agency")
    add_to_history(tmp_path, "rollback", 2018, "v1-ab")
    first, second = read_history(tmp_path)
    assert (first.action, first.year, first.version, first.by) == ("publish", 2018, "v1-ab", "a.person")
    assert (second.action, second.by) == ("rollback", "agency")
    assert first.time <= second.time


def test_a_line_that_a_crash_cut_short_is_written_over(tmp_path: Path):
    """It never was an action that was completed."""
    add_to_history(tmp_path, "publish", 2018, "v1-ab")
    with (tmp_path / FILE).open("a") as file:
        file.write('{"action": "publish", "ye')
    assert [each.version for each in read_history(tmp_path)] == ["v1-ab"]
    add_to_history(tmp_path, "publish", 2018, "v2-cd")
    assert [each.version for each in read_history(tmp_path)] == ["v1-ab", "v2-cd"]
    assert all(json.loads(line) for line in (tmp_path / FILE).read_text().splitlines())


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path):
    """A history that somebody has spoilt is not read as if nothing were."""
    (tmp_path / FILE).write_text("nonsense\n")
    add_to_history(tmp_path, "publish", 2018, "v1-ab")
    with pytest.raises(StepError, match=r"history\.jsonl, line 1"):
        read_history(tmp_path)
