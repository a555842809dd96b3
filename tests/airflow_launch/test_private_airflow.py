"""The private Airflow: it runs DAGs, keeps to loopback and to its users, survives kills, and leaves nothing behind."""

import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from seldom_read import SELDOM_READ

from headnode.testing.airflow import AirflowApiError, AirflowStartError, PrivateAirflow
from headnode.testing.airflow_api import AirflowApi
from headnode.testing.airflow_database import keep_trigger_ids_unique
from headnode.testing.airflow_processes import living_processes

pytestmark = pytest.mark.airflow

DAGS = Path(__file__).parent / "dags"
SLEEP = "98765.4321"
RUN_SECONDS = 120


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    """One Airflow with all components for this file."""
    running = PrivateAirflow.start(
        tmp_path_factory.mktemp("airflow") / "home",
        dags_folder=DAGS,
        connections={"some_host": '{"conn_type": "ssh", "host": "h", "password": "very secret"}'},
        users={"ada": "admin", "vera": "viewer"},
        # Triggers of a killed triggerer are taken over after this time.
        env={
            **SELDOM_READ,
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
        },
    )
    yield running
    running.stop()


def processes_of(airflow):
    """Give all living processes of an Airflow."""
    return living_processes(airflow.components, airflow.directory)


def sleepers():
    """Give the ids of the programs that the task ``sleep_long`` runs."""
    return [p.pid for p in psutil.process_iter(["cmdline"]) if SLEEP in (p.info["cmdline"] or [])]


def test_no_trigger_gets_the_id_of_one_that_is_gone(airflow):
    """A triggerer that has not looked meanwhile would take it for the old one, and never start it."""
    added = "INSERT INTO trigger (classpath, kwargs, created_date) VALUES ('none', '', '2000-01-01 00:00:00')"
    with closing(sqlite3.connect(airflow.directory / "airflow.db", timeout=60, isolation_level=None)) as database:
        before = database.execute("SELECT count(*) FROM sqlite_master WHERE type = 'index'").fetchone()
        ids = []
        for _ in range(2):
            database.execute("BEGIN IMMEDIATE")
            ids.append(database.execute(added).lastrowid)
            database.execute("DELETE FROM trigger WHERE id = ?", ids[-1:])
            database.execute("COMMIT")
        assert ids[0] < ids[1]
        keep_trigger_ids_unique(airflow.directory / "airflow.db")  # as at its next start: nothing is done twice
        assert database.execute("SELECT count(*) FROM sqlite_master WHERE type = 'index'").fetchone() == before
        assert "idx_trigger_team_name" in str(database.execute("PRAGMA index_list('trigger')").fetchall())
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_table_of_triggers_that_is_not_airflows_is_named(tmp_path):
    """Airflow of another version may make it otherwise."""
    with closing(sqlite3.connect(tmp_path / "airflow.db", isolation_level=None)) as database:
        with pytest.raises(AirflowStartError, match="there is none"):
            keep_trigger_ids_unique(tmp_path / "airflow.db")
        database.execute("CREATE TABLE trigger (id TEXT)")
    with pytest.raises(AirflowStartError, match=r"airflow\.db: the table of triggers is not as expected: CREATE TABLE"):
        keep_trigger_ids_unique(tmp_path / "airflow.db")


def test_what_the_table_of_triggers_holds_is_kept(tmp_path):
    """With a database of an earlier version of headnode."""
    with closing(sqlite3.connect(tmp_path / "airflow.db", isolation_level=None)) as database:
        database.execute(
            'CREATE TABLE "trigger" (id INTEGER NOT NULL, queue TEXT, CONSTRAINT trigger_pkey PRIMARY KEY (id))'
        )
        database.execute("INSERT INTO trigger VALUES (7, 'kept')")
        database.execute("CREATE TABLE ti (trigger_id INTEGER REFERENCES trigger (id) ON DELETE CASCADE)")
        database.execute("INSERT INTO ti VALUES (7)")
        database.execute("CREATE INDEX by_queue ON trigger (queue)")
    keep_trigger_ids_unique(tmp_path / "airflow.db")
    with closing(sqlite3.connect(tmp_path / "airflow.db", isolation_level=None)) as database:
        database.execute("PRAGMA foreign_keys = ON")
        assert database.execute("SELECT id, queue, trigger_id FROM trigger JOIN ti ON id = trigger_id").fetchall() == [
            (7, "kept", 7)
        ]
        database.execute("DELETE FROM trigger")
        assert database.execute("SELECT * FROM ti").fetchall() == []
        assert database.execute("INSERT INTO trigger (queue) VALUES ('next')").lastrowid == 8


