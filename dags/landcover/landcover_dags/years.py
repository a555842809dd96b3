"""When a map's runs begin by themselves, and which year a run maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pendulum
from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable

# Not the one of airflow.sdk, a DAG with which Airflow 3.3 can't store (apache/airflow pull request 69401).
from airflow.timetables.events import EventsTimetable
from landcover_jobs.configuration.map_configuration import MapConfiguration


def schedule_of(configuration: MapConfiguration, scenes: Asset, *, on_schedule: bool) -> Any:
    """Return what Airflow takes as `schedule`: once a year, when new scenes come, both, or None.

    Where the last year is known the dates are listed; a DAG with an end date would never start what is triggered by
    hand after it.
    """
    if not on_schedule:
        return None
    wanted = configuration.schedule
    yearly = _yearly(configuration) if wanted.every == "year" else None
    if not wanted.new_scenes:
        return yearly
    return [scenes] if yearly is None else AssetOrTimeSchedule(timetable=yearly, assets=[scenes])


def _yearly(configuration: MapConfiguration) -> EventsTimetable | CronTriggerTimetable:
    years, month = configuration.years, configuration.schedule.month
    if years.last is None:
        return CronTriggerTimetable(f"0 0 1 {month} *", timezone="UTC")
    dates = [pendulum.datetime(year + 1, month, 1) for year in range(years.first, years.last + 1)]
    return EventsTimetable(dates, description=f"yearly, for {years.first} to {years.last}")


def begin_of(configuration: MapConfiguration) -> pendulum.DateTime:
    """Return a day so that the next first of the schedule's month is when the first year is mapped."""
    return pendulum.datetime(configuration.years.first, configuration.schedule.month, 2)


def default_year(configuration: MapConfiguration) -> int:
    """Return the year of a run that is triggered by hand without one: that of the labels, else the first."""
    year = configuration.training_year
    return year if configuration.years.holds(year) else configuration.years.first


def year_to_map(configuration: MapConfiguration, params: Mapping[str, Any], run: Any) -> int:
    """Return the year that a run maps.

    That is the param; else, in a scheduled run, the year before the one it was due in; after new scenes, the year that
    their event names, or the last whole year there is; by hand, `default_year`.

    Raises:
        ValueError: the events name several years.
    """
    if params["year"] is not None:
        return int(params["year"])
    kind = str(getattr(run.run_type, "value", run.run_type))
    if kind == "asset_triggered":
        return _year_of_events(configuration, run)
    if kind == "manual" or run.data_interval_end is None:
        return default_year(configuration)
    return int(run.data_interval_end.year) - 1


def _year_of_events(configuration: MapConfiguration, run: Any) -> int:
    named = sorted(set(_years_in(run.consumed_asset_events)))
    if len(named) > 1:
        raise ValueError(
            f"the events that began this run name the years {', '.join(map(str, named))}, and a run maps one:"
            " trigger a run for each, with its year"
        )
    if named:
        return named[0]
    years = configuration.years
    whole = int(run.run_after.year) - 1
    return max(min(whole, years.last if years.last is not None else whole), years.first)


def _years_in(events: Iterable[Any]) -> Iterable[int]:
    for event in events:
        extra = event.extra or {}
        payload = extra.get("payload") or {}
        year = extra.get("year", payload.get("year") if isinstance(payload, dict) else None)
        if year is not None:
            yield int(year)
