"""A real Airflow with a run of the DAG ``job_pages``, and a real browser that is logged in to it."""

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import sync_playwright
from seldom_read import SELDOM_READ

from headnode.testing.airflow import PrivateAirflow

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DAG_ID = "job_pages"
RUN_ID = "run:1+a"  # characters that an address must not mistake for its own
USERS = {"admin": "admin", "vera": "viewer", "nora": ""}  # nora may log in and read nothing


@pytest.fixture(scope="session")
def airflow(tmp_path_factory):
    """Return a running Airflow in which every task of the DAG has ended."""
    server = PrivateAirflow.start(
        tmp_path_factory.mktemp("airflow"),
        dags_folder=Path(__file__).parent / "dags",
        components=("api-server", "scheduler", "dag-processor"),
        users=USERS,
        env={**SELDOM_READ, "AIRFLOW__CORE__TEST_CONNECTION": "Enabled"},
    )
    try:
        server.trigger_dag(DAG_ID, run_id=RUN_ID)
        assert server.wait_for_run(DAG_ID, RUN_ID, timeout_seconds=90) == "success"
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def token_of(airflow):
    """Return a function that logs a user in and returns the token."""
    tokens = {}

    def token(user):
        if user not in tokens:
            login = {"username": user, "password": airflow.password(user)}
            answer = httpx.post(f"{airflow.url}/auth/token", json=login, trust_env=False)
            tokens[user] = answer.raise_for_status().json()["access_token"]
        return tokens[user]

    return token


@pytest.fixture(scope="session")
def ask(airflow, token_of):
    """Return a function that asks for a task's page or JSON document, as a user or as nobody."""

    def ask_for(task_id, *, document="job", user=None, **query):
        headers = {"Authorization": f"Bearer {token_of(user)}"} if user else {}
        address = f"{airflow.url}/headnode/dags/{query.pop('dag_id', DAG_ID)}/{document}"
        params = {"run_id": RUN_ID, "task_id": task_id, **query}
        return httpx.get(address, params=params, headers=headers, trust_env=False)

    return ask_for


@pytest.fixture(scope="module")
def chromium():
    """Return Debian's browser; no longer than a module, since asyncio can't be used beside Playwright's own loop."""
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is not there, and pages can't be tested without it; `make test` installs it")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, airflow, token_of):
    """Return a page of the browser, logged in as the viewer; scripts that open dialogs make the test fail."""
    with chromium.new_context(base_url=airflow.url, viewport={"width": 1400, "height": 900}) as context:
        cookie = {"name": "_token", "value": token_of("vera"), "url": airflow.url, "httpOnly": True}
        context.add_cookies([cookie])
        page = context.new_page()
        dialogs = []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        yield page
        assert dialogs == []
