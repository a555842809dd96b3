"""The form of the connection type ``slurm`` in Airflow's UI, and what Airflow shows of the secrets in it."""

import json
import os
from pathlib import Path

import httpx
import pytest

from headnode.provider_info import get_provider_info

pytestmark = pytest.mark.airflow

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nYW4gaW52ZW50ZWQga2V5\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture
def connections_page(airflow, page, token_of):
    """Return the connection page, as the administrator sees it."""
    page.context.clear_cookies()
    page.context.add_cookies([{"name": "_token", "value": token_of("admin"), "url": airflow.url}])
    page.goto("/connections")
    return page


@pytest.fixture
def as_admin(airflow, token_of):
    """Return a client of Airflow's API."""
    headers = {"Authorization": f"Bearer {token_of('admin')}"}
    with httpx.Client(base_url=airflow.url, headers=headers, trust_env=False) as client:
        yield client


def keep_picture(page, name):
    """Keep a screenshot where they are wanted."""
    if folder := os.environ.get("HEADNODE_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_form_has_headnodes_fields(connections_page):
    """Each field with its help; the key's field keeps line breaks, which a password field would drop."""
    page = connections_page
    page.get_by_role("button", name="Add Connection").click()
    page.get_by_role("combobox").first.click()
    page.keyboard.type("slurm")
    page.get_by_role("option", name="Slurm over SSH").click()
    page.get_by_text("Extra Fields").first.click()
    page.get_by_text("Work directory on the cluster").wait_for()
    keep_picture(page, "connection-form")
    (connection_type,) = get_provider_info()["connection-types"]
    for name, field in connection_type["conn-fields"].items():
        assert page.get_by_text(field["label"], exact=True).count() == 1, name
        assert page.get_by_text(field["description"], exact=True).count() == 1, name
    assert page.locator("textarea[name='element_private_key']").count() == 1
    for name in ("private_key_passphrase", "totp_secret"):
        assert page.locator(f"input[name='element_{name}']").get_attribute("type") == "password"


def test_button_says_what_is_wrong(connections_page, as_admin):
    """The button in the row of a connection shows the sentence, with what to do."""
    connection = {"connection_id": "nobody_there", "conn_type": "slurm", "host": "127.0.0.1", "port": 1, "login": "me"}
    as_admin.post("/api/v2/connections", json=connection).raise_for_status()
    page = connections_page
    page.reload()
    page.get_by_role("row", name="nobody_there").get_by_role("button", name="Test Connection").click()
    page.get_by_text("me@127.0.0.1:1 (connection being tested) can't be reached").wait_for()
    keep_picture(page, "connection-test")


def test_stored_secrets_are_masked(as_admin):
    """Airflow masks by the extra's name, whatever the form's field looks like."""
    secrets = {"private_key": KEY, "private_key_passphrase": "invented"}
    connection = {"connection_id": "masked", "conn_type": "slurm", "extra": json.dumps(secrets)}
    as_admin.post("/api/v2/connections", json=connection).raise_for_status()
    shown = as_admin.get("/api/v2/connections/masked").raise_for_status().json()
    assert json.loads(shown["extra"]) == {"private_key": "***", "private_key_passphrase": "***"}
