"""Files up, a job on them with a large folder of code, and its output down, through a real Airflow."""

import hashlib
import os

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]

COUNT = 'wc -c < ballast.bin > "$1/counted"\ncat "$1"/words >> "$1/counted"\n'


@pytest.fixture(scope="module")
def staged(start, tmp_path_factory):
    """Return a run of the DAG that has ended, and the folder that it was to fill."""
    place = tmp_path_factory.mktemp("staging")
    (place / "inputs").mkdir()
    (place / "inputs" / "words").write_text("naïve words\n")
    (place / "code").mkdir()
    (place / "code" / "count.sh").write_text(COUNT)
    (place / "code" / "ballast.bin").write_bytes(os.urandom(300 * 1024))
    run = start("staging", inputs=str(place / "inputs"), code=str(place / "code"), results=str(place / "results"))
    run.wait()
    return run, place


def test_files_go_up_and_down_and_large_code_with_the_job(staged):
    """Each task tells what is where, in XCom and in its log."""
    run, place = staged
    assert {task: state for task, state in run.states().items() if task != "refused"} == {
        "send": "success",
        "job": "success",
        "fetch": "success",
    }
    text = f"{300 * 1024}\nnaïve words\n"
    assert (place / "results" / "counted").read_text() == text
    assert run.xcom("fetch") == {
        "path": str(place / "results" / "counted"),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "bytes": len(text.encode()),
        "files": 1,
    }
    assert run.xcom("send")["files"] == 1
    log = run.log("send")
    assert "13 B in 1 files to be moved by rsync" in log
    assert "13 B of 13 B, 1 of 1 files" in log
    assert "is in place" in log
    assert "is in place" in run.log("job")


def test_what_can_never_be_done_is_not_tried_again(staged):
    """The home directory is not replaced, whatever the retries."""
    run, _ = staged
    assert run.states()["refused"] == "failed"
    assert run.tries("refused") == 1
    assert "can't be replaced" in run.log("refused")
