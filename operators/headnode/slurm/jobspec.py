"""The description of a job: what is asked of Slurm, checked field by field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from headnode.errors import JobSpecError
from headnode.slurm.environment import check_environment, check_length
from headnode.slurm.secrets import check_secret_env
from headnode.slurm.time_limits import parse_time_limit, render_time_limit

# What headnode itself passes to sbatch; asking for it twice would make two answers.
OWNED_OPTIONS: Final = frozenset(
    {
        "wrap",
        "parsable",
        "chdir",
        "output",
        "error",
        "job-name",
        "comment",
        "open-mode",
        "test-only",
        "wait",
        "quiet",
        # These print something, and submit nothing.
        "help",
        "usage",
        "version",
    }
)
# Options of sbatch that are fields here.
_FIELDS: Final = {
    "partition": "partition",
    "account": "account",
    "qos": "qos",
    "time": "time_limit",
    "nodes": "nodes",
    "ntasks": "ntasks",
    "ntasks-per-node": "ntasks_per_node",
    "cpus-per-task": "cpus_per_task",
    "gpus-per-node": "gpus_per_node",
    "mem": "memory",
}
#: What a component of a heterogeneous job takes from the job itself where it does not say otherwise.
INHERITED: Final = ("partition", "account", "qos", "time_limit")
_OF_THE_WHOLE_JOB: Final = frozenset({"array", "dependency", "begin", "requeue", "no-requeue", "signal", "hold"})
MAX_JOB_NAME_LENGTH: Final = 200
_LONGEST_PROBLEM: Final = 500

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNSENDABLE = re.compile(r"[\x00\ud800-\udfff]")
_MEMORY = re.compile(r"[0-9]+[KMGT]?")
_OPTION_NAME = re.compile(r"[a-z][a-z0-9]+(?:-[a-z0-9]+)*")


def _text(value: str) -> str:
    if _UNSENDABLE.search(value):
        raise ValueError(f"{value[:80]!r} contains a NUL character or half a character, which no script can hold")
    return value


def _one_line(value: str) -> str:
    _text(value)
    if _CONTROL.search(value):
        raise ValueError(f"{value!r} contains a newline or another control character, which would end the #SBATCH line")
    return value


def _word(value: str) -> str:
    if not value or value != value.strip() or re.search(r"\s", value):
        raise ValueError(f"{value!r} must be one word without blanks")
    return _one_line(value)


def _job_name(value: str) -> str:
    if not value.strip() or len(value) > MAX_JOB_NAME_LENGTH:
        raise ValueError(f"must have 1 to {MAX_JOB_NAME_LENGTH} characters, has {len(value)}")
    return _one_line(value)


def _memory(value: str) -> str:
    if not _MEMORY.fullmatch(value):
        raise ValueError(f"{value!r} is no memory size; write a whole number and K, M, G or T, e.g. '8G'")
    return value


def _time_limit(value: str | timedelta) -> timedelta:
    if isinstance(value, str):
        return parse_time_limit(value)
    if not isinstance(value, timedelta):
        raise ValueError(f"{value!r} is neither a text such as '01:00:00' nor a timedelta")  # noqa: TRY004 - pydantic reads ValueError
    if value <= timedelta(0):
        raise ValueError(f"{value} is no positive time")
    return value


def whole_number(value: Any) -> Any:
    """Return a number that a template may have rendered to text. Raises ValueError for anything else."""
    # Templates render to text, so '4' must be as good as 4.
    if isinstance(value, bool) or (isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}", value.strip())):
        raise ValueError(f"{value!r} is no whole number")
    return int(value) if isinstance(value, str) else value


def _mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a dict, not {value!r}")  # noqa: TRY004 - pydantic reads ValueError
    return value


def _sbatch_options(options: Any) -> dict[str, str | None]:
    checked: dict[str, str | None] = {}
    for name, value in _mapping(options).items():
        if not _OPTION_NAME.fullmatch(str(name)):
            raise ValueError(
                f"{name!r} is no long option name of sbatch; write e.g. 'constraint' without dashes before it"
            )
        if any(owned.startswith(name) for owned in OWNED_OPTIONS):  # sbatch takes names that are cut, too
            raise ValueError(f"{name!r} is set by headnode itself and can't be given")
        if value is None or value is True:
            checked[name] = None
        elif isinstance(value, str | int) and value is not False:
            checked[name] = _one_line(str(value))
        else:
            raise ValueError(f"{name!r} must be text, a number, or True for an option without a value, not {value!r}")
    return checked


def _environment(variables: Any) -> dict[str, str]:
    return check_environment(_mapping(variables))


Text = Annotated[str, AfterValidator(_text)]
WordOfCommand = Annotated[str, AfterValidator(_text), AfterValidator(check_length)]
Word = Annotated[str, AfterValidator(_word)]
Count = Annotated[int, Field(ge=1), BeforeValidator(whole_number)]
CountOrZero = Annotated[int, Field(ge=0), BeforeValidator(whole_number)]


class Resources(BaseModel):
    """What is asked for the job, or for one component of it. Numbers are counts; ``memory`` is per node (``8G``)."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,  # a traceback is no place for the values of env
    )

    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    time_limit: Annotated[timedelta, BeforeValidator(_time_limit)] | None = None
    nodes: Count | None = None
    ntasks: Count | None = None
    ntasks_per_node: Count | None = None
    cpus_per_task: Count | None = None
    gpus_per_node: CountOrZero | None = None
    memory: Annotated[str, AfterValidator(_memory)] | None = None
    sbatch_options: Annotated[dict[str, str | None], BeforeValidator(_sbatch_options)] = {}

    def directives(self) -> list[tuple[str, str | None]]:
        """Return the ``#SBATCH`` options in a fixed order, as (long name, value or None)."""
        owned = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "time": render_time_limit(self.time_limit) if self.time_limit else None,
            "nodes": self.nodes,
            "ntasks": self.ntasks,
            "ntasks-per-node": self.ntasks_per_node,
            "cpus-per-task": self.cpus_per_task,
            "gpus-per-node": self.gpus_per_node or None,
            "mem": self.memory,
        }
        fixed: list[tuple[str, str | None]] = [(name, str(value)) for name, value in owned.items() if value is not None]
        return fixed + sorted(self.sbatch_options.items())

    def requested(self) -> dict[str, Any]:
        """Return the directives as the record keeps them."""
        return {name: True if value is None else value for name, value in self.directives()}


