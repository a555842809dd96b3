"""Jobs that are submitted from a notebook, a script or a worker: the handle on one, and how it comes to be.

Below the connection's work directory they are in ``hook/<Airflow's id, or "notebooks">``, apart from the jobs of
operators: nobody cancels them but whoever holds the handle.
"""

from __future__ import annotations

import random
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar

from airflow.sdk import get_current_context

from headnode.cluster.keyed import submit_keyed
from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import Procedure
from headnode.cluster.queries import AskedJob
from headnode.cluster.submission import SubmitRequest
from headnode.errors import HeadnodeError, JobSpecError
from headnode.hooks.deployment import configured_deployment_id, deployment_id
from headnode.slurm.jobspec import parse_jobspec
from headnode.slurm.record import Labels
from headnode.slurm.script import asks_for_array, expected_elements, render_script

if TYPE_CHECKING:
    from headnode.hooks.slurm import SlurmHook

T = TypeVar("T")
Say = Callable[[str], object]

SUBMIT_TOLERANCE: Final = timedelta(minutes=5)
MAX_KEY_LENGTH: Final = 200
_FOLDER: Final = "hook"
_OUTSIDE: Final = "notebooks"
_KEYS: Final = uuid.UUID("7b0f2d0a-6f5e-5f0a-9d0c-8d3c1a55b1f4")
_FIRST_RETRY_SECONDS: Final = 1.0
_LAST_RETRY_SECONDS: Final = 60.0
#: How many jobs each task instance has submitted through this process.
_SUBMITTED: Final[Counter[str]] = Counter()


class JobFields(TypedDict, total=False):
    """What a job asks for and runs, in the words of ``SlurmJobOperator``."""

    command: Sequence[str] | str | None
    script: str | None
    job_name: str | None
    partition: str | None
    account: str | None
    qos: str | None
    time_limit: str | timedelta | None
    nodes: int | str | None
    ntasks: int | str | None
    ntasks_per_node: int | str | None
    cpus_per_task: int | str | None
    gpus_per_node: int | str | None
    memory: str | None
    sbatch_options: Mapping[str, str | int | bool | None] | None
    components: Sequence[Mapping[str, Any]] | None
    setup: str | None
    env: Mapping[str, str | int | float] | None


