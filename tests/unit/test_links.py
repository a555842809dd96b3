"""Where the link of a task leads."""

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from airflow.sdk.types import TaskInstanceKey
from hypothesis import given
from hypothesis import strategies as st

from headnode.links import SlurmJobLink, airflow_path, job_page_path


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1), st.integers(-1, 10_000))
def test_any_ids_come_back_out_of_the_address(dag_id, run_id, task_id, map_index):
    """Ids may hold slashes, plus signs, question marks and letters of any language."""
    address = urlsplit(job_page_path(dag_id, run_id, task_id, map_index))
    _, prefix, _, dag, page = address.path.split("/")
    assert (prefix, unquote(dag), page) == ("headnode", dag_id, "job")
    assert parse_qs(address.query, keep_blank_values=True) == {
        "run_id": [run_id],
        "task_id": [task_id],
        "map_index": [str(map_index)],
    }
    assert address.netloc == ""


@pytest.mark.parametrize(
    ("base_url", "path"),
    [
        ("", ""),
        ("http://localhost:8080", ""),
        ("https://example.org/", ""),
        ("https://example.org/airflow/", "/airflow"),
    ],
)
def test_address_is_below_the_path_that_airflow_is_served_at(monkeypatch, base_url, path):
    """A proxy may serve Airflow below a path; the host's name is left to the browser."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    assert airflow_path() == path
    assert job_page_path("d", "r", "t").startswith(f"{path}/headnode/dags/d/job?")


def test_link_of_a_task_instance():
    """Airflow asks with the task instance's key, whose map index is None or -1 where it is not mapped."""
    key = TaskInstanceKey(dag_id="d", task_id="t", run_id="r", try_number=2, map_index=-1)
    expected = "/headnode/dags/d/job?run_id=r&task_id=t&map_index=-1"
    assert SlurmJobLink().get_link(None, ti_key=key).endswith(expected)
    assert SlurmJobLink().get_link(None, ti_key=key._replace(map_index=None)).endswith(expected)
