"""The database of a private Airflow: SQLite, with Airflow's tables, and ids of triggers that are never given twice."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from headnode.testing.airflow_processes import AirflowStartError, last_lines
from headnode.testing.airflow_settings import DATABASE_FILE, Settings, environment

BUSY_SECONDS = 30


def prepare_database(settings: Settings, airflow: Sequence[str]) -> None:
    """Make or renew Airflow's tables in the directory; ``airflow`` is the command that does it.

    Raises AirflowStartError where that fails; its output is in ``db-migrate.log``.
    """
    done = subprocess.run(
        [*airflow, "db", "migrate"],
        env=environment(settings),
        cwd=settings.directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    log = settings.directory / "db-migrate.log"
    log.write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        raise AirflowStartError(
            f"airflow db migrate ended with {done.returncode}; the last lines of {log}:\n{last_lines(log)}"
        )
    keep_trigger_ids_unique(settings.directory / DATABASE_FILE)


def keep_trigger_ids_unique(database: Path) -> None:
    """Let SQLite never give the id of a deleted trigger again, as PostgreSQL and MySQL never do.

    Airflow's triggerer tells triggers apart by their id alone. Without AUTOINCREMENT SQLite gives the highest id again
    once its row is gone (https://www.sqlite.org/autoinc.html): a task that is cleared, and deferred anew before the
    triggerer has looked, then has the id of its old trigger, which goes on, and its own is never started.

    Raises AirflowStartError where the table isn't as Airflow 3.3 makes it.
    """
    with closing(sqlite3.connect(database, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        found = connection.execute("SELECT type, sql FROM sqlite_master WHERE tbl_name = 'trigger' AND sql IS NOT NULL")
        made = found.fetchall()
        table = "".join(sql for kind, sql in made if kind == "table")
        if "AUTOINCREMENT" in table:
            return
        new = _with_unique_ids(table, database)
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute(new)
        connection.execute("INSERT INTO trigger_new SELECT * FROM trigger")
        connection.execute("DROP TABLE trigger")
        connection.execute("ALTER TABLE trigger_new RENAME TO trigger")
        for sql in (sql for kind, sql in made if kind == "index"):
            connection.execute(sql)
        connection.execute("COMMIT")


def _with_unique_ids(table: str, database: Path) -> str:
    """Give the statement that makes the table as ``trigger_new``, its ids given once."""
    renamed, name = re.subn(r'^CREATE TABLE "?trigger"?', "CREATE TABLE trigger_new", table)
    column, identifier = re.subn(r"\bid INTEGER NOT NULL", "id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL", renamed)
    statement, key = re.subn(r",\s*CONSTRAINT \w+ PRIMARY KEY \(id\)", "", column)
    if (name, identifier, key) != (1, 1, 1):
        raise AirflowStartError(f"{database}: the table of triggers is not as expected: {table or 'there is none'}")
    return statement
