"""The report: complete, self-contained, and deaf to hostile names."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from landcover_jobs.job import StepError
from landcover_jobs.publishing import wording
from landcover_jobs.publishing.publication import publish
from landcover_jobs.publishing.sources import read_product
from PIL import Image

JOBS = Path(__file__).parents[3] / "dags" / "landcover" / "jobs"
HOSTILE = "</style><script>alert(1)</script><img src=x onerror=alert(2)>"
VOID = {"meta", "img", "br", "input", "hr", "link", "rect", "path", "wbr"}


class Page(HTMLParser):
    """What a page has: elements with their attributes, the text, and whether all that was opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note an element that closes itself."""
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        """Close the element that was opened last, which must be this one."""
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        """Note text, but for the style sheet."""
        if not self.open or self.open[-1] != "style":
            self.words.append(text)

    @property
    def text(self) -> str:
        """All words, with single spaces."""
        return spaced(" ".join(self.words))


def spaced(text: str) -> str:
    """Return a text with single, plain spaces."""
    return " ".join(text.split())


def page_of(maps: Any, year: int) -> tuple[Page, str]:
    """Return the published page, parsed and as text."""
    text = (maps.folder.versions(year) / "current" / "report.html").read_text(encoding="utf-8")
    return Page(text), text


def test_nothing_is_fetched_and_everything_is_closed(maps, make_land):
    """Pictures are inside; there is no script, no style sheet, no link to elsewhere."""
    maps.published(2018, make_land(50))
    page, text = page_of(maps, 2018)
    assert page.open == []
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "video", "form", "a", "base"}
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "srcset", "action", "data", "poster"}:
                assert (tag, name) == ("img", "src")
                assert (value or "").startswith("data:image/png;base64,")
    assert "@import" not in text
    assert "url(" not in text
    (policy,) = [each["content"] for tag, each in page.elements if each.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy


def test_hostile_names_are_only_text(maps, make_land, make_description):
    """In title, description, classes and licence alike."""
    description = make_description()
    classes = [{**each, "name": f"{HOSTILE} {each['value']}"} for each in description["classes"]]
    hostile = maps.reconfigured(
        title=HOSTILE, description=HOSTILE, classes=classes, product={"licence": HOSTILE, "attribution": HOSTILE}
    )
    hostile.published(2018, make_land(50))
    changed = make_land(50)
    changed[20:40, 5:12] = 30
    hostile.published(2019, changed)
    page, _ = page_of(hostile, 2019)
    assert page.open == []
    assert "script" not in {tag for tag, _ in page.elements}
    assert len([tag for tag, _ in page.elements if tag == "img"]) == 4
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.text.count(HOSTILE) >= 15


def test_the_maps_are_those_of_the_layers(maps, make_land):
    """The first picture has the classes pixel by pixel in the legend's colours."""
    land = make_land(50)
    maps.published(2018, land)
    page, _ = page_of(maps, 2018)
    sources = [attributes["src"] or "" for tag, attributes in page.elements if tag == "img"]
    assert len(sources) == 3
    image = Image.open(io.BytesIO(base64.b64decode(sources[0].split(",")[1]))).convert("RGB")
    table = np.full((256, 3), 255, dtype=np.uint8)
    for each in maps.configuration.classes:
        table[each.value] = each.rgb
    assert np.array_equal(np.asarray(image), table[land])
    assert all(attributes["alt"] for tag, attributes in page.elements if tag == "img")


def test_the_figures_are_those_of_the_validation(maps, make_land):
    """Matrix, user's and producer's accuracy, areas and their intervals."""
    maps.published(2018, make_land(50))
    page, _ = page_of(maps, 2018)
    validation = json.loads(maps.folder.validation(2018).read_text())
    scores = validation["points"]["classes"]
    for name in maps.configuration.class_names:
        area = validation["areas"]["classes"][name]["area_hectares"]
        assert spaced(wording.percent(scores["users_accuracy"][name])) in page.text
        assert spaced(f"± {wording.hectares(area['half_width'])}") in page.text
        assert spaced(wording.hectares(area["value"])) in page.text
    for row in scores["confusion_rows_map_columns_reference"]:
        assert re.search(r"\b" + r"\s+".join(str(count) for count in row) + r"\b", page.text)
    margin = validation["areas"]["overall_accuracy"]["half_width"]
    assert f"± {100 * margin:.1f} points (95 %), independent points" in page.text
    assert "drawn at random" in page.text


def test_a_cross_validated_map_claims_no_interval_of_its_accuracy(maps, make_land):
    """Training samples are no random sample; the page says so beside the areas."""
    maps.published(2019, make_land(50), points=False)
    page, _ = page_of(maps, 2019)
    assert "points (95 %)" not in page.text
    assert "cross-validated, 2018" in page.text
    assert "the intervals are a hint, no more" in page.text
    assert "how well they do in 2019 is measured only by points of that year" in page.text


