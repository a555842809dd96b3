"""``BuildEnvironmentOperator``: the virtual environment of later jobs, as a step of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from airflow.sdk import Context

from headnode.errors import HeadnodeError, JobSpecError
from headnode.hooks.transfer import Stop
from headnode.operators.site_fields import with_files
from headnode.operators.slurm_job import SlurmJobOperator
from headnode.triggers.outcome import to_airflow

if TYPE_CHECKING:
    from headnode.sites.environments.environment import Environment

# The environment's own lines build it; what is left to do is to say where.
_TELL: Final = 'printf \'"%s"\\n\' "$VIRTUAL_ENV" >"$HEADNODE_RESULT"'
_NOT_FOR_BUILDING: Final = ("command", "script", "launch", "code", "start_from_trigger", "components")


class BuildEnvironmentOperator(SlurmJobOperator):
    """Builds the virtual environment of an ``environment`` on the cluster, where it is not there yet.

    Jobs with the same environment find it; they would build it themselves, but this is seen, retried and given
    resources by itself, and need not hold the nodes of a training. What was fetched before it was broken off is kept.
    The XCom ``return_value`` is the path of the environment on the cluster.

    :param environment: as that of the jobs, ``Modules("pytorch") + VirtualEnv("requirements.lock")``
    :param where: in a ``job``, or on the ``login`` host, for sites whose compute nodes have no internet while their
        login hosts do: a worker starts it there, shows its log and waits; it goes on if that worker ends, and the next
        try finds it
    :param poll_seconds: how often to look on the login host
    :param job: everything else that ``SlurmJobOperator`` takes, but what it would run
    """

    def __init__(
        self,
        *,
        environment: Environment | Sequence[Environment] | Mapping[str, Any],
        where: Literal["job", "login"] = "job",
        poll_seconds: float = 5.0,
        **job: Any,
    ) -> None:
        task_id = job.get("task_id")
        for name in _NOT_FOR_BUILDING:
            if job.pop(name, None):
                raise JobSpecError(name, f"can't be given, it is an environment that is built (task {task_id!r})")
        if where not in ("job", "login"):
            raise JobSpecError("where", f"{where!r} is neither 'job' nor 'login' (task {task_id!r})")
        self.where = where
        self.poll_seconds = poll_seconds
        self._stop = Stop()
        super().__init__(environment=environment, command=_TELL, **job)
        if isinstance(self.environment, Mapping) and not _is_built(self.environment):
            raise JobSpecError(
                "environment", f"has nothing that is built; that is VirtualEnv('requirements.lock') (task {task_id!r})"
            )

    def _check_description(self, known: dict[str, Any], unknown: frozenset[str]) -> None:
        # On the login host nothing is due that each job of the site must say.
        account = {"account": known.get("account") or "none"} if self.where == "login" else {}
        super()._check_description({**known, **account}, unknown)

    def on_kill(self) -> None:
        """End what runs on the login host; a job is cancelled by its trigger."""
        self._stop.set()

    def execute(self, context: Context) -> Any:
        """Hand the job to the triggerer, or build on the login host and return where."""
        if self.where == "job":
            return super().execute(context)
        from headnode.hooks.login_build import build_on_login_host  # noqa: PLC0415 - most tasks build in jobs
        from headnode.operators.staging import options_for  # noqa: PLC0415

        try:
            environment = with_files(self.environment, context["dag"].fileloc)
            assert environment is not None  # noqa: S101 - for the type checker
            return build_on_login_host(
                environment,
                conn_id=self.slurm_conn_id,
                site=self.site,
                partition=self.partition,
                poll_seconds=self.poll_seconds,
                options=options_for(context, self, stop=self._stop, delete=True),
            )
        except HeadnodeError as error:
            raise to_airflow(error, about=f"task {self.task_id!r} on connection {self.slurm_conn_id!r}") from None


def _is_built(environment: Mapping[str, Any]) -> bool:
    parts = environment.get("environments", [environment])
    return any(isinstance(part, Mapping) and part.get("kind") == "virtualenv" for part in parts)