class JobSpec(Resources):
    """What a job asks for, and what it runs.

    ``components`` make it a heterogeneous job: the job's own resources are component 0, where its script runs, and
    each further one has its own. Of a component, the fields in ``INHERITED`` are the job's where they are not given.
    ``launch_prefix`` is shell text that starts the command, which follows it on its line (``srun``).
    """

    job_name: Annotated[str, AfterValidator(_job_name)]
    command: list[WordOfCommand] | Text | None = None
    script: Text | None = None
    setup: Text | None = None
    launch_prefix: Text | None = None
    env: Annotated[dict[str, str], BeforeValidator(_environment)] = {}
    secret_env: Annotated[dict[str, str], BeforeValidator(check_secret_env)] = {}
    components: list[Resources] = []

    def component_directives(self) -> list[list[tuple[str, str | None]]]:
        """Return the options of each further component, as ``directives`` does for the first."""
        own = {name: getattr(self, name) for name in INHERITED}
        return [
            each.model_copy(update={name: value for name, value in own.items() if not _gives(each, name)}).directives()
            for each in self.components
        ]

    def requested(self) -> dict[str, Any]:
        """Return the directives as the record keeps them."""
        components = [
            {name: True if value is None else value for name, value in directives}
            for directives in self.component_directives()
        ]
        return super().requested() | ({"components": components} if components else {})

    @property
    def is_array(self) -> bool:
        """Whether sbatch makes a job array of it."""
        return "array" in self.sbatch_options


