"""The form of the connection type ``slurm`` in Airflow's UI, and what Airflow shows of the secrets in it."""

import json
import os
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.airflow

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nYW4gaW52ZW50ZWQga2V5\n-----END OPENSSH PRIVATE KEY-----\n"


def test_form_has_headnodes_fields(airflow, page, token_of):
    """The key's field keeps line breaks, which a password field would drop."""
    page.context.clear_cookies()
    page.context.add_cookies([{"name": "_token", "value": token_of("admin"), "url": airflow.url}])
    page.goto("/connections")
    page.get_by_role("button", name="Add Connection").click()
    page.get_by_role("combobox").first.click()
    page.keyboard.type("slurm")
    page.get_by_role("option", name="Slurm over SSH").click()
    page.get_by_text("Extra Fields").first.click()
    page.get_by_text("Work directory on the cluster").wait_for()
    if folder := os.environ.get("HEADNODE_PICTURES"):
        page.screenshot(path=Path(folder) / "connection-form.png", full_page=True)
    assert page.locator("textarea[name='element_private_key']").count() == 1


def test_stored_secrets_are_masked(airflow, token_of):
    """Airflow masks by the extra's name, whatever the form's field looks like."""
    secrets = {"private_key": KEY, "private_key_passphrase": "invented"}
    connection = {"connection_id": "masked", "conn_type": "slurm", "extra": json.dumps(secrets)}
    with httpx.Client(
        base_url=airflow.url, headers={"Authorization": f"Bearer {token_of('admin')}"}, trust_env=False
    ) as client:
        client.post("/api/v2/connections", json=connection).raise_for_status()
        shown = client.get("/api/v2/connections/masked").raise_for_status().json()
    assert json.loads(shown["extra"]) == {"private_key": "***", "private_key_passphrase": "***"}
