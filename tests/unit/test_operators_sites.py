"""``site``, ``launch`` and ``environment`` of operators: what is refused when the DAG is parsed, and what is sent."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from headnode import MoreMemory, Resubmit, SlurmArrayOperator, SlurmJobOperator, VirtualEnv
from headnode.errors import JobSpecError
from headnode.operators.slurm_job import SlurmJobOperator as Job
from headnode.sites.environments.modules import Modules
from headnode.sites.launchers.mpi import Mpi
from headnode.sites.launchers.torchrun import Torchrun
from headnode.slurm.policy import FailurePolicy, asked_memory
from headnode.ssh.settings import ClusterSettings, SSHSettings
from headnode.triggers.preparation import SPEC_FIELDS, describe_job, prepare_trigger

BOOSTER = {"site": "juwels-booster", "partition": "booster", "account": "budget"}
TI = SimpleNamespace(id="4f9619ff", dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1)


def _settings(**more):
    return ClusterSettings(ssh=SSHSettings(conn_id="hpc", host="h", username="u"), **more)


def _trigger(fields, *, templated=(), **settings):
    job = {**dict.fromkeys(SPEC_FIELDS), **fields}
    return prepare_trigger(
        job,
        templated=frozenset(templated),
        ti=TI,
        settings=_settings(**settings),
        deployment_id="d",
        ends_task=True,
        push_result=True,
        outage_tolerance_seconds=60.0,
    )


@pytest.mark.parametrize("operator", [SlurmJobOperator, SlurmArrayOperator])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"launch": Torchrun(nodes=385)}, r"nodes: 385 nodes, where .* may have 384.*\(2024-09-06, community\)"),
        ({"launch": Torchrun(), "nodes": 385}, r"nodes: 385 nodes"),
        (
            {"site": "lumi", "partition": "standard-g", "launch": Mpi(nodes=2, ranks_per_node=64)},
            r"launch: 64 tasks on a node whose usable cores are 56",
        ),
        ({"site": "lumi", "partition": "standard-g", "cpus_per_task": 64}, r"cpus_per_task: 64 .*56 cores"),
        ({"time_limit": "25:00:00"}, r"time_limit: 1-01:00:00, where .* allows 1-00:00:00"),
        ({"account": None}, r"account: .*give account=.* account=\"{{ conn.hpc.extra_dejson.account }}\""),
        ({"partition": "bosster"}, r"partition: .* no partition 'bosster'; did you mean booster"),
        ({"site": 5}, r"site: must be the name of a system, not 5"),
        ({"site": "juwels-boster"}, r"site: .* no system 'juwels-boster'; did you mean juwels-booster"),
        ({"launch": Torchrun(), "command": None, "script": "true"}, "launch: starts a command"),
        ({"launch": {"kind": "torchrum"}}, "launch: .* is no launcher; there are"),
        ({"launch": {"kind": "torchrun", "nodes": "{{ 2 }}", "gpu": 1}}, "launch: gpu: Extra inputs"),
        ({"launch": "torchrun"}, r"launch: must be such as Torchrun\(nodes=2\), .* not 'torchrun'"),
        ({"launch": "{{ x }}"}, r"launch: must be such as"),
        ({"launch": Modules("pytorch")}, r"launch: must be such as"),
        ({"environment": "pytorch"}, r"environment: must be such as Modules\('pytorch'\)"),
        ({"environment": Modules("pytorhc")}, "environment: .*pytorhc"),
        ({"launch": Torchrun(nodes=2), "nodes": 3}, "nodes: is given twice, 3 here and 2 in launch="),
    ],
)
def test_conflicts_are_found_when_the_dag_is_parsed(operator, fields, message):
    """With the task's name; of arrays as of single jobs."""
    fields = {"command": ["train.py"], **BOOSTER, **fields}
    if operator is SlurmArrayOperator:
        fields |= {"array": "0-9"}
    with DAG("d", schedule=None), pytest.raises(JobSpecError, match=message) as refused:
        operator(task_id="train", slurm_conn_id="hpc", **fields)
    assert str(refused.value).endswith("(task 'train')")


