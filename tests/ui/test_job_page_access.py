"""Who may read a job's page and its JSON document: what Airflow lets them read, and no more."""

import httpx
import pytest

pytestmark = pytest.mark.airflow

DOCUMENTS = ("job", "job.json")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_nobody_reads_without_logging_in(ask, document):
    """Airflow mounts a plugin's pages without authentication: they must ask for it themselves."""
    answer = ask("running", document=document)
    assert answer.status_code == 401
    assert "4711" not in answer.text


@pytest.mark.parametrize("document", DOCUMENTS)
def test_user_without_access_to_the_dag_is_refused(ask, document):
    """Being logged in is not enough."""
    answer = ask("running", document=document, user="nora")
    assert answer.status_code == 403
    assert "4711" not in answer.text


@pytest.mark.parametrize("document", DOCUMENTS)
def test_viewer_reads(ask, document):
    """Reading needs no more than read access."""
    answer = ask("running", document=document, user="vera")
    assert answer.status_code == 200
    assert "4711" in answer.text


@pytest.mark.parametrize("task_id", ["running", "no_job", "absent"])
def test_refusal_does_not_tell_which_tasks_exist(ask, task_id):
    """The answer is the same whatever is asked for."""
    assert ask(task_id, user="nora").text.count("No access to this job") == 2  # title and heading
    assert ask(task_id).status_code == 401


def test_any_dag_at_once_is_no_dag(ask):
    """Airflow's authorisation reads '~' as no DAG in particular; a page must not."""
    assert ask("running", user="admin", dag_id="~").status_code == 404


@pytest.mark.parametrize("path", ["openapi.json", "docs", "redoc"])
def test_interface_is_not_described_to_strangers(airflow, path):
    """FastAPI's own pages would be open to anyone."""
    assert httpx.get(f"{airflow.url}/headnode/{path}", trust_env=False).status_code == 404


def test_answers_are_kept_out_of_caches_and_foreign_frames(ask):
    """A shared cache must not keep what only some may read, and no other site may frame it."""
    headers = ask("running", user="vera").headers
    assert headers["cache-control"] == "no-store"
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
