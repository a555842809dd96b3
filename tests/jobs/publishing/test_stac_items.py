"""The STAC catalogue: valid, by relative links, served by any web server; and the pixels behind its assets."""

import functools
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
from landcover_jobs.publishing.item import class_fields, spdx_licence
from landcover_jobs.publishing.publication import roll_back
from pystac.extensions.version import ignore_deprecated
from pystac.validation import validate_dict
from rio_cogeo.cogeo import cog_validate

SCHEMAS = os.environ.get("STAC_EXTENSION_SCHEMAS", "")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_words: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def made_once(make_maps, make_land, tmp_path_factory) -> Path:
    """Return a folder with maps of 2018, twice, and of 2019."""
    folder = tmp_path_factory.mktemp("two-years")
    maps = make_maps(folder)
    maps.published(2018, make_land(600, seed=2))
    maps.published(2018, make_land(600, seed=1))
    changed = make_land(600, seed=1)
    changed[30:44, 4:20] = 30
    maps.published(2019, changed)
    return folder


@pytest.fixture
def two_years(make_maps, made_once, tmp_path) -> Any:
    """Return these maps, moved to another place."""
    shutil.copytree(made_once, tmp_path / "moved", symlinks=True)
    return make_maps(tmp_path / "moved")


@pytest.fixture
def address(two_years) -> Iterator[str]:
    """Return where the catalogue is served."""
    handler = functools.partial(_Quiet, directory=str(two_years.folder.published))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/collection.json"
    server.shutdown()
    server.server_close()


def documents(maps: Any) -> list[dict[str, Any]]:
    """Return the collection and all items as they are stored."""
    paths = [maps.folder.published / "collection.json", *sorted(maps.folder.published.glob("2*/v*/item.json"))]
    return [json.loads(path.read_text()) for path in paths]


def test_the_core_is_valid(two_years):
    """Collection and items, by the schemas of STAC 1.1 that pystac brings."""
    stored = documents(two_years)
    assert len(stored) == 4
    for each in stored:
        assert each["stac_version"] == "1.1.0"
        assert validate_dict(each, extensions=[])
    del stored[1]["geometry"]
    with pytest.raises(pystac.STACValidationError):
        validate_dict(stored[1], extensions=[])


@pytest.mark.parametrize(
    "extension",
    [
        "projection/v2.0.0",
        "raster/v2.0.0",
        "classification/v2.0.0",
        "file/v2.1.0",
        "version/v1.2.0",
        "processing/v1.2.0",
    ],
)
def test_the_extensions_are_valid(two_years, extension):
    """By their schemas, where a folder has them as `<extension>/<version>/schema.json`."""
    path = Path(SCHEMAS) / extension / "schema.json"
    if not SCHEMAS or not path.is_file():
        pytest.skip(f"$STAC_EXTENSION_SCHEMAS names no folder with {extension}/schema.json")
    validator = jsonschema.Draft7Validator(json.loads(path.read_text()))
    declaring = [
        each for each in documents(two_years) if any(f"/{extension}/" in uri for uri in each["stac_extensions"])
    ]
    assert len(declaring) >= 3
    for each in declaring:
        validator.validate(each)


def test_all_fields_of_extensions_are_of_extensions_that_are_declared(two_years):
    """A prefix is declared wherever it is used, and only `landcover:` is our own."""
    names = {"proj": "projection", "raster": "raster", "classification": "classification", "file": "file"}
    names |= {"processing": "processing", "landcover": "landcover"}
    for item in documents(two_years)[1:]:
        fields = set(item["properties"]).union(*item["assets"].values())
        used = {name.split(":")[0] for name in fields if ":" in name}
        assert used == set(names)
        for prefix in used - {"landcover"}:
            assert any(f"/{names[prefix]}/v" in uri for uri in item["stac_extensions"])


def test_served_by_http_every_link_leads_somewhere(address):
    """Collection, items, their way back, other versions, assets."""
    with ignore_deprecated():
        collection = pystac.Collection.from_file(address)
        items = list(collection.get_items())
        assert [item.id.split("-v")[0] for item in items] == ["valley-2018", "valley-2018", "valley-2019"]
        for item in items:
            assert item.get_collection().id == "valley"
            for link in item.links:
                if link.rel.endswith("-version"):
                    assert link.resolve_stac_object(root=collection).target.id.startswith("valley-2018")
            for asset in item.assets.values():
                content = pystac.StacIO.default().read_text(asset.get_absolute_href()) if is_text(asset) else "read"
                assert content
    hrefs = [link.href for item in items for link in item.links if link.rel in {"collection", "parent"}]
    assert all(href.endswith("/collection.json") for href in hrefs)
    assert len(hrefs) == 6


def is_text(asset: pystac.Asset) -> bool:
    """Tell whether an asset can be read as text."""
    return str(asset.media_type).split(";")[0] not in {"image/tiff", "image/png"}


