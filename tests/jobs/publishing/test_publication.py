"""Publishing and rolling back: nothing twice, nothing half, and a crash anywhere is mended by the next run."""

import itertools
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from landcover_jobs.job import StepError
from landcover_jobs.publishing.history import read_history
from landcover_jobs.publishing.publication import Outcome, publish, roll_back
from landcover_jobs.publishing.versions import current_version, versions_in

WHOLE = {
    "classes.tif", "confidence.tif", "observations.tif", "legend.json", "classes.qml", "classes.sld", "quicklook.png",
    "report.html", "metrics.json", "provenance.json", "item.json",
}  # fmt: skip
KILLED = -signal.SIGKILL


def files_of(maps: Any, year: int) -> set[str]:
    """Return the files of the version that counts."""
    return {path.name for path in (maps.folder.versions(year) / "current").iterdir()}


def catalogued(maps: Any) -> list[str]:
    """Return what the collection names."""
    collection = json.loads((maps.folder.published / "collection.json").read_text())
    return [link["href"] for link in collection["links"] if link["rel"] == "item"]


def deprecated(maps: Any, year: int) -> dict[str, bool]:
    """Return which items say that they are out of date."""
    home = maps.folder.versions(year)
    items = {str(each): json.loads((home / str(each) / "item.json").read_text()) for each in versions_in(home)}
    return {name: item["properties"]["deprecated"] for name, item in items.items()}


def test_the_first_map_is_version_one_and_whole(maps, make_land):
    """A folder with all files, the link, the catalogue and a line of history."""
    outcome = maps.published(2018, make_land(50))
    assert outcome.published
    assert outcome.before is None
    assert outcome.version.number == 1
    assert files_of(maps, 2018) == WHOLE
    assert catalogued(maps) == [f"./2018/{outcome.version}/item.json"]
    assert [(each.action, each.version) for each in read_history(maps.folder.published)] == [
        ("publish", str(outcome.version))
    ]


def test_the_next_year_has_a_change_layer_and_a_number_of_its_own(maps, make_land):
    """Numbers are counted for each year."""
    first = maps.published(2018, make_land(50))
    changed = make_land(50)
    changed[20:30, 5:12] = 30
    outcome = maps.published(2019, changed)
    assert outcome.version.number == 1
    assert files_of(maps, 2019) == WHOLE | {"change.tif"}
    metrics = json.loads((maps.folder.versions(2019) / "current" / "metrics.json").read_text())
    assert metrics["previous"] == {"year": 2018, "version": str(first.version)}
    assert metrics["change"]["changed_pixels"] > 50


def test_the_same_content_publishes_nothing(maps, make_land):
    """No folder, no line of history, no touched file."""
    product = maps.prepared(2018, make_land(50))
    first = publish(product, maps.folder)
    before = {path: path.stat().st_mtime_ns for path in maps.folder.published.rglob("*") if path.name != ".lock"}
    again = publish(product, maps.folder)
    after = {path: path.stat().st_mtime_ns for path in maps.folder.published.rglob("*") if path.name != ".lock"}
    assert again == Outcome(published=False, version=first.version, before=None)
    assert before == after


def test_when_it_is_run_and_how_long_it_may_take_are_no_new_content(maps, make_land):
    """Resources, schedule and later years leave the version as it is; a new title does not."""
    land = make_land(50)
    first = maps.published(2018, land)
    elsewhere = maps.reconfigured(
        resources={"train": {"memory": "64G"}}, years={"first": 2016, "last": 2030}, schedule={"month": 3}
    )
    assert not elsewhere.published(2018, land).published
    second = maps.reconfigured(title="Land cover, renamed").published(2018, land)
    assert second.published
    assert (second.version.number, second.before) == (2, first.version)


def test_going_back_to_older_content_turns_to_the_version_that_has_it(maps, make_land):
    """A, then B, then A again: two versions, and the first one counts."""
    first = maps.published(2018, make_land(50, seed=1))
    second = maps.published(2018, make_land(50, seed=2))
    third = maps.published(2018, make_land(50, seed=1))
    assert third == Outcome(published=True, version=first.version, before=second.version)
    assert len(versions_in(maps.folder.versions(2018))) == 2
    assert deprecated(maps, 2018) == {str(first.version): False, str(second.version): True}


