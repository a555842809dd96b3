"""When the runs of a land-cover map begin, of which year they are, and what a person may choose."""

from types import SimpleNamespace

import pendulum
import pytest


def test_known_years_are_listed(valley):
    """Five yearly runs, one at a time, in their order, and none for a year without images."""
    assert [date.year for date in valley.timetable.event_dates] == [2017, 2018, 2019, 2020, 2021]
    assert valley.catchup
    assert valley.max_active_runs == 1
    # With an end date, a run triggered today would stay scheduled for ever.
    assert valley.end_date is None


def test_years_without_end_begin_with_the_first_and_go_on(build):
    """The scheduler's own timetable: the first run is due in March after the first year, the next a year later."""
    from airflow.serialization.encoders import coerce_to_core_timetable  # noqa: PLC0415 - slow
    from airflow.timetables.base import TimeRestriction  # noqa: PLC0415

    dag = build(years__last=None, schedule__month=3)
    timetable = coerce_to_core_timetable(dag.timetable)
    within = TimeRestriction(earliest=dag.start_date, latest=None, catchup=True)
    first = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=within)
    second = timetable.next_dagrun_info(last_automated_data_interval=first.data_interval, restriction=within)
    assert [info.run_after.isoformat()[:10] for info in (first, second)] == ["2017-03-01", "2018-03-01"]
    mapped = [year(dag, run_type="scheduled", data_interval_end=info.data_interval.end) for info in (first, second)]
    assert mapped == [2016, 2017]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, "EventsTimetable"),
        ({"schedule__new_scenes": True}, "AssetOrTimeSchedule"),
        ({"schedule": {"every": "never", "new_scenes": True}}, "AssetTriggeredTimetable"),
        ({"schedule": {"every": "never"}}, "NullTimetable"),
    ],
)
def test_what_begins_runs(build, fields, kind):
    """The calendar, new scenes, both, or a person alone."""
    dag = build(**fields)
    assert type(dag.timetable).__name__ == kind
    if "Asset" in kind:
        assert [asset.name for asset in dag.timetable.asset_condition.objects] == ["landcover_scenes_mine"]


def test_the_schedule_can_be_taken_off(build, monkeypatch: pytest.MonkeyPatch):
    """A demonstration makes one map and no catch-up."""
    monkeypatch.setenv("HEADNODE_LANDCOVER_SCHEDULE", "none")
    dag = build(schedule__new_scenes=True)
    assert type(dag.timetable).__name__ == "NullTimetable"


def test_a_folder_of_images_is_watched_where_its_scenes_begin_runs(build):
    """The watch is on the cluster's folder, below the map's data folder here."""
    source = {"kind": "folder", "path": "{data}/incoming"}
    dag = build(source=source, schedule__new_scenes=True)
    (asset,) = dag.timetable.asset_condition.objects
    (watcher,) = asset.watchers
    assert watcher.trigger.serialize()[1]["path"] == "~/headnode-landcover/mine/incoming"


class Event(SimpleNamespace):
    """An event of the asset of new scenes."""


def year(dag, *, param=None, **run):
    """Return the year that a run of a DAG maps, by the macro that its commands have."""
    fields = {"run_type": "manual", "data_interval_end": None, "run_after": None, "consumed_asset_events": []}
    return dag.user_defined_macros["map_year"]({"year": param}, SimpleNamespace(**fields | run))


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ({"run_type": "scheduled", "data_interval_end": pendulum.datetime(2019, 1, 1)}, 2018),
        ({"run_type": "backfill", "data_interval_end": pendulum.datetime(2021, 1, 1)}, 2020),
        ({"run_type": "scheduled", "data_interval_end": pendulum.datetime(2019, 1, 1), "param": 2020}, 2020),
        ({"data_interval_end": pendulum.datetime(2026, 11, 21)}, 2018),
        ({"param": 2016}, 2016),
        ({"run_type": "asset_triggered", "consumed_asset_events": [Event(extra={"year": 2017})]}, 2017),
        (
            {
                "run_type": "asset_triggered",
                "consumed_asset_events": [Event(extra={"payload": {"year": 2019}}), Event(extra={"year": 2019})],
            },
            2019,
        ),
        (
            {
                "run_type": "asset_triggered",
                "run_after": pendulum.datetime(2018, 5, 1),
                "consumed_asset_events": [Event(extra={"payload": {"path": "/in"}})],
            },
            2017,
        ),
        ({"run_type": "asset_triggered", "run_after": pendulum.datetime(2026, 5, 1)}, 2020),
        ({"run_type": "asset_triggered", "run_after": pendulum.datetime(2012, 5, 1)}, 2016),
    ],
)
def test_the_year(valley, run, expected):
    """The param; the year before the one that a scheduled run is due in; that of the event; that of the labels."""
    assert year(valley, **run) == expected


def test_events_of_several_years_are_not_taken_for_one(valley):
    """A run maps one year; the others would be lost in silence."""
    events = [Event(extra={"year": 2017}), Event(extra={"year": 2018})]
    with pytest.raises(ValueError, match="2017, 2018"):
        year(valley, run_type="asset_triggered", consumed_asset_events=events)


@pytest.mark.parametrize("wrong", [2015, 2021, "2018; rm -rf /", 2018.5])
def test_a_year_without_images_is_refused_before_any_job(valley, wrong):
    """Params are checked against their schema when a run is triggered."""
    from airflow.sdk.exceptions import ParamValidationError  # noqa: PLC0415

    with pytest.raises(ParamValidationError):
        valley.params.get_param("year").resolve(wrong)


@pytest.mark.parametrize("wrong", ["relative/folder", "/a\nb", ""])
def test_a_data_folder_is_absolute_or_at_home(valley, wrong):
    """What an element of the command says must mean the same in every job's directory."""
    from airflow.sdk.exceptions import ParamValidationError  # noqa: PLC0415

    with pytest.raises(ParamValidationError):
        valley.params.get_param("data").resolve(wrong)


@pytest.mark.parametrize("wrong", ["current", "v0-ab", "v1-ab; rm -rf /", "../2019/v1-ab", ""])
def test_a_version_is_a_version(code, wrong):
    """Going back takes no other word."""
    from airflow.sdk.exceptions import ParamValidationError  # noqa: PLC0415

    dag = next(dag for dag in code.factory.build().dags if dag.dag_id == "landcover_romania_valley_rollback")
    with pytest.raises(ParamValidationError):
        dag.params.get_param("version").resolve(wrong)
    assert dag.params["version"] == "previous"
    assert dag.params.get_param("version").resolve("v12-0af3") == "v12-0af3"
    assert [task.task_id for task in dag.tasks] == ["rollback"]
