"""What a DAG says of itself in Airflow's web interface."""

from __future__ import annotations

from landcover_jobs.configuration.map_configuration import MapConfiguration


def describe_map(configuration: MapConfiguration) -> str:
    """Return the documentation of a map's DAG, in Markdown."""
    years, wanted = configuration.years, configuration.validation
    classes = "\n".join(f"| {each.value} | {each.name} | `{each.colour}` |" for each in configuration.classes)
    last = "now on, each year" if years.last is None else str(years.last)
    return f"""
### {configuration.title}

{configuration.description}

`search` → `fetch` → `prepare` (composites, a job a tile) → `sample` → `tune` (where due, a study a fold) → `train`
({", ".join(configuration.model.kinds)}) → `classify` (a job a tile) → `mosaic` → `validate` → `publish` → `announce`

| | |
|---|---|
| years | {years.first} to {last} |
| images | {configuration.source.kind}; {", ".join(configuration.bands)} |
| labels of | {configuration.training_year} |
| published by itself from | overall accuracy {wanted.least_overall_accuracy}, macro F1 {wanted.least_macro_f1} |
| below that | a person is asked for {wanted.approval_timeout_hours:g} hours |

| value | class | colour |
|---|---|---|
{classes}

A step that has made the same from the same inputs already keeps it; clear any task to have it looked at again.
"""


def describe_rollback(configuration: MapConfiguration) -> str:
    """Return the documentation of the DAG that goes back, in Markdown."""
    return f"""
### Back to an older version of {configuration.title}

Give a year and one of its versions, as the folder `published/YEAR/` of the map has it. The link `current` and the
catalogue name that version from then on; nothing is removed. The next run of `landcover_{configuration.name}` for that
year publishes a version again only where its map differs from all that are there.
"""