def parse_jobspec(fields: Mapping[str, Any]) -> JobSpec:
    """Return the checked description.

    Raises:
        JobSpecError: a field can't be right, or there is not exactly one of ``command`` and ``script``.
    """
    if (fields.get("command") is None) == (fields.get("script") is None):
        given = "both" if fields.get("command") is not None else "neither"
        raise JobSpecError("command", f"give exactly one of command= and script=, not {given}")
    for name in ("command", "script"):
        if fields.get(name) is not None and not fields[name]:
            raise JobSpecError(name, "is empty, so that the job would do nothing")
    if fields.get("launch_prefix") and fields.get("script") is not None:
        raise JobSpecError("launch", "starts a command, and a script starts what it runs itself; give command=")
    _refuse_doubles(fields)
    _check_components(fields)
    _check_secrets(fields)
    try:
        return JobSpec.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "job"
        problem = first["msg"].removeprefix("Value error, ")
        if field == "components" and len(first["loc"]) > 1:
            problem = f"component {int(first['loc'][1]) + 1}: {': '.join(map(str, first['loc'][2:]))}: {problem}"
        raise JobSpecError(
            field, problem if len(problem) <= _LONGEST_PROBLEM else f"{problem[:_LONGEST_PROBLEM]}..."
        ) from error


def _gives(component: Resources, name: str) -> bool:
    option = next((option for option, field in _FIELDS.items() if field == name), name)
    return getattr(component, name) is not None or option in component.sbatch_options


def _check_components(fields: Mapping[str, Any]) -> None:
    components = fields.get("components")
    if not components:
        return
    if not isinstance(components, list | tuple) or not all(isinstance(each, Mapping) for each in components):
        raise JobSpecError("components", f"must be a list of dicts, one for each further component, not {components!r}")
    if "array" in (fields.get("sbatch_options") or {}):
        raise JobSpecError("components", "can't be given for a job array; Slurm knows no arrays of heterogeneous jobs")
    for number, each in enumerate(components, start=1):
        try:
            _refuse_doubles(each)
        except JobSpecError as error:
            raise JobSpecError("components", f"component {number}: {error}") from error
        if whole := sorted(_OF_THE_WHOLE_JOB & set(each.get("sbatch_options") or {})):
            raise JobSpecError("components", f"component {number}: {whole[0]!r} is for the whole job")


def _check_secrets(fields: Mapping[str, Any]) -> None:
    secrets, env = fields.get("secret_env"), fields.get("env")
    if not isinstance(secrets, Mapping) or not secrets:
        return
    if isinstance(env, Mapping) and (both := sorted(map(str, secrets.keys() & env.keys()))):
        raise JobSpecError("secret_env", f"{both[0]!r} is given in env too")
    if "requeue" in (fields.get("sbatch_options") or {}):
        raise JobSpecError(
            "sbatch_options",
            "'requeue' can't be used with secret_env: a job that Slurm starts a second time has removed its secrets;"
            " after a preemption or the end of a node it is submitted anew by itself",
        )


def _refuse_doubles(fields: Mapping[str, Any]) -> None:
    options = fields.get("sbatch_options") or {}
    if not isinstance(options, Mapping):
        raise JobSpecError("sbatch_options", f"must be a dict of long option names, not {options!r}")
    for option, field in _FIELDS.items():
        if option in options and fields.get(field) is not None:
            raise JobSpecError("sbatch_options", f"{option!r} is already given as {field}={fields[field]!r}")
    # Fatal from Slurm 26.05 on (src/common/slurm_opt.c), and ambiguous before.
    if "gres" in options and fields.get("gpus_per_node") and "gpu" in str(options["gres"]):
        raise JobSpecError("sbatch_options", "'gres' asks for GPUs that gpus_per_node= asks for too; give one of them")