def test_a_map_below_the_bar_says_who_wanted_it(maps, make_land):
    """A person may publish it; readers are told."""
    strict = maps.reconfigured(validation={"block_size": 200, "least_overall_accuracy": 0.99})
    strict.published(2018, make_land(50))
    page, _ = page_of(strict, 2018)
    assert "below its threshold (overall accuracy 0.99, of the classes)" in page.text
    maps.published(2019, make_land(50))
    assert "below its threshold" not in page_of(maps, 2019)[0].text


def test_changes_are_listed_with_what_they_were_and_became(maps, make_land):
    """The largest first."""
    before, after = make_land(50), make_land(50)
    before[30:40, 2:12] = 10
    after[30:40, 2:12] = 30
    before[42:46, 2:6] = 20
    after[42:46, 2:6] = 10
    maps.published(2018, before)
    maps.published(2019, after)
    page, _ = page_of(maps, 2019)
    assert re.search(r"Forest\s+Cropland\s+100\s+4\.0\s+Grassland\s+Forest\s+16\s+0\.6", page.text)
    assert "Change since 2018 (v1-" in page.text


def test_inputs_code_and_lock_are_named(maps, make_land):
    """What an auditor looks for first."""
    maps.published(2019, make_land(50))
    page, _ = page_of(maps, 2019)
    provenance = json.loads((maps.folder.versions(2019) / "current" / "provenance.json").read_text())
    for words in (
        "S2A_20190101_35TLL",
        "Scenes of 2018, from which the models have learnt: 24",
        "Scenes of 2019, map",
    ):
        assert words in page.text
    assert provenance["code"]["key"] in page.text
    assert "random_forest 0123456789abcdef" in page.text


def test_figures_are_written_for_readers():
    """Thin spaces between thousands, a dash where nothing is defined."""
    assert wording.hectares(1234.56) == "1\u202f234.6"
    assert wording.hectares(123456.7) == "123\u202f457"
    assert wording.percent(None) == wording.hectares(None) == "\N{EN DASH}"
    assert wording.percent(0.12345) == "12.3\u202f%"
    assert [wording.file_size(size) for size in (12, 2048, 5 * 2**20, 3 * 2**30)] == [
        "12 B", "2.0 KiB", "5.0 MiB", "3.0 GiB",
    ]  # fmt: skip


def run_step(maps: Any, step: str, *words: str) -> dict[str, Any]:
    """Run a step as a job does, and return its result."""
    result = maps.folder.root / "result.json"
    environment = {
        **os.environ,
        "LANDCOVER_MAP": maps.configuration.model_dump_json(),
        "HEADNODE_RESULT": str(result),
    }
    command = [sys.executable, "-m", f"landcover_jobs.steps.{step}", "--data", str(maps.folder.root.parent)]
    done = subprocess.run(
        [*command, "--year", "2018", *words], cwd=JOBS, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"failed": done.stdout + done.stderr}
    content: dict[str, Any] = json.loads(result.read_text())
    return content


def test_the_steps_tell_what_they_have_published(maps, make_land):
    """Published, nothing new, rolled back; an unknown version fails in a sentence."""
    maps.published(2018, make_land(50, seed=2))
    maps.prepared(2018, make_land(50, seed=1))
    first = run_step(maps, "publish")
    paths = ("map", "quicklook", "report", "metrics", "item")
    assert set(first) == {"published", "year", "version", "better", "accuracy", "previous", *paths}
    assert (first["published"], first["year"], first["better"]) == (True, 2018, "random_forest")
    assert first["version"].startswith("v2-")
    assert first["previous"].startswith("v1-")
    assert first["accuracy"]["overall_accuracy"] == pytest.approx(0.93, abs=0.02)
    assert all(Path(first[name]).is_file() for name in paths)
    assert len(json.dumps(first)) < 4096
    again = run_step(maps, "publish")
    assert again == {**first, "published": False}
    back = run_step(maps, "rollback", "--version", "previous")
    assert (back["published"], back["version"], back["previous"]) == (True, first["previous"], first["version"])
    failed = run_step(maps, "rollback", "--version", "v7-beef")["failed"]
    assert f"cannot go on: 2018 has no version v7-beef; there are: {first['previous']}, {first['version']}" in failed


def test_steps_that_have_not_run_are_named(maps, make_land):
    """The mosaic, the validation, the search."""
    with pytest.raises(StepError, match="run the step `mosaic` first"):
        read_product(maps.configuration, maps.folder, 2018)
    product = maps.prepared(2018, make_land(50))
    maps.folder.inventory(2018).unlink()
    with pytest.raises(StepError, match="run the step `search` for this year first"):
        publish(product, maps.folder)
    maps.folder.validation(2018).unlink()
    with pytest.raises(StepError, match="run the step `validate` first"):
        read_product(maps.configuration, maps.folder, 2018)
    renamed = [{"value": 10, "name": "Wood", "colour": "#1b6e3c"}, {"value": 20, "name": "Rest", "colour": "#c5d86d"}]
    maps.prepared(2018, make_land(50))
    with pytest.raises(StepError, match=r"mosaic\.json has other classes than valley"):
        read_product(maps.reconfigured(classes=renamed).configuration, maps.folder, 2018)
