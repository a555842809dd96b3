"""Whoever may trigger a run chooses its params: they reach the job byte for byte, and nobody reads them on the way."""

import re

import pytest
from hostile_values import FORGED, hostile_values

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]
COUNT = 300  # of the DAG


def test_params_reach_lists_and_variables_as_they_are(start, tmp_path):
    """No template is rendered twice, no shell reads a word, no line of the log is another's than ours."""
    canaries = tmp_path / "canaries"
    canaries.mkdir()
    values = [
        value
        for value in hostile_values(str(canaries))
        if not re.search("[\0\ud800-\udfff]", value) and len(value) < 1000
    ][:COUNT]
    assert len(values) == COUNT
    run = start("hostile_params", values=values)
    assert run.wait() == "success"
    result = run.xcom("job")
    assert result["words"] == values
    assert result["variables"] == values
    assert list(canaries.iterdir()) == []
    lines = re.split("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", run.log("job"))
    assert [line for line in lines if line.startswith(FORGED)] == []
    assert run.record("job")["state"] == "COMPLETED"