def test_a_run_gives_its_states_its_result_and_its_log(airflow):
    """A DAG run is triggered with params, followed to its end, and read."""
    states = []
    run = airflow.trigger_dag("greeting", conf={"whom": "the cluster"})
    ended = airflow.wait_for_run(
        "greeting", run, timeout_seconds=RUN_SECONDS, on_change=lambda task: states.append(task["state"])
    )
    assert ended == "success"
    assert states[-1] == "success"
    assert airflow.xcom("greeting", run, "greet") == {"whom": "the cluster", "parts": [1, 2]}
    assert "greeting the cluster" in airflow.task_log("greeting", run, "greet").splitlines()


def test_a_failure_is_read_from_the_log_and_a_clear_runs_the_task_again(airflow):
    """The exception's text is in the log; a cleared task has a second try."""
    run = airflow.trigger_dag("failing")
    assert airflow.wait_for_run("failing", run, timeout_seconds=RUN_SECONDS) == "failed"
    assert "ValueError: the reason for the failure" in airflow.task_log("failing", run, "fail")
    airflow.clear("failing", run, ["fail"])
    assert airflow.run_state("failing", run) in {"queued", "running"}
    airflow.wait_for_run("failing", run, timeout_seconds=RUN_SECONDS)
    assert airflow.task_instances("failing", run)[0]["try_number"] == 2


def test_a_killed_triggerer_is_gone_and_the_next_one_ends_the_deferred_task(airflow):
    """SIGKILL ends the triggerer with its runner; a new one takes up what was deferred."""
    run = airflow.trigger_dag("deferring")
    airflow.wait_for_task("deferring", run, "wait", ["deferred"], timeout_seconds=RUN_SECONDS)
    (before,) = airflow.process_ids("triggerer")
    airflow.kill("triggerer")
    assert airflow.process_ids("triggerer") == []
    assert not psutil.pid_exists(before)
    with pytest.raises(AirflowStartError, match="no triggerer is running"):
        airflow.kill("triggerer")
    airflow.start_component("triggerer")
    assert airflow.process_ids("triggerer") not in ([], [before])
    assert airflow.wait_for_run("deferring", run, timeout_seconds=RUN_SECONDS) == "success"


def test_a_deferred_task_can_be_marked(airflow):
    """A state that is set over the API ends the task and its run."""
    run = airflow.trigger_dag("deferring")
    airflow.wait_for_task("deferring", run, "wait", ["deferred"], timeout_seconds=RUN_SECONDS)
    airflow.set_task_state("deferring", run, "wait", "failed")
    assert airflow.wait_for_run("deferring", run, timeout_seconds=RUN_SECONDS) == "failed"


def test_a_dag_that_is_not_there_is_explained_by_the_import_errors(airflow):
    """Waiting for a DAG whose file is broken ends with the file's error."""
    with pytest.raises(AirflowApiError, match="this file is broken on purpose"):
        airflow.wait_for_dag("broken", timeout_seconds=3)


def test_users_have_their_role_and_need_their_password(airflow):
    """A viewer may not trigger, and a wrong password opens nothing."""
    with (
        closing(AirflowApi(airflow.url, "vera", airflow.password("vera"))) as viewer,
        pytest.raises(AirflowApiError) as refused,
    ):
        viewer.api("POST", "/dags/greeting/dagRuns", {"logical_date": None})
    assert refused.value.status == 403
    with (
        closing(AirflowApi(airflow.url, "ada", airflow.password("vera"))) as nobody,
        pytest.raises(AirflowApiError) as unknown,
    ):
        nobody.api("GET", "/dags")
    assert unknown.value.status == 401