@pytest.mark.parametrize(
    "fields",
    [
        {"launch": Torchrun(nodes="{{ params.nodes }}")},
        {"launch": {"kind": "torchrun", "nodes": "{{ params.nodes }}"}},
        {"launch": Torchrun(), "nodes": "{{ params.nodes }}"},
        {"account": "{{ conn.hpc.extra_dejson.account }}"},
        {"site": "{{ params.site }}", "partition": "nowhere"},
        {"site": None, "account": None, "launch": Torchrun(nodes=4), "environment": Modules("pytorch")},
        {"environment": Modules("{{ params.software }}")},
        {"environment": [Modules("pytorch"), Modules(commands=["load {{ params.more }}"])]},
    ],
)
def test_what_is_rendered_later_is_checked_later(fields):
    """Parameters, and what only the connection knows."""
    with DAG("d", schedule=None):
        task = SlurmJobOperator(task_id="train", command="train.py", **{**BOOSTER, **fields})
    json.dumps([task.launch, task.environment])


def test_a_launcher_and_an_environment_are_data_which_airflow_renders():
    """Within the dicts."""
    with DAG("d", schedule=None) as dag:
        task = SlurmJobOperator(
            task_id="train",
            command=["train.py"],
            launch=Torchrun(nodes="{{ 1 + 1 }}"),
            environment=Modules("pytorch") + Modules(commands=["load {{ 'a' + 'b' }}"]),
            **BOOSTER,
        )
    task.render_template_fields({"dag": dag})
    assert task.launch == {"kind": "torchrun", "nodes": "2"}
    trigger = _trigger({name: getattr(task, name) for name in SPEC_FIELDS}, templated=["launch", "environment"])
    assert "#SBATCH --nodes=2\n" in trigger.script
    assert "module load ab" in trigger.script
    assert trigger.requested["site"] == "juwels-booster"
    assert trigger.requested["launch"] == "torchrun"


@pytest.mark.parametrize(
    ("value", "message"),
    [("385", "nodes: 385 nodes"), ("many", "launch: nodes: .*'many' is no whole number"), ("{{ 1 }}", "not rendered")],
)
def test_rendered_values_are_checked_by_the_same_rules(value, message):
    """A parameter of a run may be anything."""
    with pytest.raises(JobSpecError, match=message):
        _trigger({"command": ["train.py"], **BOOSTER, "launch": {"kind": "torchrun", "nodes": value}})


def test_a_value_that_renders_to_nothing_is_not_given():
    """As of every field."""
    launch = {"kind": "torchrun", "nodes": "", "gpus_per_node": "None"}
    trigger = _trigger({"command": ["train.py"], **BOOSTER, "launch": launch}, templated=["launch"])
    assert "#SBATCH --nodes=1\n" in trigger.script
    assert "#SBATCH --gres=gpu:4\n" in trigger.script


def test_what_the_connection_knows_counts_when_the_task_runs():
    """Its account, and its site where the task needs one and names none."""
    job = {"command": ["train.py"], "launch": {"kind": "torchrun", "nodes": 2}}
    trigger = _trigger(job, site="juwels-booster", account="own")
    assert trigger.requested["account"] == "own"
    assert trigger.requested["partition"] == "booster"
    assert trigger.requested["site"] == "juwels-booster"
    with pytest.raises(JobSpecError, match="account: juwels-booster wants an account"):
        _trigger(job, site="juwels-booster")
    with pytest.raises(
        JobSpecError, match=r"site: there is no system 'my cluster'.*the site is 'my cluster' by connection 'hpc'"
    ):
        _trigger(job, site="my cluster")
    assert "site" not in _trigger({"command": ["train.py"]}, site="my cluster").requested


