"""From an Airflow connection of type ``slurm`` or ``ssh`` to the settings of a cluster."""

from __future__ import annotations

from typing import Final

from airflow.sdk import BaseHook, Connection
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

from headnode.hooks.shared_answers import SharedAnswers
from headnode.ssh.settings import ClusterSettings, ConnectionInvalid, parse_connection

DEFAULT_CONN_ID: Final = "slurm_default"


def settings_of(connection: Connection) -> ClusterSettings:
    """Return the settings in ``connection``.

    Raises:
        ConnectionInvalid: a field can't be right, or the connection is of another type.
        HostKeyRefused: the connection asks not to check host keys.
    """
    conn_id = str(connection.conn_id)
    if connection.conn_type not in ("slurm", "ssh"):
        raise ConnectionInvalid(
            f"connection {conn_id!r} is of type {connection.conn_type!r}; headnode reads types 'slurm' and 'ssh'"
        )
    try:
        extra = connection.extra_dejson
    except ValueError as error:
        raise ConnectionInvalid(f"the extra of connection {conn_id!r} is no JSON object: {error}") from error
    return parse_connection(
        conn_id=conn_id,
        host=connection.host,
        port=connection.port,
        login=connection.login,
        password=connection.password,
        extra=extra,
        budget_directory=conf.get("headnode", "budget_directory", fallback=None) or None,
        triggerers=conf.getint("headnode", "triggerers", fallback=1),
    )


def missing(conn_id: str, error: Exception) -> ConnectionInvalid:
    """Return the error for a connection that Airflow does not have."""
    return ConnectionInvalid(
        f"Airflow has no connection {conn_id!r}: add it under Admin, Connections (type 'slurm' or 'ssh'), or with"
        f" `airflow connections add {conn_id} --conn-type slurm --conn-host LOGIN_NODE --conn-login USER` ({error})"
    )


def load_settings(conn_id: str) -> ClusterSettings:
    """Return the settings of the connection ``conn_id``, for code that runs on a worker.

    Raises:
        ConnectionInvalid: there is no such connection, or it can't be right.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except (AirflowNotFoundException, AirflowRuntimeError) as error:
        raise missing(conn_id, error) from error
    return settings_of(connection)


async def aload_settings(conn_id: str) -> ClusterSettings:
    """Do the same in a triggerer; a changed connection is noticed within ten seconds.

    Raises:
        ConnectionInvalid: there is no such connection, or it can't be right.
    """
    return await _SETTINGS.get(conn_id)


async def _aload_settings(conn_id: str) -> ClusterSettings:
    try:
        connection = await BaseHook.aget_connection(conn_id)
    except (AirflowNotFoundException, AirflowRuntimeError) as error:
        raise missing(conn_id, error) from error
    return settings_of(connection)


_SETTINGS: Final = SharedAnswers(_aload_settings, seconds=10.0)