def test_only_loopback_listens(airflow):
    """No component opens a port on another address."""
    listening = [
        connection.laddr.ip
        for process in processes_of(airflow)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}


def test_secrets_are_in_files_of_the_owner_and_in_no_command_line(airflow):
    """Passwords, connections and keys: mode 0600 below a directory of mode 0700, nothing in ps."""
    assert stat.S_IMODE(airflow.directory.stat().st_mode) == 0o700
    secrets = ["very secret", *airflow.settings.secrets.values(), airflow.password("ada")]
    command_lines = " ".join(" ".join(p.cmdline()) for p in processes_of(airflow))
    for path in airflow.directory.glob("*.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert not [secret for secret in secrets if secret in command_lines]


def test_a_running_one_is_attached_to_and_not_started_twice(airflow):
    """Another process finds it by its directory."""
    with closing(PrivateAirflow.attach(airflow.directory)) as found:
        assert found.is_running
        assert found.url == airflow.url
        assert found.api("GET", "/version")["version"].startswith("3.")
    with pytest.raises(AirflowStartError, match="already runs"):
        PrivateAirflow.start(airflow.directory, dags_folder=DAGS)


def test_a_second_airflow_runs_beside_and_stop_ends_what_its_tasks_started(airflow, tmp_path):
    """Own port, own database; stop ends even a task's program in a session of its own, and only its own Airflow."""
    second = PrivateAirflow.start(
        tmp_path / "second",
        dags_folder=DAGS,
        components=["api-server", "scheduler", "dag-processor"],
        env=SELDOM_READ,
    )
    try:
        assert second.url != airflow.url
        run = second.trigger_dag("sleeping")
        deadline = time.monotonic() + RUN_SECONDS
        while not sleepers() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert sleepers()
        assert second.run_state("sleeping", run) == "running"
        before = processes_of(second)
    finally:
        second.stop()
    assert len(before) > 3
    assert not [p for p in before if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not sleepers()
    assert airflow.is_running
    assert airflow.api("GET", "/monitor/health")["metadatabase"]["status"] == "healthy"


def test_a_component_that_fails_is_named_with_its_last_words(tmp_path):
    """A start that cannot succeed says why at once, and stops the others."""
    directory = tmp_path / "failing"
    with pytest.raises(AirflowStartError, match=r"(?s)triggerer ended:.*often"):
        PrivateAirflow.start(
            directory,
            dags_folder=DAGS,
            components=["api-server", "triggerer"],
            env={"AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "often"},
        )
    assert living_processes([], directory) == []


def test_a_port_in_use_is_named(tmp_path):
    """Nothing is started where the wanted port is taken."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(AirflowStartError, match=f"port {port} on 127.0.0.1 is in use"):
            PrivateAirflow.start(tmp_path / "home", dags_folder=DAGS, port=port)
    assert not (tmp_path / "home").exists()


def test_an_interrupted_start_leaves_no_process(tmp_path):
    """Ctrl-C while components come up ends all of them."""
    directory = tmp_path / "home"
    program = (
        "import sys; from pathlib import Path; from headnode.testing.airflow import PrivateAirflow;"
        f"PrivateAirflow.start(Path({str(directory)!r}), dags_folder=Path({str(DAGS)!r}),"
        "on_progress=lambda step: print(step, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as starting:
        assert starting.stdout
        while "starting" not in starting.stdout.readline():
            assert starting.poll() is None
        deadline = time.monotonic() + RUN_SECONDS
        while len(found := living_processes([], directory)) < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(starting.pid, signal.SIGINT)
        starting.wait(timeout=30)
    assert len(found) >= 4
    assert not [p for p in found if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert living_processes([], directory) == []