@dataclass(frozen=True, kw_only=True)
class SlurmJob:
    """A submitted job. It can be pickled, and ``to_json`` is for XComs, files and notebooks.

    ``directory`` is the job's own on the cluster, absolute; ``key`` is what the job is marked with there; ``elements``
    is how many elements it has (1 for a plain job), None where that can't be told.
    """

    job_id: str
    directory: str
    key: str
    host: str
    is_array: bool = False
    elements: int | None = 1

    def to_json(self) -> dict[str, Any]:
        """Return the handle as JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> SlurmJob:
        """Return the handle that ``to_json`` was called on.

        Raises:
            JobSpecError: it is something else.
        """
        try:
            job = cls(**stored)
        except TypeError as error:
            raise JobSpecError("job", f"{stored!r} is not what SlurmJob.to_json() returns: {error}") from error
        if not re.fullmatch(r"[0-9]{1,10}", str(job.job_id)) or not str(job.directory).startswith("/"):
            raise JobSpecError("job", f"{stored!r} is not what SlurmJob.to_json() returns")
        return job

    @property
    def asked(self) -> AskedJob:
        """What Slurm is asked for: only a job with this key is this one, for ids come round again."""
        return AskedJob(job_id=self.job_id, key=self.key, directory=self.directory)


def tolerantly(hook: SlurmHook, procedure: Callable[[], Procedure[T]], *, tolerance: timedelta, say: Say) -> T:
    """Run a repeatable procedure, again and again while the cluster can't be asked, up to the tolerance.

    Raises:
        HeadnodeError: it can't be done, or the cluster was silent for too long.
    """
    until = time.monotonic() + tolerance.total_seconds()
    pause = _FIRST_RETRY_SECONDS
    while True:
        try:
            return hook.run(procedure(), on_pause=lambda each: say(f"waiting: {each.reason}"))
        except HeadnodeError as error:
            left = until - time.monotonic()
            if not error.retryable or left <= 0:
                raise
            wait = min(pause * random.uniform(0.75, 1.25), left)  # noqa: S311 - spreads load, hides nothing
            say(f"{error} Trying again in {wait:.0f} s, for at most {left:.0f} s more.")
        time.sleep(wait)
        pause = min(pause * 2, _LAST_RETRY_SECONDS)


def submit_job(
    hook: SlurmHook, fields: JobFields, *, key: str | None, code: str | None, tolerance: timedelta, say: Say
) -> SlurmJob:
    """Submit the job, or find the one that ``key`` names; see ``SlurmHook.submit``."""
    unknown = sorted(set(fields) - JobFields.__annotations__.keys())
    if unknown:
        raise JobSpecError(unknown[0], "is no field of a job that is submitted from Python")
    settings = hook.settings
    whose = _whose(key)
    given: dict[str, Any] = {"job_name": whose.job_name, **{k: v for k, v in fields.items() if v is not None}}
    if isinstance(given.get("command"), tuple):
        given["command"] = list(given["command"])
    if settings.account and not given.get("account") and "account" not in (given.get("sbatch_options") or {}):
        given["account"] = settings.account
    spec = parse_jobspec(given)
    place = JobPlace(
        work_directory=f"{settings.work_directory}/{_FOLDER}",
        deployment_id=whose.namespace,
        labels=whose.labels,
        owner=whose.owner,
    )
    archive, code_sha256 = _pack(hook, code, place, whose.dag_file, say) if code is not None else (None, None)
    request = SubmitRequest(
        place=place,
        script=render_script(spec),
        code=archive,
        code_sha256=code_sha256,
        is_array=asks_for_array(spec),
    )
    submitted = tolerantly(
        hook,
        lambda: submit_keyed(request, key=whose.key, settle_seconds=settings.settle_seconds),
        tolerance=tolerance,
        say=say,
    )
    whose.count()
    verb = "found again" if submitted.adopted else "submitted"
    say(f"job {submitted.job_id} {verb} on {settings.ssh.host}, directory {submitted.directory}")
    return SlurmJob(
        job_id=submitted.job_id,
        directory=submitted.directory,
        key=submitted.key,
        host=settings.ssh.host,
        is_array=request.is_array,
        elements=expected_elements(spec),
    )


def _pack(
    hook: SlurmHook, code: str, place: JobPlace, dag_file: str | None, say: Say
) -> tuple[bytes | None, str | None]:
    # Loaded where it is used: most jobs bring no code.
    from headnode.hooks.code_archive import pack_code, resolve_code_folder, stage_code  # noqa: PLC0415
    from headnode.hooks.staging import Options  # noqa: PLC0415

    folder = resolve_code_folder(code, dag_file)
    archive = pack_code(folder)
    if archive is not None:
        return archive, None
    say(f"{folder} is larger than what travels with a job; it is put on the cluster first")
    staged = stage_code(
        hook, folder, deployment_id=f"{_FOLDER}/{place.deployment_id}", options=Options(token=place.owner, delete=True)
    )
    return None, staged


@dataclass(frozen=True, kw_only=True)
class _Whose:
    """Whose job it is: its place among all jobs of hooks, and what follows from that."""

    namespace: str
    labels: Labels
    owner: str
    key: str
    job_name: str
    dag_file: str | None = None
    count: Callable[[], None] = lambda: None


def running_task() -> Any:
    """Return the task instance that this process runs, None in a notebook or a script."""
    try:
        return get_current_context()["ti"]
    except RuntimeError:
        return None


def _whose(key: str | None) -> _Whose:
    ti = running_task()
    namespace = deployment_id() if ti is not None else (configured_deployment_id() or _OUTSIDE)
    dag_file = str(get_current_context()["dag"].fileloc) if ti is not None else None
    if key is not None:
        return _whose_key(_checked_key(key), namespace, dag_file)
    if ti is None:
        owner = str(uuid.uuid4())
        labels = Labels(dag_id="notebook", run_id=owner, task_id="job")
        return _Whose(namespace=namespace, labels=labels, owner=owner, key=owner, job_name="headnode")
    number = _SUBMITTED[str(ti.id)] + 1

    def count() -> None:
        _SUBMITTED[str(ti.id)] = number

    labels = Labels(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=f"{ti.task_id}.{number}",
        map_index=-1 if ti.map_index is None else ti.map_index,
        try_number=ti.try_number,
    )
    return _Whose(
        namespace=namespace,
        labels=labels,
        owner=str(uuid.uuid5(uuid.UUID(str(ti.id)), str(number))),
        key=f"{ti.task_id}.{number}",
        job_name=f"{ti.dag_id}.{ti.task_id}",
        dag_file=dag_file,
        count=count,
    )


def _whose_key(key: str, namespace: str, dag_file: str | None) -> _Whose:
    owner = str(uuid.uuid5(_KEYS, f"{namespace}\0{key}"))
    return _Whose(
        namespace=namespace,
        labels=Labels(dag_id="key", run_id="", task_id=key),
        owner=owner,
        key=key,
        job_name=key,
        dag_file=dag_file,
    )


def _checked_key(key: Any) -> str:
    if not isinstance(key, str) or not key.strip() or len(key) > MAX_KEY_LENGTH or not key.isprintable():
        raise JobSpecError("key", f"{key!r} must be one line of 1 to {MAX_KEY_LENGTH} printable characters")
    return key
