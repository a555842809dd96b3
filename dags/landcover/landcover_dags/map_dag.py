"""A map's DAG, from the search for scenes to the event of a published version, and the DAG that goes back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Asset, AssetWatcher, BaseOperator, Param, TaskGroup, task
from landcover_jobs.configuration.catalogue import ROLLBACK
from landcover_jobs.configuration.images import FolderSource
from landcover_jobs.configuration.map_configuration import MapConfiguration

from landcover_dags.describing import describe_map, describe_rollback
from landcover_dags.reporting import announced, as_table, tuned_settings
from landcover_dags.settings import HOME, Settings
from landcover_dags.steps import Steps, in_order
from landcover_dags.years import begin_of, default_year, schedule_of, year_to_map

PREFIX = "landcover_"
TAGS = ["headnode", "land cover", "slurm"]
VERSION = r"^(previous|v[1-9]\d*-[0-9a-f]+)$"
VERSION_HINT = "As its folder is called, such as v3-0123456789abcdef; or previous, the one that counted before."
QUIET_SECONDS = 600.0  # a folder of images is complete when nothing has come for so long
# Gate and approval, or tuned and not tuned, lead to one task, of which one way is always skipped.
ANY_WAY = "none_failed_min_one_success"


def build_map_dag(configuration: MapConfiguration, settings: Settings) -> DAG:
    """Return the DAG of a map; the caller gives it to Airflow.

    Raises:
        HeadnodeError: a step's resources, or the folder of images, can't be right; the text names the task.
    """
    steps, published = Steps(configuration, settings), Asset(f"{PREFIX}map_{configuration.name}")
    dag = _empty_map_dag(configuration, settings)
    with dag:
        search, fetch, prepare = steps.job("search"), steps.job("fetch"), steps.array("prepare")
        sample, train, classify = steps.job("sample"), steps.train(), steps.array("classify")
        mosaic, validate, publish = steps.job("mosaic"), steps.job("validate"), steps.job("publish")
        publish.trigger_rule = ANY_WAY
        in_order(search, fetch, prepare, sample)
        _tuning(configuration, steps, sample, train)
        in_order(train, classify, mosaic, validate)
        _gate(configuration, validate, publish)
        publish >> _announce(published)
    return dag


def build_rollback_dag(configuration: MapConfiguration, settings: Settings) -> DAG:
    """Return the DAG that makes an older version of a year the current one again, by hand."""
    dag = DAG(
        dag_id=f"{PREFIX}{configuration.name}{ROLLBACK}",
        description=f"Goes back to an older version of {configuration.title}",
        doc_md=describe_rollback(configuration),
        schedule=None,
        max_active_runs=1,
        params={
            "year": Param(type="integer", title="Year", **_limits(configuration)),
            "version": Param("previous", type="string", pattern=VERSION, title="Version", description=VERSION_HINT),
            "data": _data(settings),
        },
        tags=TAGS,
        auto_register=False,
    )
    dag.fileloc = str(HOME / "landcover_maps.py")
    with dag:
        Steps(configuration, settings).rollback()
    return dag


def _empty_map_dag(configuration: MapConfiguration, settings: Settings) -> DAG:
    def map_year(params: Any, run: Any) -> int:
        return year_to_map(configuration, params, run)

    hint = f"Empty: the scheduled year; {default_year(configuration)} where triggered by hand."
    dag = DAG(
        dag_id=f"{PREFIX}{configuration.name}",
        description=configuration.title,
        doc_md=describe_map(configuration),
        schedule=schedule_of(configuration, _scenes(configuration, settings), on_schedule=settings.on_schedule),
        start_date=begin_of(configuration),
        catchup=True,
        max_active_runs=1,
        default_args={"retries": 1, "retry_delay": pendulum.duration(seconds=20)},
        params={
            "year": Param(None, type=["null", "integer"], title="Year", description=hint, **_limits(configuration)),
            "data": _data(settings),
        },
        user_defined_macros={"map_year": map_year, "tuned_settings": tuned_settings, "as_table": as_table},
        tags=TAGS,
        auto_register=False,
    )
    # Where the folder of code is looked for; Airflow's importer sets the same later.
    dag.fileloc = str(HOME / "landcover_maps.py")
    return dag


def _tuning(configuration: MapConfiguration, steps: Steps, sample: BaseOperator, train: BaseOperator) -> None:
    """Put the studies between samples and training where the samples' result says that they are due."""
    if configuration.tuning.when == "never" or "transformer" not in configuration.model.kinds:
        sample.set_downstream(train)
        return
    with TaskGroup("tune") as group:
        studies = [steps.tune(fold) for fold in range(configuration.validation.folds)]
    ids = [study.task_id for study in studies]

    @task.branch
    def whether_to_tune(ti: Any = None) -> list[str]:
        return ids if ti.xcom_pull(task_ids="sample")["tune"] else ["train"]

    branch = whether_to_tune()
    sample >> branch >> group >> train
    branch >> train


def _gate(configuration: MapConfiguration, validate: BaseOperator, publish: BaseOperator) -> None:
    """Publish what is good enough; of what is not, ask a person."""

    @task.branch
    def gate(ti: Any = None) -> str:
        return "publish" if ti.xcom_pull(task_ids="validate")["passed"] else "ask"

    wanted = configuration.validation
    ask = ApprovalOperator(
        task_id="ask",
        subject=f"Publish this map of {configuration.name}, which is below the bar?",
        body=(
            f"Wanted are an overall accuracy of {wanted.least_overall_accuracy} and a macro F1 of"
            f" {wanted.least_macro_f1}. The task `validate` has found:\n\n"
            "{{ as_table(ti.xcom_pull(task_ids='validate')) }}\n\nReject keeps everything and publishes nothing."
        ),
        response_timeout=timedelta(hours=wanted.approval_timeout_hours),
        retries=0,  # whoever did not answer is not asked again
    )
    branch = gate()
    validate >> branch >> ask >> publish
    branch >> publish


def _announce(published: Asset) -> Any:
    @task(outlets=[published], retries=0)
    def announce(ti: Any = None, outlet_events: Any = None) -> dict[str, Any]:
        return announced(ti.xcom_pull(task_ids="publish"), published, outlet_events)

    return announce()


def _scenes(configuration: MapConfiguration, settings: Settings) -> Asset:
    """Return the asset that says that new images have come; of a folder, with a watcher that looks at it."""
    name, source = f"{PREFIX}scenes_{configuration.name}", configuration.source
    if not (isinstance(source, FolderSource) and configuration.schedule.new_scenes and settings.on_schedule):
        return Asset(name)
    from headnode import RemotePathEventTrigger  # noqa: PLC0415 - loads the SSH client, which other maps do without

    trigger = RemotePathEventTrigger(
        path=source.path.replace("{data}", f"{settings.data}/{configuration.name}"),
        slurm_conn_id=settings.connection,
        stable_for_seconds=QUIET_SECONDS,
    )
    return Asset(name, watchers=[AssetWatcher(name=name, trigger=trigger)])


def _limits(configuration: MapConfiguration) -> dict[str, int]:
    years = configuration.years
    return {"minimum": years.first} | ({"maximum": years.last} if years.last is not None else {})


def _data(settings: Settings) -> Param:
    return Param(
        settings.data,
        type="string",
        pattern=r"^(~|/)[^\n\r]*$",
        title="Data folder",
        description="A folder that all nodes of the cluster share; ~ is the home directory there.",
    )
