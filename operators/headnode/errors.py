"""The tree of errors: what happened, to which job on which cluster, and what to do.

    HeadnodeError
    ├ JobSpecError(ValueError)      a job description that cannot be right
    ├ TransportError                SSH
    │ ├ HostKeyRefused
    │ ├ AuthenticationRefused
    │ │ └ CredentialExpired*       goes on when the certificate or key is renewed
    │ ├ HostUnreachable*            refused, unresolved or silent before anything was sent
    │ ├ ConnectionLost*             broke while a command may have been running
    │ └ CommandTimedOut*
    ├ SlurmError                    Slurm's own commands
    │ ├ CommandRefused              kind: permanent | policy (a policy may let the job pass later)
    │ ├ OutcomeUnknown
    │ ├ ControllerUnavailable*
    │ └ UnreadableAnswer*
    ├ WaitTimedOut(TimeoutError)*   a job has not ended in the time that was given; it goes on
    ├ PathUnreadable*               a path on the cluster can't be looked at
    ├ TransferError                 files can't be moved to or from the cluster
    │ ├ TransferRefused             what is asked for is never done: special files, a place that must not be replaced
    │ ├ NoSpaceLeft                 a disk or a quota is full
    │ ├ ContentDiffers              what arrived is not what was sent
    │ └ TransferStopped             the task was ended meanwhile
    └ JobError                      the job ended, and not well
      ├ JobFailed
      ├ JobTimedOut
      ├ JobOutOfMemory
      ├ JobCancelled
      ├ NodeFailed*
      ├ DependencyFailed            another job ended so that this one can't start
      ├ JobPendingTooLong
      └ JobLost

``*``: trying again later may help (``retryable``).
"""

from __future__ import annotations

from typing import ClassVar, Literal


class HeadnodeError(Exception):
    """Base of every error that headnode raises on purpose."""

    retryable: ClassVar[bool] = False


class JobSpecError(HeadnodeError, ValueError):
    """A field of a job description cannot be right; found when the DAG is parsed where possible."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem

    def __reduce__(self) -> tuple[type[JobSpecError], tuple[str, str]]:
        return type(self), (self.field, self.problem)


class TransportError(HeadnodeError):
    """SSH could not do what was asked."""


class HostKeyRefused(TransportError):
    """The host's key is unknown or differs from the known one.

    ``shown`` is the key that the host has shown, where it did; ``known`` are those on record, which ``source`` names
    in words. Each is ``<type> <base64>``. ``known_as`` is how a known_hosts file writes the host.
    """

    shown: str | None = None
    known: tuple[str, ...] = ()
    source: str = ""
    known_as: str = ""
    is_jump_host: bool = False


class AuthenticationRefused(TransportError):
    """The host did not accept the credentials.

    ``by_host`` tells that the host itself said so; otherwise they could not even be offered.
    """

    by_host: bool = False


class CredentialExpired(AuthenticationRefused):
    """The certificate or key is past its validity; whoever waits goes on when it is renewed."""

    retryable = True


class HostUnreachable(TransportError):
    """No connection could be made; nothing was sent.

    ``by_host`` tells that the host is there, but lets nobody in at present.
    """

    retryable = True
    by_host: bool = False


class ConnectionLost(TransportError):
    """The connection broke; what was sent may or may not have run."""

    retryable = True


class CommandTimedOut(TransportError):
    """A command gave no answer in time; it may still be running."""

    retryable = True


class SlurmError(HeadnodeError):
    """One of Slurm's commands did not give a usable answer."""


class CommandRefused(SlurmError):
    """Slurm (or the remote shell) refused, and says why.

    ``kind`` is ``permanent`` where the same request can never pass, ``policy`` where a limit or a state of
    the site stands in the way and a later attempt may pass.
    """

    def __init__(self, message: str, *, kind: Literal["permanent", "policy"] = "permanent") -> None:
        super().__init__(message)
        self.kind = kind


class OutcomeUnknown(SlurmError):
    """A submission was sent and no trustworthy answer came back."""


class ControllerUnavailable(SlurmError):
    """slurmctld or slurmdbd does not answer at present."""

    retryable = True


class UnreadableAnswer(SlurmError):
    """An answer does not have the form it must have, as when it was cut."""

    retryable = True


class WaitTimedOut(HeadnodeError, TimeoutError):
    """A job has not ended in the time for which it was waited; it goes on."""

    retryable = True


class PathUnreadable(HeadnodeError):
    """A path on the cluster can't be looked at, so that it is not known whether it is there."""

    retryable = True


class TransferError(HeadnodeError):
    """Files could not be moved to or from the cluster."""


class TransferRefused(TransferError):
    """What is asked for is never done; another try can't help."""


class NoSpaceLeft(TransferError):
    """The disk is full, or the quota is used up."""


class ContentDiffers(TransferError):
    """What arrived is not what was sent, or the source changed meanwhile."""


class TransferStopped(TransferError):
    """The task was ended while files were moved; what had arrived is kept for the next try."""


class JobError(HeadnodeError):
    """A job ended otherwise than well."""


class JobFailed(JobError):
    """The job's command ended with an exit code other than 0."""


class JobTimedOut(JobError):
    """The job ran into its time limit."""


class JobOutOfMemory(JobError):
    """The job was ended because it used more memory than it asked for."""


class JobCancelled(JobError):
    """The job was cancelled by its owner or an administrator."""


class NodeFailed(JobError):
    """A node failed under the job."""

    retryable = True


class JobPendingTooLong(JobError):
    """The job has waited in the queue for longer than it may."""


class DependencyFailed(JobError):
    """A job that this one depends on ended so that this one can never start."""


class JobLost(JobError):
    """Neither squeue nor sacct knows the job any more."""
