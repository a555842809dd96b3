"""``SlurmJobOperator``: one Airflow task, one Slurm job, and no worker while it waits and runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import BaseOperator, Context
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR
from airflow.triggers.base import StartTriggerArgs

from headnode.cluster.cancellation import withdraw
from headnode.cluster.lines import describe_cancelled
from headnode.cluster.place import JobPlace
from headnode.errors import HeadnodeError, JobSpecError
from headnode.hooks.connection import DEFAULT_CONN_ID, load_settings
from headnode.hooks.deployment import configured_deployment_id, deployment_id
from headnode.links.slurm_job import SlurmJobLink
from headnode.operators.adoption import forget_owners, leave_job_to_next_try, owners_to_adopt
from headnode.operators.dependencies import check_dependencies, parse_operator_dependencies
from headnode.operators.site_fields import as_data, check_description, with_files
from headnode.operators.start_from_trigger import refuse_what_would_be_lost
from headnode.slurm.policy import ExcludeNode, FailurePolicy, MoreMemory, Resubmit
from headnode.slurm.secrets import check_secret_env
from headnode.slurm.time_limits import render_time_limit
from headnode.slurm.visible import visible_block
from headnode.templated import drop_templated, empty_as_none, is_templated
from headnode.triggers.ending import nothing_is_lost_in_trigger
from headnode.triggers.outcome import Outcome, error_in, to_airflow
from headnode.triggers.preparation import SPEC_FIELDS, labels_of, prepare_trigger
from headnode.triggers.slurm_job import SlurmJobTrigger

if TYPE_CHECKING:
    from headnode.hooks.code_archive import JobCode
    from headnode.sites.environments.environment import Environment
    from headnode.sites.launchers.launcher import Launcher


class SlurmJobOperator(BaseOperator):
    """Runs a command as a Slurm job on the cluster behind an Airflow connection.

    The job runs in its own directory, which holds a copy of ``code``. What it writes as JSON to the file named by
    ``$HEADNODE_RESULT`` (up to 256 KiB) is the task's XCom ``return_value``; of a job array, a list in element order.
    The XCom ``slurm_job`` is the job's record (``headnode.slurm.record.JobRecord``), there from submission on.

    :param slurm_conn_id: an Airflow connection of type ``slurm`` or ``ssh``
    :param command: a list is rendered, then quoted element by element; a text is the author's own shell text
    :param script: a whole batch script in place of ``command``; its own ``#SBATCH`` lines count
    :param job_name: the name in Slurm; ``<dag>.<task>`` by default
    :param partition: and ``account``, ``qos``: Slurm's words; the connection may hold a default account
    :param time_limit: ``01:30:00``, ``2-00``, minutes, or a timedelta
    :param nodes: and ``ntasks``, ``ntasks_per_node``, ``cpus_per_task``, ``gpus_per_node``: counts
    :param memory: for each node, e.g. ``8G``
    :param sbatch_options: anything else that sbatch knows, by its long name; True for an option without a value
    :param components: further components of a heterogeneous job, each a dict of resources (``partition`` to ``memory``
        above, and ``sbatch_options``); the fields above are component 0, in which the command runs. A component has
        the job's own partition, account, QOS and time limit where it gives none
    :param site: the supercomputer, by its name in the catalogue (``headnode sites``): what the job asks for is checked
        against what is known of it when the DAG is parsed, and its partition, GPUs and mandatory options are filled in;
        with ``launch`` or ``environment`` the connection's own site by default
    :param launch: how the command is started over the nodes: ``Torchrun(nodes=4)``, ``Mpi(...)``, ``RayCluster(...)``;
        it decides tasks, CPUs and GPUs where the fields above don't
    :param environment: what the command finds: ``Modules("pytorch") + VirtualEnv(...)``, ``Apptainer(...)``
    :param setup: shell lines before the command
    :param env: environment variables of the job
    :param secret_env: environment variables whose values are secret, each a reference to where Airflow keeps it:
        ``variable:NAME``, ``connection:CONN_ID.password`` (or ``login``, ``host``, ``uri``) or
        ``connection:CONN_ID.extra.KEY``. The values reach the job through a file that only its user can read and that
        it removes when it starts; they are in no script, log, XCom or record. ``docs/secrets.md`` has an example
    :param code: a folder beside the DAG file that goes with the job: up to 256 KiB when packed it travels in the
        trigger; more, up to 1 GiB, the worker puts on the cluster first, where the same content is put once
    :param depends_on: tasks of the same DAG run on whose jobs this one's depends in Slurm, so that all are queued at
        once: a task's id, the task itself, a list of them (``afterok``), or lists by kind (``afterok``, ``afterany``,
        ``aftercorr``, ``afternotok``; ``singleton`` is True). Leave out ``>>`` between them, which would wait for the
        other task's end first. Of a mapped task, the instance with the same map index counts
    :param on_out_of_memory: ``MoreMemory(...)``: after OUT_OF_MEMORY submit again with more memory
    :param on_timeout: ``Resubmit(...)``: after TIMEOUT submit again, by default to go on from a checkpoint: the job
        gets the signal USR1 some time before its end, saves what it needs into the directory ``$HEADNODE_CHECKPOINT``
        and ends with exit code 75; started again, it finds its files there. A command given as a list gets the signal
        itself, and any exit code of it but 0 will do after that; a command as text and a script are shell text, whose
        own ``trap ... USR1`` must do all this. ``docs/checkpoints.md`` is the whole contract, with an example
    :param on_node_fail: ``ExcludeNode(...)``: after NODE_FAIL or BOOT_FAIL submit again without the failed nodes
    :param max_pending: how long a job may wait in Slurm's queue, for other jobs too, before it is cancelled and the
        task fails
    :param start_from_trigger: start in the triggerer, without a worker; refused where something would be lost. A job
        that an outage of the cluster has left behind is not taken over by the next try then, but cancelled
    :param outage_tolerance: how long the cluster may be silent before the task fails; the next try takes its job over

    A submission after a failure is part of the same try: it is no retry of Airflow's, and its reason is in the log and
    in the record. The job finds its number, from 1, in ``$HEADNODE_SUBMISSION``.
    """

    template_fields: Sequence[str] = (*SPEC_FIELDS, "slurm_conn_id", "code")
    template_fields_renderers: ClassVar[dict[str, str]] = {"command": "bash", "script": "bash", "setup": "bash"}
    operator_extra_links = (SlurmJobLink(),)
    ui_color = "#d6e9f8"

    def __init__(
        self,
        *,
        slurm_conn_id: str = DEFAULT_CONN_ID,
        command: Sequence[str] | str | None = None,
        script: str | None = None,
        job_name: str | None = None,
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        time_limit: str | timedelta | None = None,
        nodes: int | str | None = None,
        ntasks: int | str | None = None,
        ntasks_per_node: int | str | None = None,
        cpus_per_task: int | str | None = None,
        gpus_per_node: int | str | None = None,
        memory: str | None = None,
        sbatch_options: Mapping[str, str | int | bool | None] | None = None,
        components: Sequence[Mapping[str, Any]] | None = None,
        site: str | None = None,
        launch: Launcher | Mapping[str, Any] | None = None,
        environment: Environment | Sequence[Environment] | Mapping[str, Any] | None = None,
        setup: str | None = None,
        env: Mapping[str, str | int | float] | None = None,
        secret_env: Mapping[str, str] | None = None,
        code: str | None = None,
        depends_on: Any = None,
        on_out_of_memory: MoreMemory | None = None,
        on_timeout: Resubmit | None = None,
        on_node_fail: ExcludeNode | None = None,
        max_pending: timedelta | None = None,
        start_from_trigger: bool = False,
        outage_tolerance: timedelta = timedelta(hours=24),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.slurm_conn_id = slurm_conn_id
        self.command = list(command) if isinstance(command, list | tuple) else command
        self.script = script
        self.job_name = job_name
        self.partition = partition
        self.account = account
        self.qos = qos
        self.time_limit = time_limit
        self.nodes = nodes
        self.ntasks = ntasks
        self.ntasks_per_node = ntasks_per_node
        self.cpus_per_task = cpus_per_task
        self.gpus_per_node = gpus_per_node
        self.memory = memory
        self.sbatch_options = dict(sbatch_options) if sbatch_options else None
        self.components = [dict(each) for each in components] if components else None
        self.site = site
        self.launch = self._as_data("launch", launch)
        self.environment = self._as_data("environment", environment)
        self.setup = setup
        self.env = dict(env) if env else None
        self.secret_env = dict(secret_env) if isinstance(secret_env, Mapping) else secret_env
        self.code = code
        self.outage_tolerance = outage_tolerance
        self.depends_on = depends_on
        self.on_out_of_memory = on_out_of_memory
        self.on_timeout = on_timeout
        self.on_node_fail = on_node_fail
        self.max_pending = max_pending
        self._templated = self._check_literals()
        if start_from_trigger:
            self._start_in_triggerer()

    def execute(self, context: Context) -> NoReturn:
        """Check the rendered fields, pack the code and hand the job to the triggerer."""
        try:
            check_dependencies(self, self._dependencies, context["dag"])
            trigger = self._trigger(context, owners_to_adopt(context))
        except HeadnodeError as error:
            raise to_airflow(error, about=f"task {self.task_id!r} on connection {self.slurm_conn_id!r}") from None
        self.log.info("the batch script:\n%s", visible_block(trigger.script.rstrip("\n")))
        forget_owners(context, trigger.adopt_owners)
        self.defer(trigger=trigger, method_name="resume", timeout=self.execution_timeout)

    def resume(self, context: Context, event: Outcome) -> Any:
        """Return the job's result, or raise what went wrong.

        Raises:
            HeadnodeError: the job or its following failed.
            AirflowFailException: it failed so that a retry can't help.
        """
        if event["status"] == "success":
            return event["result"]
        leave_job_to_next_try(context, event, self.log, starts_in_trigger=bool(self.start_from_trigger))
        raise to_airflow(error_in(event), name=event["error"])

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Cancel the job where Airflow ends the wait by itself (a timeout, a broken trigger), then go on as ever."""
        if next_method == TRIGGER_FAIL_REPR:
            self._withdraw(context)
        return super().resume_execution(next_method, next_kwargs, context)

    def _check_literals(self) -> frozenset[str]:
        """Check what is known when the DAG is parsed, by the same function as in ``execute``; return the rest."""
        fields = {name: getattr(self, name) for name in SPEC_FIELDS}
        known, templated = drop_templated(fields)
        try:
            if self.secret_env is not None:
                _check_references(self.secret_env)
            self._dependencies = parse_operator_dependencies(self)
            self._policy = FailurePolicy(
                on_out_of_memory=self.on_out_of_memory, on_timeout=self.on_timeout, on_node_fail=self.on_node_fail
            )
            self._check_description(known, templated)
            _check_max_pending(self.max_pending)
            if self.code is not None and not is_templated(self.code) and (dag := self._dag) is not None:
                from headnode.hooks.code_archive import resolve_code_folder  # noqa: PLC0415 - see _prepare_code

                resolve_code_folder(self.code, dag.fileloc)
        except JobSpecError as error:
            raise _named(error, self.task_id) from error
        return templated

    def _check_description(self, known: dict[str, Any], unknown: frozenset[str]) -> None:
        check_description(self, known, self._policy, unknown)

    def _as_data(self, field: str, value: Any) -> Any:
        try:
            return as_data(field, value)
        except JobSpecError as error:
            raise _named(error, self.task_id) from error

    def _trigger(self, context: Context, adopt_owners: list[str], *, takes_arguments: bool = False) -> SlurmJobTrigger:
        code = self._prepare_code(context) if self.code else None
        fields = empty_as_none({name: getattr(self, name) for name in SPEC_FIELDS}, self._templated)
        environment = with_files(fields["environment"], context["dag"].fileloc)
        if environment is not None and environment.wheelhouses():
            self._stage_wheelhouses(context, environment)
        return prepare_trigger(
            {**fields, "environment": environment},
            templated=self._templated,
            ti=context["ti"],
            settings=load_settings(self.slurm_conn_id),
            deployment_id=configured_deployment_id(),
            code=code.archive if code is not None else None,
            code_sha256=code.sha256 if code is not None else None,
            ends_task=nothing_is_lost_in_trigger(self),
            push_result=self.do_xcom_push,
            outage_tolerance_seconds=self.outage_tolerance.total_seconds(),
            depends_on=self._dependencies.to_json() or None,
            policy=self._policy,
            max_pending_seconds=self._max_pending_seconds,
            adopt_owners=adopt_owners,
            takes_arguments=takes_arguments,
        )

    def _prepare_code(self, context: Context) -> JobCode:
        # Loaded where it is used: most workers only hand a trigger to Airflow, and begin anew for each task.
        from headnode.hooks.code_archive import prepare_code, resolve_code_folder  # noqa: PLC0415
        from headnode.hooks.transfer import Stop  # noqa: PLC0415
        from headnode.operators.staging import options_for  # noqa: PLC0415

        assert self.code is not None  # noqa: S101 - for the type checker
        return prepare_code(
            resolve_code_folder(self.code, context["dag"].fileloc),
            conn_id=self.slurm_conn_id,
            deployment_id=deployment_id(),
            options=options_for(context, self, stop=Stop(), delete=True),
        )

    def _stage_wheelhouses(self, context: Context, environment: Environment) -> None:
        from headnode.hooks.transfer import Stop  # noqa: PLC0415 - see _prepare_code
        from headnode.hooks.wheelhouse import stage_wheelhouses  # noqa: PLC0415
        from headnode.operators.staging import options_for  # noqa: PLC0415

        options = options_for(context, self, stop=Stop(), delete=True)
        stage_wheelhouses(environment, conn_id=self.slurm_conn_id, options=options)

    @property
    def _max_pending_seconds(self) -> float | None:
        return self.max_pending.total_seconds() if self.max_pending is not None else None

    def _start_in_triggerer(self) -> None:
        fields = {name: getattr(self, name) for name in SPEC_FIELDS}
        try:
            refuse_what_would_be_lost(self, fields, code=self.code)
        except JobSpecError as error:
            raise _named(error, self.task_id) from error
        if isinstance(self.time_limit, timedelta):
            fields["time_limit"] = render_time_limit(self.time_limit)
        self.start_from_trigger = True
        # Airflow sends the whole DAG to the triggerer with each such task, and reads it in the loop that all triggers
        # share: what a task leaves empty is left out of it.
        self.template_fields = tuple(name for name in self.template_fields if getattr(self, name) is not None)
        arguments = {
            **fields,
            "depends_on": self._dependencies.to_json() or None,
            "policy": self._policy.to_json() or None,
            "max_pending_seconds": self._max_pending_seconds,
        }
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="headnode.triggers.slurm_job_start.SlurmJobStartTrigger",
            trigger_kwargs={
                "slurm_conn_id": self.slurm_conn_id,
                "templated": sorted(self._templated),
                "push_result": self.do_xcom_push,
                "outage_tolerance_seconds": self.outage_tolerance.total_seconds(),
                **{name: value for name, value in arguments.items() if value is not None},
            },
            next_method="resume",
            timeout=self.execution_timeout,
        )

    def _withdraw(self, context: Context) -> None:
        from headnode.hooks.slurm import SlurmHook  # noqa: PLC0415 - see _prepare_code

        hook = SlurmHook(self.slurm_conn_id)
        try:
            place = JobPlace(
                work_directory=hook.settings.work_directory,
                deployment_id=deployment_id(),
                labels=labels_of(context["ti"]),
                owner=str(context["ti"].id),
            )
            cancelled = hook.run(withdraw(place))
        except HeadnodeError as error:
            self.log.error("the job could not be cancelled, look at the cluster: %s", error)  # noqa: TRY400
        else:
            self.log.info("%s", describe_cancelled(cancelled))
        finally:
            hook.transport.close()


def _check_references(secret_env: Any) -> None:
    try:
        check_secret_env(secret_env, is_template=is_templated)
    except ValueError as error:
        raise JobSpecError("secret_env", str(error)) from None


def _check_max_pending(value: Any) -> None:
    if value is not None and not (isinstance(value, timedelta) and value > timedelta(0)):
        raise JobSpecError("max_pending", f"{value!r} is no positive timedelta")


def _named(error: HeadnodeError, task_id: str) -> HeadnodeError:
    """Return the error of the job description with the task's name in its message."""
    if isinstance(error, JobSpecError):
        return JobSpecError(error.field, f"{error.problem} (task {task_id!r})")
    return error
