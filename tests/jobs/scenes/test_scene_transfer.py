"""Fetching files over HTTP from a server that fails in all the ways servers do."""

import hashlib
import os
from pathlib import Path

import pytest
from landcover_jobs.configuration.images import Transfer
from landcover_jobs.scenes.bands import stated
from landcover_jobs.scenes.checksum import multihash_of
from landcover_jobs.scenes.fetched import Wanted, entries, missing
from landcover_jobs.scenes.fetching import fetch_all
from scene_catalogue import impatient
from stac_server import Drop, NoRanges, Silent, Status, Truncated, WrongBytes, served

SIZE = 3_000_000
HERE = Path(__file__).parent
JOBS = HERE.parents[2] / "dags" / "landcover" / "jobs"
PATIENT = Transfer(**impatient())


@pytest.fixture
def content():
    """Return bytes that do not repeat."""
    return hashlib.shake_256(b"scene").digest(SIZE)


@pytest.fixture
def server(tmp_path, content):
    """Serve one large file."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "B4.tif").write_bytes(content)
    with served(folder) as server:
        yield server


def wanted_from(server, tmp_path, *, checksum=True, size=None) -> Wanted:
    """Return the served file as it is wanted."""
    file = server.folder / "B4.tif"
    said = stated(checksum=multihash_of(file) if checksum else None, size=size)
    return Wanted("S2_A", "B4", f"{server.url}/B4.tif", said, tmp_path / "scenes" / "S2_A")


def outcome_of(wanted, transfer=PATIENT, **options):
    """Fetch one file."""
    return fetch_all([wanted], transfer, **options)


def test_a_file_is_fetched_once(server, tmp_path, content):
    """The second run asks the server nothing."""
    wanted = wanted_from(server, tmp_path)
    outcome = outcome_of(wanted)
    assert (outcome.fetched, outcome.reused, outcome.bytes, outcome.broken) == (1, 0, SIZE, {})
    assert wanted.target.read_bytes() == content
    assert entries(wanted.folder)["B4"].sha256 == hashlib.sha256(content).hexdigest()
    assert sorted(path.name for path in wanted.folder.iterdir()) == ["B4.tif", "item.json"]
    again = outcome_of(wanted)
    assert (again.fetched, again.reused, len(server.requests)) == (0, 1, 1)


def test_a_dropped_connection_is_resumed_where_it_ended(server, tmp_path, content, capsys):
    """More drops than attempts: each brought something, so the count begins anew."""
    server.faults["B4.tif"] = [Drop(500_000)] * 5
    wanted = wanted_from(server, tmp_path)
    outcome = outcome_of(wanted)
    assert wanted.target.read_bytes() == content
    assert outcome.bytes == SIZE
    begins = [int(each.range.removeprefix("bytes=").removesuffix("-")) for each in server.requests[1:]]
    assert begins == [500_000 * number for number in range(1, 6)]
    assert "attempt 2 of 3" in capsys.readouterr().out


def test_a_server_that_is_busy_is_asked_again_after_the_time_it_names(server, tmp_path, content, capsys):
    """Twice 503, then 429 with Retry-After."""
    server.faults["B4.tif"] = [Status(503), Status(429, retry_after="1")]
    wanted = wanted_from(server, tmp_path)
    outcome_of(wanted)
    assert wanted.target.read_bytes() == content
    said = capsys.readouterr().out
    assert "503" in said
    assert "attempt 3 of 3 in 1.0 s" in said


def test_a_server_that_stays_busy_is_given_up(server, tmp_path):
    """The sentence names the scene, the reason and what to do."""
    server.faults["B4.tif"] = [Status(503)] * 3
    outcome = outcome_of(wanted_from(server, tmp_path))
    assert list(outcome.broken) == ["S2_A"]
    for words in ("scene S2_A, B4", "503", "3 attempts in a row", "run `fetch` again", "source.exclude"):
        assert words in outcome.broken["S2_A"]
    assert server.count("B4.tif") == 3


def test_a_file_that_is_not_there_is_not_asked_for_again(server, tmp_path):
    """404 does not pass."""
    wanted = Wanted("S2_A", "B5", f"{server.url}/B5.tif", "", tmp_path / "scenes")
    outcome = outcome_of(wanted)
    assert "404" in outcome.broken["S2_A"]
    assert len(server.requests) == 1


def test_a_server_that_never_answers_is_given_up_and_asked_again(server, tmp_path, content):
    """No byte within the time-out."""
    server.faults["B4.tif"] = [Silent()]
    wanted = wanted_from(server, tmp_path)
    outcome = outcome_of(wanted, Transfer(**impatient(timeout_seconds=0.3)))
    assert outcome.fetched == 1
    assert wanted.target.read_bytes() == content


@pytest.mark.parametrize("fault", [WrongBytes(), Truncated(1000)])
def test_a_file_with_another_checksum_is_fetched_once_more(server, tmp_path, content, fault, capsys):
    """From its beginning; the wrong bytes are nowhere left."""
    server.faults["B4.tif"] = [fault]
    wanted = wanted_from(server, tmp_path)
    assert outcome_of(wanted).fetched == 1
    assert wanted.target.read_bytes() == content
    assert [each.range for each in server.requests] == [None, None]
    assert "once more from the beginning" in capsys.readouterr().out


def test_a_file_that_stays_wrong_is_refused(server, tmp_path):
    """Nothing of it is left where it could be read."""
    server.faults["B4.tif"] = [WrongBytes(), WrongBytes()]
    wanted = wanted_from(server, tmp_path)
    outcome = outcome_of(wanted)
    assert "fetched twice" in outcome.broken["S2_A"]
    assert list(wanted.folder.iterdir()) == []


def test_a_stated_size_is_checked_where_there_is_no_checksum(server, tmp_path):
    """`file:size` alone tells a truncated file."""
    server.faults["B4.tif"] = [Truncated(1000)]
    wanted = wanted_from(server, tmp_path, checksum=False, size=SIZE)
    assert outcome_of(wanted).fetched == 1
    assert wanted.target.stat().st_size == SIZE


def test_a_part_of_another_version_of_the_file_is_not_continued(server, tmp_path):
    """The file changed at the source between two attempts, and nothing is stated of it: its tag tells."""
    server.faults["B4.tif"] = [Drop(500_000), *[Status(503)] * 3]
    wanted = wanted_from(server, tmp_path, checksum=False)
    assert outcome_of(wanted).broken
    newer = hashlib.shake_256(b"newer").digest(SIZE)
    (server.folder / "B4.tif").write_bytes(newer)
    os.utime(server.folder / "B4.tif", (1, 1))
    assert outcome_of(wanted).fetched == 1
    assert server.requests[-1].range == "bytes=500000-"
    assert wanted.target.read_bytes() == newer


def test_a_server_without_ranges_gives_the_whole_file_again(server, tmp_path, content):
    """The part is thrown away."""
    server.faults["B4.tif"] = [Drop(500_000), NoRanges()]
    wanted = wanted_from(server, tmp_path)
    assert outcome_of(wanted).fetched == 1
    assert wanted.target.read_bytes() == content


def test_a_damaged_file_is_fetched_again(server, tmp_path, content):
    """Its size tells without reading it; a change that keeps the size is found by `verify`."""
    wanted = wanted_from(server, tmp_path)
    outcome_of(wanted)
    wanted.target.write_bytes(content[:1000])
    assert missing([wanted]) == [wanted]
    assert outcome_of(wanted).fetched == 1
    wanted.target.write_bytes(bytes(SIZE))
    assert missing([wanted]) == []
    assert outcome_of(wanted, verify=True).fetched == 1
    assert wanted.target.read_bytes() == content


def test_a_few_broken_scenes_stop_the_rest(server, tmp_path):
    """A source that is out of order is not asked a thousand times."""
    wanted = [
        Wanted(f"S{number}", "B4", f"{server.url}/{number}.tif", "", tmp_path / str(number)) for number in range(99)
    ]
    outcome = fetch_all(wanted, Transfer(**impatient(at_once=1)))
    assert len(outcome.broken) > 3
    assert outcome.fetched == 0


def test_s3_in_whole_mode_says_which_mode_it_wants(tmp_path):
    """Before anything is asked."""
    outcome = outcome_of(Wanted("S2_A", "B4", "s3://bucket/B4.tif", "", tmp_path))
    assert "source.transfer.mode: window" in outcome.broken["S2_A"]


def test_files_on_the_cluster_are_used_where_they_are(tmp_path, content):
    """A link, no copy; a file that is written anew afterwards is noticed, and one that is gone is an error."""
    file = tmp_path / "archive" / "B4.tif"
    file.parent.mkdir()
    file.write_bytes(content)
    wanted = Wanted("S2_A", "B4", str(file), stated(checksum=multihash_of(file)), tmp_path / "scenes")
    assert outcome_of(wanted).fetched == 1
    assert wanted.target.resolve() == file
    assert missing([wanted]) == []
    file.write_bytes(content[::-1])
    os.utime(file, (1, 1))
    assert "its sha256 is" in outcome_of(wanted).broken["S2_A"]
    file.unlink()
    assert "no such file" in outcome_of(wanted).broken["S2_A"]


def test_a_broken_record_is_no_record(server, tmp_path):
    """What `item.json` does not say is fetched again."""
    wanted = wanted_from(server, tmp_path)
    outcome_of(wanted)
    (wanted.folder / "item.json").write_text('{"files": {"B4": {"size": 3')
    assert outcome_of(wanted).fetched == 1


def test_an_error_of_the_disk_names_the_folder(server, tmp_path):
    """A file is in the way of the scene's folder."""
    wanted = wanted_from(server, tmp_path)
    wanted.folder.parent.mkdir()
    wanted.folder.write_text("in the way")
    assert str(wanted.folder) in outcome_of(wanted).broken["S2_A"]
