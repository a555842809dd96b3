"""What a job's page and its JSON document say, read in a real browser and over HTTP."""

import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from headnode.links import job_page_path
from headnode.slurm.record import JobRecord

pytestmark = pytest.mark.airflow

DAG_ID = "job_pages"
RUN_ID = "run:1+a"
TASK_PAGES = f"/dags/{DAG_ID}/runs/{quote(RUN_ID, safe='')}/tasks"


def path_of(task_id, map_index=-1):
    """Return the path of a task's job page."""
    return job_page_path(DAG_ID, RUN_ID, task_id, map_index)


def keep_picture(page, name):
    """Keep a picture of the page where HEADNODE_PICTURES names a folder, for people to look at."""
    if folder := os.environ.get("HEADNODE_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_running_job(page):
    """State, job and cluster are what one sees first, and the page looks again by itself."""
    page.goto(path_of("running"))
    keep_picture(page, "running")
    assert page.locator("#state").inner_text() == "RUNNING"
    assert page.locator("#job-id").inner_text() == "4711"
    assert page.get_by_role("heading", level=1).inner_text() == "train the land-cover model"
    assert page.locator("header").inner_text().count("gpu[01-02]") == 1
    assert page.get_by_text("Resources").is_visible()
    assert page.locator("meta[http-equiv=refresh]").get_attribute("content") == "10"


def test_ended_job(page):
    """The end, its reason, what was used and each submission are there, and nothing is asked again."""
    page.goto(path_of("out_of_memory"))
    keep_picture(page, "out_of_memory")
    assert page.locator("#state").inner_text() == "OUT_OF_MEMORY"
    assert page.locator("#reason").inner_text() == "OutOfMemory · signal 125"
    assert page.get_by_role("row", name="RUNNING").get_by_text("33 min 48 s").is_visible()
    assert page.get_by_role("strong").get_by_text("76.8 %").is_visible()
    assert page.get_by_role("strong").get_by_text("88.9 %").is_visible()
    assert page.get_by_text("8.0 GiB of 9.0 GiB allocated, 89%; at most 4.0 GiB a task").is_visible()
    assert page.get_by_text("1250.0 kJ").is_visible()
    first, second = page.locator("#submissions tbody tr").all()
    assert "NODE_FAIL" in first.inner_text()
    assert "1 min 01 s" in first.inner_text()
    assert "node gpu07 failed: it is excluded\nafterok:4700" in second.inner_text()
    assert "signal 125" in second.inner_text()
    assert page.get_by_text("constraint=a100").is_visible()
    assert page.locator("meta[http-equiv=refresh]").count() == 0


def test_states_of_an_arrays_elements(page):
    """Those that failed come first."""
    page.goto(path_of("array"))
    keep_picture(page, "array")
    rows = [row.inner_text().split("\t") for row in page.locator("#elements tbody tr").all()]
    assert rows == [["FAILED", "3"], ["OUT_OF_MEMORY", "812"], ["COMPLETED", "0-2, 4-811, 813-999"]]


def test_held_job_says_what_to_do(page):
    """Slurm's word, and what it means."""
    page.goto(path_of("held"))
    keep_picture(page, "held")
    assert page.locator("#reason").inner_text().startswith("JobHeldUser")
    assert page.locator("#advice").inner_text() == (
        "Its owner holds it; it will not start by itself: `scontrol release 4714` lets it go."
    )


def test_markup_in_a_job_name_is_text(page):
    """A job's name may be chosen by whoever may trigger the DAG."""
    page.goto(path_of("out_of_memory"))
    assert page.get_by_role("heading", level=1).inner_text() == "<script>alert('name')</script>"
    assert page.locator("script").count() == 1


def test_tab_of_a_task_instance(page):
    """The tab that the plugin adds shows the job of a task that is not mapped, too."""
    page.goto(f"{TASK_PAGES}/running")
    page.get_by_role("link", name="Slurm job").click()
    frame = page.frame_locator("iframe[title='Slurm job']")
    assert frame.locator("#job-id").inner_text() == "4711"
    assert not frame.locator(".back").is_visible()
    keep_picture(page, "tab")


def test_tab_of_a_mapped_task_instance(page):
    """Each mapped task instance has its own job."""
    page.goto(f"{TASK_PAGES}/mapped/mapped/1")
    page.get_by_role("link", name="Slurm job").click()
    assert page.frame_locator("iframe[title='Slurm job']").locator("#job-id").inner_text() == "5002"


def test_extra_link_leads_to_the_page_and_back(page):
    """The button on the task's details opens the page, and the page leads back to the task."""
    page.goto(f"{TASK_PAGES}/running/details")
    page.locator("a[href*='/headnode/']", has_text="Slurm job").click()
    page.locator("#job-id").wait_for()
    page.locator(".back a").click()
    page.wait_for_url(f"**{TASK_PAGES}/running")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_theme_is_the_one_chosen_in_airflow(page, theme):
    """Airflow's choice wins over the system's, or the tab would be a white hole in a dark page."""
    page.add_init_script(f"localStorage.setItem('theme', '{theme}')")
    page.goto(path_of("out_of_memory"))
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == theme
    keep_picture(page, f"theme-{theme}")


def test_json_document_is_the_record(airflow, ask):
    """A program reads the same record that the XCom holds."""
    document = ask("mapped", document="job.json", user="vera", map_index=1).json()
    assert JobRecord.model_validate(document).job_id == "5002"
    assert document == airflow.xcom(DAG_ID, RUN_ID, "mapped", "slurm_job", map_index=1)


@pytest.mark.parametrize(
    ("task_id", "status", "words"),
    [
        ("no_job", 404, "it is not a Slurm task, or it ended before it submitted one"),
        ("absent", 404, "Airflow knows no task instance"),
        ("from_the_future", 501, "schema version 99; this one reads up to 1"),
        ("damaged", 500, "wrong: submissions"),
    ],
)
def test_what_cannot_be_shown_is_explained(ask, task_id, status, words):
    """Both documents say what is wrong, and never show what they could not read."""
    for document in ("job", "job.json"):
        answer = ask(task_id, document=document, user="vera")
        assert answer.status_code == status
        assert words in answer.text
        assert "secret" not in answer.text


@pytest.mark.parametrize("map_index", ["one", "", "1.5"])
def test_map_index_that_is_no_number_is_refused(ask, map_index):
    """The answer names the value."""
    answer = ask("mapped", document="job.json", user="vera", map_index=map_index)
    assert answer.status_code == 422
    assert f"map_index must be a whole number, not '{map_index}'" in json.loads(answer.text)["detail"]