def test_a_layer_that_is_not_what_mosaic_wrote_is_not_published(maps, make_land):
    """A changed byte stops it; the version before stays."""
    first = maps.published(2018, make_land(50, seed=1))
    product = maps.prepared(2018, make_land(50, seed=2))
    layer = product.folder / "confidence.tif"
    spoilt = bytearray(layer.read_bytes())
    spoilt[len(spoilt) // 2] ^= 1
    layer.write_bytes(spoilt)
    with pytest.raises(StepError, match=r"confidence\.tif is not what `mosaic` has written"):
        publish(product, maps.folder)
    layer.unlink()
    with pytest.raises(StepError, match=r"confidence\.tif is missing: run the step `mosaic` again"):
        publish(product, maps.folder)
    home = maps.folder.versions(2018)
    assert current_version(home) == first.version
    assert sorted(path.name for path in home.iterdir()) == ["current", str(first.version)]


def test_rolling_back_turns_to_the_version_before_and_says_so(maps, make_land):
    """By the word `previous` or by name; the newer one is deprecated, and stays."""
    first = maps.published(2018, make_land(50, seed=1))
    second = maps.published(2018, make_land(50, seed=2))
    back = roll_back(maps.configuration, maps.folder, 2018, "previous")
    assert back == Outcome(published=True, version=first.version, before=second.version)
    assert current_version(maps.folder.versions(2018)) == first.version
    assert deprecated(maps, 2018) == {str(first.version): False, str(second.version): True}
    forth = roll_back(maps.configuration, maps.folder, 2018, str(second.version))
    assert forth == Outcome(published=True, version=second.version, before=first.version)
    actions = [(each.action, each.version) for each in read_history(maps.folder.published)]
    one, two = str(first.version), str(second.version)
    assert actions == [("publish", one), ("publish", two), ("rollback", one), ("rollback", two)]


def test_a_rerun_does_not_undo_a_rollback(maps, make_land):
    """A person's decision holds until there is new content."""
    first = maps.published(2018, make_land(50, seed=1))
    second = maps.published(2018, make_land(50, seed=2))
    roll_back(maps.configuration, maps.folder, 2018, "previous")
    rerun = maps.published(2018, make_land(50, seed=2))
    assert (rerun.published, rerun.version) == (False, second.version)
    assert current_version(maps.folder.versions(2018)) == first.version
    third = maps.published(2018, make_land(50, seed=3))
    assert (third.published, third.version.number, third.before) == (True, 3, first.version)


def test_rolling_back_twice_to_the_same_version_is_the_same(maps, make_land):
    """A retried task gets the same answer, and the history one line."""
    first = maps.published(2018, make_land(50, seed=1))
    maps.published(2018, make_land(50, seed=2))
    for _ in range(2):
        assert roll_back(maps.configuration, maps.folder, 2018, str(first.version)).published
    assert [each.action for each in read_history(maps.folder.published)] == ["publish", "publish", "rollback"]


def test_an_unknown_version_is_answered_by_those_there_are(maps, make_land):
    """Nothing turns."""
    with pytest.raises(StepError, match="nothing of 2018 is published"):
        roll_back(maps.configuration, maps.folder, 2018, "previous")
    first = maps.published(2018, make_land(50))
    with pytest.raises(StepError, match=f"2018 has no version v9-abc; there are: {first.version}"):
        roll_back(maps.configuration, maps.folder, 2018, "v9-abc")
    with pytest.raises(StepError, match=f"no version of 2018 counted before .* there are: {first.version}"):
        roll_back(maps.configuration, maps.folder, 2018, "previous")
    assert current_version(maps.folder.versions(2018)) == first.version


def test_old_versions_go_but_never_one_that_counts(maps, make_land):
    """`keep_versions` spares the current one and the one that a current change layer is against."""
    maps = maps.reconfigured(product={"keep_versions": 2})
    versions = [maps.published(2018, make_land(50, seed=1)).version]
    maps.published(2019, make_land(50, seed=9))  # its change is against the first of 2018
    versions += [maps.published(2018, make_land(50, seed=seed)).version for seed in (2, 3, 4)]
    assert versions_in(maps.folder.versions(2018)) == (versions[0], versions[2], versions[3])
    assert [href for href in catalogued(maps) if "/2018/" in href] == [
        f"./2018/{version}/item.json" for version in (versions[0], versions[2], versions[3])
    ]
    roll_back(maps.configuration, maps.folder, 2018, str(versions[2]))
    maps.published(2019, make_land(50, seed=8))  # now against the third
    kept = versions_in(maps.folder.versions(2018))
    assert kept == (versions[2], versions[3])
    fresh = maps.published(2018, make_land(50, seed=5)).version
    assert fresh.number == 5
    removed = [each.version for each in read_history(maps.folder.published) if each.action == "remove"]
    assert removed[:2] == [str(versions[1]), str(versions[0])]


def killed_at(moment: int, folder: Path, work: Any) -> int:
    """Do the work in a child that is killed (-9) before it changes `folder` for the n-th time; return how it ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seen = itertools.count(1)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        changes = event in {"os.rename", "os.symlink", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "os.chmod"}
        opens = event == "open" and isinstance(arguments[1], str) and arguments[1][0] in "wax"
        if not (changes or opens) or not str(arguments[0]).startswith(str(folder)):
            return
        # The many files within a version that nobody sees yet are all alike: the first one stands for them.
        paths = [str(each) for each in arguments[: 2 if event == "os.rename" else 1]]
        inside = all(".new-" in path for path in paths)
        if not (inside and Path(str(arguments[0])).name != "classes.tif") and next(seen) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    try:
        work()
    except BaseException:  # noqa: BLE001 - a child of the test must not go on as a second test run
        os._exit(1)
    os._exit(0)


def readable(maps: Any, year: int) -> str:
    """Return the version that a reader gets, having read it whole, by the link and by the catalogue."""
    home = maps.folder.versions(year)
    version = (home / "current").readlink().name
    assert files_of(maps, year) >= WHOLE
    for href in catalogued(maps):
        assert json.loads((maps.folder.published / href).read_text())["id"].endswith(Path(href).parent.name)
    return version


def test_killed_while_it_is_built_the_map_before_stays_and_a_rerun_publishes(maps, make_land):
    """Until the version has appeared nothing of it can be seen."""
    old = maps.published(2018, make_land(24, seed=1)).version
    for moment in itertools.count(1):
        product = maps.prepared(2018, make_land(24, seed=100 + moment))
        assert killed_at(moment, maps.folder.published, lambda: publish(product, maps.folder)) == KILLED  # noqa: B023
        if len(versions_in(maps.folder.versions(2018))) > moment:
            break
        assert readable(maps, 2018) == str(old)
        old = _completed(maps, product)
    assert moment >= 4


def test_killed_after_it_has_appeared_a_rerun_completes_it(maps, make_land, tmp_path):
    """At each change between the version's appearing and the end: link, items, collection, removal, history."""
    maps = maps.reconfigured(product={"keep_versions": 2})
    for seed in (1, 2):
        old = maps.published(2018, make_land(24, seed=seed)).version
    product = maps.prepared(2018, make_land(24, seed=3))

    def work() -> None:
        publish(product, maps.folder)

    published, appeared = maps.folder.published, tmp_path / "appeared"
    for moment in itertools.count(1):
        assert killed_at(moment, published, work) == KILLED
        if len(versions_in(maps.folder.versions(2018))) == 3:
            break
    shutil.copytree(published, appeared, symlinks=True)
    seen = []
    for moment in itertools.count(1):
        shutil.rmtree(published)
        shutil.copytree(appeared, published, symlinks=True)
        if killed_at(moment, published, work) == 0:
            break
        seen.append(readable(maps, 2018))
        _completed(maps, product)
    assert len(seen) >= 12
    assert sorted(set(seen), key=seen.index) == [str(old), str(current_version(maps.folder.versions(2018)))]


def _completed(maps: Any, product: Any) -> Any:
    """Run a publication again, and check that all is as if nothing had happened."""
    outcome = publish(product, maps.folder)
    assert readable(maps, 2018) == str(outcome.version)
    home = maps.folder.versions(2018)
    assert not [path for path in home.iterdir() if path.name.startswith(".")]
    assert list(deprecated(maps, 2018).values()).count(False) == 1
    assert len(catalogued(maps)) == len(versions_in(home)) <= (maps.configuration.product.keep_versions or 99)
    published = [each.version for each in read_history(maps.folder.published) if each.action == "publish"]
    assert published.count(str(outcome.version)) == 1
    return outcome.version


def test_a_rollback_killed_anywhere_is_completed_by_the_next_one(maps, make_land):
    """The word `previous` means the same version when the step runs again."""
    first = maps.published(2018, make_land(24, seed=1)).version
    second = maps.published(2018, make_land(24, seed=2)).version

    def back() -> None:
        roll_back(maps.configuration, maps.folder, 2018, "previous")

    for moment in itertools.count(1):
        if killed_at(moment, maps.folder.published, back) == 0:
            break
        assert readable(maps, 2018) in {str(first), str(second)}
        assert roll_back(maps.configuration, maps.folder, 2018, "previous").version == first
        assert readable(maps, 2018) == str(first)
        roll_back(maps.configuration, maps.folder, 2018, str(second))
    assert moment > 5
    assert np.all([not path.name.startswith(".link") for path in maps.folder.versions(2018).iterdir()])