def test_start_from_trigger_takes_them():
    """As JSON in the trigger's arguments; templates among them too."""
    with DAG("d", schedule=None) as dag:
        task = SlurmJobOperator(
            task_id="train",
            command=["train.py"],
            launch=Torchrun(nodes="{{ params.nodes }}"),
            environment=Modules("pytorch"),
            start_from_trigger=True,
            **BOOSTER,
        )
        with pytest.raises(JobSpecError, match=r"start_from_trigger: .*xcom_pull"):
            SlurmJobOperator(
                task_id="hangs",
                command=["train.py"],
                launch=Torchrun(nodes="{{ ti.xcom_pull('x') }}"),
                start_from_trigger=True,
                **BOOSTER,
            )
    arguments = json.loads(json.dumps(task.start_trigger_args.trigger_kwargs))
    assert arguments["launch"] == {"kind": "torchrun", "nodes": "{{ params.nodes }}"}
    assert arguments["environment"] == {"kind": "modules", "software": "pytorch"}
    assert "launch" in arguments["templated"]
    DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))


def test_environments_that_read_files_need_them_when_the_dag_is_parsed(tmp_path):
    """A triggerer does not have them at all."""
    job = {"command": ["train.py"], **BOOSTER}
    with DAG("d", schedule=None):
        with pytest.raises(JobSpecError, match=r"environment: .*missing.lock.*task 'train'"):
            SlurmJobOperator(task_id="train", environment=VirtualEnv("missing.lock"), **job)
        lock = tmp_path / "requirements.lock"
        lock.write_text("attrs==25.1.0\n")
        SlurmJobOperator(task_id="there", environment=Modules("pytorch") + VirtualEnv(str(lock)), **job)
        with pytest.raises(JobSpecError, match="start_from_trigger: can't be used here, environment= reads files"):
            SlurmJobOperator(task_id="t", environment=VirtualEnv(str(lock)), start_from_trigger=True, **job)


def test_mapped_tasks_can_be_stored():
    """Airflow stores the arguments that all of them share."""
    with DAG("d", schedule=None) as dag:
        Job.partial(task_id="train", launch=Torchrun(nodes=2), environment=Modules("pytorch"), **BOOSTER).expand(
            command=[["a.py"], ["b.py"]]
        )
    DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))


def test_resubmission_goes_with_an_arranged_job():
    """The warning is asked for among the site's own options, and must come before the end."""
    job = {"command": ["train.py"], "launch": Torchrun(), "on_timeout": Resubmit(), **BOOSTER}
    with DAG("d", schedule=None):
        SlurmJobOperator(task_id="t", time_limit="01:00:00", **job)
        with pytest.raises(JobSpecError, match="on_timeout: signal_seconds=120"):
            SlurmJobOperator(task_id="u", time_limit="2", **job)


def test_functions_have_environments_and_no_launchers():
    """A launcher would start the function many times."""
    from headnode import slurm_task  # noqa: PLC0415

    def train():
        return 1

    with DAG("d", schedule=None):
        slurm_task(train, environment=Modules("pytorch"), **BOOSTER)()
        with pytest.raises(JobSpecError, match=r"launch: starts a program many times.*task 'train'"):
            slurm_task(train, task_id="train", launch=Torchrun(), **BOOSTER)()


def test_tasks_without_them_load_no_catalogue():
    """Most workers begin anew for each task."""
    program = """
import sys
from airflow.sdk import DAG
from headnode import SlurmJobOperator
with DAG("d", schedule=None):
    SlurmJobOperator(task_id="t", command=["true"])
print([name for name in sys.modules if name.startswith("headnode.sites")])
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=Path.home())
    assert done.stdout.splitlines()[-1] == "[]"


def test_memory_that_grows_is_that_of_the_arranged_job():
    """What a policy adds, it adds to what the job asks for in the end."""
    fields = {**BOOSTER, "command": ["train.py"], "launch": {"kind": "torchrun"}, "memory": "8G"}
    spec = describe_job({**fields, "job_name": "t"}, FailurePolicy(on_out_of_memory=MoreMemory(limit="16G")))
    assert asked_memory(spec.requested()) == ("mem", 8192)
    with pytest.raises(JobSpecError, match="memory: 600G, where"):
        describe_job({**fields, "job_name": "t", "memory": "600G"}, FailurePolicy())