def test_older_versions_are_deprecated_and_name_the_one_that_counts(two_years):
    """Predecessor, successor and latest version, and what a rollback does to them."""

    def relations() -> list[tuple[bool, dict[str, str]]]:
        return [
            (
                item["properties"]["deprecated"],
                {link["rel"]: link["href"].split("/")[1][:2] for link in item["links"] if "-version" in link["rel"]},
            )
            for item in documents(two_years)[1:3]
        ]

    assert relations() == [
        (True, {"successor-version": "v2", "latest-version": "v2"}),
        (False, {"predecessor-version": "v1"}),
    ]
    roll_back(two_years.configuration, two_years.folder, 2018, "previous")
    assert relations() == [
        (False, {"successor-version": "v2"}),
        (True, {"predecessor-version": "v1", "latest-version": "v1"}),
    ]


def test_no_link_says_where_the_catalogue_lies(two_years):
    """It may be moved: apart from inputs and the licence, all links are relative."""
    for each in documents(two_years):
        for link in each["links"]:
            if link["rel"] not in {"derived_from", "license"}:
                assert link["href"].startswith(("./", "../"))
            assert link["rel"] != "self"
        assert str(two_years.folder.root) not in json.dumps(each)


def test_checksums_and_sizes_are_those_of_the_files(two_years):
    """SHA-256 as a multihash."""
    for path in two_years.folder.published.glob("2*/v*/item.json"):
        assets = json.loads(path.read_text())["assets"]
        assert {asset["href"] for asset in assets.values()} == {
            f"./{file.name}" for file in path.parent.iterdir() if file != path
        }
        for asset in assets.values():
            content = (path.parent / asset["href"]).read_bytes()
            assert asset["file:size"] == len(content)
            assert asset["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()


def test_the_pixels_behind_the_item_are_those_of_the_mosaic(two_years, make_land):
    """Loaded by odc-stac through the item, without anything else being said."""
    item = pystac.Item.from_file(str(two_years.folder.versions(2019) / "current" / "item.json"))
    loaded = odc.stac.load([item], bands=["classes", "confidence", "observations"])
    expected = make_land(600, seed=1)
    expected[30:44, 4:20] = 30
    assert loaded.odc.geobox.crs == "EPSG:3035"
    assert np.array_equal(loaded.classes.isel(time=0).values, expected)
    assert loaded.classes.attrs["nodata"] == 0
    with rasterio.open(two_years.folder.mosaic(2019) / "confidence.tif") as file:
        assert np.array_equal(loaded.confidence.isel(time=0).values, file.read(1))
        assert tuple(loaded.odc.geobox.affine)[:6] == tuple(file.transform)[:6]


def test_layers_stay_cloud_optimised(two_years):
    """All four, by rio-cogeo."""
    home = two_years.folder.versions(2019) / "current"
    layers = sorted(home.glob("*.tif"))
    assert len(layers) == 4
    for path in layers:
        valid, errors, _ = cog_validate(path, quiet=True)
        assert valid, errors


def test_provenance_names_inputs_code_environment_and_parameters(maps, make_land, monkeypatch, tmp_path):
    """Everything that an auditor asks for, also the Slurm job and the lock file."""
    lock = tmp_path / "requirements.lock"
    lock.write_text("numpy==2.4.6\n")
    monkeypatch.setenv("LANDCOVER_LOCK", str(lock))
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "deep")
    maps.published(2019, make_land(50))
    home = maps.folder.versions(2019) / "current"
    stored, item = (json.loads((home / name).read_text()) for name in ("provenance.json", "item.json"))
    assert [len(stored["scenes"][year]) for year in ("2018", "2019")] == [24, 24]
    assert stored["configuration"] == maps.configuration.model_dump(mode="json")
    assert stored["environment"]["lock"]["sha256"] == hashlib.sha256(b"numpy==2.4.6\n").hexdigest()
    assert stored["environment"]["packages"]["rasterio"] == rasterio.__version__
    assert stored["slurm"] == {"job": "4711", "cluster": "deep"}
    properties = item["properties"]
    assert properties["processing:facility"] == "deep"
    assert properties["processing:software"]["landcover_jobs"] == stored["code"]["key"]
    assert properties["landcover:lock_sha256"] == stored["environment"]["lock"]["sha256"]
    assert properties["landcover:model"] == {"kind": "random_forest", "key": "0123456789abcdef"}
    inputs = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert len(inputs) == 24
    assert inputs[0] == "https://stac.example.org/v1/collections/sentinel-2-l2a/items/S2A_20190101_35TLL"


def test_class_names_of_the_catalogue_are_short_and_different(maps):
    """The extension takes letters, digits, - and _; what is left must not be the same twice."""
    classes = [
        each.model_copy(update={"name": name})
        for each, name in zip(maps.configuration.classes, ("Forêt <b>", "???", "!!!", "no data"), strict=True)
    ]
    found = class_fields("classes.tif", classes)["classification:classes"]
    assert [each["name"] for each in found] == ["no_data", "for_t_b", "class", "class_30", "no_data_80"]
    assert [each["title"] for each in found[1:]] == ["Forêt <b>", "???", "!!!", "no data"]
    assert found[1]["color_hint"] == "1B6E3C"
    assert class_fields("confidence.tif", classes) == {}


@pytest.mark.parametrize(
    ("licence", "expected"),
    [("CC-BY-4.0", "CC-BY-4.0"), ("Apache-2.0", "Apache-2.0"), ("ask us first", "other"), ("proprietary", "other")],
)
def test_a_licence_in_words_is_other(licence: str, expected: str):
    """STAC has SPDX identifiers only."""
    assert spdx_licence(licence) == expected
