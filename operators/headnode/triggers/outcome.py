"""What a trigger tells the worker that goes on with the task, and the errors it carries there and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypedDict

from airflow.sdk.exceptions import AirflowFailException

from headnode import errors
from headnode.errors import CommandRefused, HeadnodeError, JobSpecError
from headnode.ssh.settings import ConnectionInvalid


class Outcome(TypedDict):
    """The payload of a trigger's event: JSON types only."""

    status: Literal["success", "failed"]
    result: Any
    record: dict[str, Any] | None
    error: str | None  # the class's name in headnode.errors
    message: str | None
    kind: str | None  # of a CommandRefused
    owners: list[str]  # the task instances whose job a failed try may have left on the cluster


_FINAL: Final = (
    JobSpecError,
    ConnectionInvalid,
    errors.HostKeyRefused,
    errors.AuthenticationRefused,
    errors.OutcomeUnknown,
    errors.JobLost,
    errors.DependencyFailed,
    errors.TransferRefused,
)


def success(result: Any, record: dict[str, Any] | None) -> Outcome:
    """Return the outcome of a job that ended well."""
    return Outcome(status="success", result=result, record=record, error=None, message=None, kind=None, owners=[])


def failure(
    error: HeadnodeError, *, about: str, record: dict[str, Any] | None = None, owners: Sequence[str] = ()
) -> Outcome:
    """Return the outcome of an error; ``about`` names the task and the connection in its message.

    ``owners`` are the task instances that may have submitted: this try's, and those whose jobs it was to take over.
    The message holds the job's last lines, and Airflow stores it: what Airflow masks in logs is masked in it, too.
    """
    from airflow.sdk._shared.secrets_masker import redact  # noqa: PLC0415

    return Outcome(
        status="failed",
        result=None,
        record=record,
        error=type(error).__name__,
        message=str(redact(f"{about}: {error}")),
        kind=getattr(error, "kind", None),
        owners=list(owners),
    )


def may_have_left_a_job(outcome: Outcome) -> bool:
    """Whether a try ended because the cluster could not be asked, so that its job may still wait or run."""
    if not outcome.get("owners") or outcome["error"] == "Superseded":
        return False
    return not isinstance(error_in(outcome), errors.JobError | CommandRefused)


def error_in(outcome: Outcome) -> HeadnodeError:
    """Return the error that ``failure`` was given, as near as its class can be found again."""
    kind = getattr(errors, str(outcome["error"]), HeadnodeError)
    message = str(outcome["message"])
    if kind is CommandRefused:
        return CommandRefused(message, kind="policy" if outcome["kind"] == "policy" else "permanent")
    if not (isinstance(kind, type) and issubclass(kind, HeadnodeError)) or issubclass(kind, JobSpecError):
        return HeadnodeError(message)
    return kind(message)


def to_airflow(error: HeadnodeError, *, about: str | None = None, name: str | None = None) -> Exception:
    """Return what to raise in a task for ``error``: an exception that ends retries where they can't help.

    ``about`` is put before the message. ``name`` is the class's name where only that came through (of errors that
    are defined outside ``headnode.errors``).
    """
    refused = isinstance(error, CommandRefused) and error.kind == "permanent"
    final = isinstance(error, _FINAL) and not error.retryable
    if final or refused or name in {"JobSpecError", "ConnectionInvalid", "Superseded"}:
        return AirflowFailException(f"{about}: {error}" if about else str(error))
    return error
