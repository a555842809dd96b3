"""Styles and pictures: the legend's colours, exactly, wherever they appear."""

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from landcover_jobs.configuration.legend import LandCoverClass
from landcover_jobs.job import StepError
from landcover_jobs.publishing import pictures
from landcover_jobs.publishing.quicklook import Caption, Sheet, draw_quicklook
from landcover_jobs.publishing.styles import legend_json, qgis_style, sld_style
from PIL import Image

HOSTILE = "<script>alert(\"$x_2$\")</script> & 'co'"


@pytest.fixture
def classes() -> tuple[LandCoverClass, ...]:
    """Return classes, one with a name that breaks careless writers."""
    return (
        LandCoverClass(value=1, name="Forest", colour="#1B6E3C"),
        LandCoverClass(value=250, name=HOSTILE, colour="#e8a33d"),
    )


def test_the_qgis_style_is_what_qgis_reads(classes):
    """A paletted renderer of band 1: `QgsPalettedRasterRenderer` reads value, label, colour and alpha of each entry."""
    text = qgis_style(classes)
    assert text.startswith("<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<qgis ")
    root = ET.fromstring(text)  # noqa: S314 - our own text
    assert root.tag == "qgis"
    assert re.fullmatch(r"3\.\d+\.\d+", root.attrib["version"])
    (renderer,) = root.findall("./pipe/rasterrenderer")
    assert (renderer.attrib["type"], renderer.attrib["band"], renderer.attrib["opacity"]) == ("paletted", "1", "1")
    entries = [entry.attrib for entry in renderer.findall("./colorPalette/paletteEntry")]
    assert entries == [
        {"value": "1", "label": "Forest", "color": "#1b6e3c", "alpha": "255"},
        {"value": "250", "label": HOSTILE, "color": "#e8a33d", "alpha": "255"},
    ]


def test_the_style_for_map_servers_maps_values_to_the_same_colours(classes):
    """SLD 1.0, a colour map of values, no data transparent."""
    space = {"sld": "http://www.opengis.net/sld"}
    root = ET.fromstring(sld_style("A <map>", classes).encode())  # noqa: S314 - our own text
    (colours,) = root.findall(".//sld:RasterSymbolizer/sld:ColorMap", space)
    assert colours.attrib["type"] == "values"
    found = [(each.attrib["quantity"], each.attrib["color"], each.attrib["opacity"]) for each in colours]
    assert found == [("0", "#000000", "0"), ("1", "#1b6e3c", "1"), ("250", "#e8a33d", "1")]
    assert root.findtext(".//sld:UserStyle/sld:Title", namespaces=space) == "A <map>"


def test_the_legend_has_values_names_and_colours(maps):
    """As the configuration has them."""
    legend = json.loads(legend_json(maps.configuration))
    assert legend["no_data"] == 0
    assert legend["classes"][3] == {"value": 80, "name": "Water", "colour": "#3a7ca5", "rgb": [58, 124, 165]}


def test_published_classes_have_the_colours_of_the_legend_in_all_files(maps, make_land):
    """Colour table of the GeoTIFF, QGIS style and pixels of the quicklook agree."""
    maps.published(2018, make_land(60))
    home = maps.folder.versions(2018) / "current"
    with rasterio.open(home / "classes.tif") as file:
        table = file.colormap(1)
    palette = ET.parse(home / "classes.qml").iter("paletteEntry")  # noqa: S314 - our own text
    styled = {int(each.attrib["value"]): each.attrib["color"] for each in palette}
    with Image.open(home / "quicklook.png") as image:
        drawn = {f"#{bytes(colour[:3]).hex()}" for _, colour in image.getcolors(1 << 24)}
    for each in maps.configuration.classes:
        assert table[each.value] == (*each.rgb, 255)
        assert styled[each.value] == each.colour
        assert each.colour in drawn


def test_a_picture_has_the_exact_colours_in_few_bytes():
    """Up to 256 colours go into a palette, more stay as they are."""
    random = np.random.default_rng(3)
    few = random.integers(0, 256, (7, 3), dtype=np.uint8)[random.integers(0, 7, (40, 30))]
    many = random.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    for colours, mode in ((few, "P"), (many, "RGB")):
        image = Image.open(io.BytesIO(pictures.png(colours)))
        assert image.mode == mode
        assert np.array_equal(np.asarray(image.convert("RGB")), colours)


def write_layer(path: Path, values: np.ndarray, crs: str, resolution: float, top: float) -> Path:
    """Write a small raster with nodata 0."""
    transform = rasterio.transform.from_origin(10.0, top, resolution, resolution)
    profile = {"driver": "GTiff", "height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=crs, transform=transform, nodata=0, **profile) as file:
        file.write(values, 1)
    return path


def test_a_large_layer_is_thinned_out_and_a_small_one_is_not(tmp_path):
    """The longer edge is what counts; values are those of pixels, not mixtures."""
    values = np.where(np.arange(3000) < 1500, 10, 80).astype(np.uint8)
    large = pictures.read_picture(
        write_layer(tmp_path / "large.tif", np.tile(values, (300, 1)), "EPSG:3035", 20, 10), longest=1000
    )
    assert large.shape == (100, 1000)
    assert set(np.unique(large.values)) == {10, 80}
    small = pictures.read_picture(write_layer(tmp_path / "small.tif", np.eye(5, dtype=np.uint8), "EPSG:3035", 20, 10))
    assert small.shape == (5, 5)
    assert pictures.hidden(small.values).sum() == 20


def test_a_layer_that_cannot_be_read_is_named(tmp_path):
    """With what to do."""
    (tmp_path / "classes.tif").write_bytes(b"nothing")
    with pytest.raises(StepError, match=r"classes\.tif cannot be read .*run the step `mosaic` again"):
        pictures.read_picture(tmp_path / "classes.tif")


@pytest.mark.parametrize(
    ("width", "words", "share"),
    [
        (1000.0, "200 m", 0.2),
        (12_000.0, "2 km", 1 / 6),
        (109_800.0, "20 km", 0.182),
        (8.0, "2 m", 0.25),
        (3.9, "0.5 m", 0.128),
    ],
)
def test_a_scale_bar_has_a_round_length_of_at_most_a_quarter(width, words, share):
    """One, two or five, and zeros."""
    found, text = pictures.scale_bar(width)
    assert text == words
    assert found == pytest.approx(share, abs=0.001)
    assert found <= 0.25


def test_a_map_in_degrees_has_a_scale_of_metres(tmp_path):
    """At 60 degrees north a degree of longitude is half as long as at the equator."""
    values = np.ones((10, 100), dtype=np.uint8)
    picture = pictures.read_picture(write_layer(tmp_path / "degrees.tif", values, "EPSG:4326", 0.01, 60.05))
    assert picture.metres_of_width == pytest.approx(111_320 / 2, rel=0.002)
    feet = pictures.read_picture(write_layer(tmp_path / "feet.tif", values, "EPSG:2225", 10, 60.05))
    assert feet.metres_of_width == pytest.approx(1000 * 0.3048006, rel=1e-6)


@pytest.mark.parametrize(("height", "width", "count"), [(30, 300, 4), (300, 30, 4), (1, 1, 4), (50, 50, 24)])
def test_any_shape_and_many_classes_with_any_name_are_drawn(tmp_path, height, width, count):
    """Wide, tall, tiny; `$` begins no formula, and long names are cut."""
    names = [HOSTILE, "Rather long name of a class of land cover that no legend has the room to show", "A", "B"]
    classes = tuple(
        LandCoverClass(value=number + 1, name=f"{names[number % 4]} {number}", colour=f"#{number * 9:02x}a040")
        for number in range(count)
    )
    colours = np.full((height, width, 3), 200, dtype=np.uint8)
    target = tmp_path / "quicklook.png"
    sheet = Sheet(left=colours, right=colours, metres_of_width=width * 20, classes=classes, shows_nothing=True)
    caption = Caption(
        title=HOSTILE * 5, subtitle="$ \\frac", attribution=HOSTILE, left="Left", right="Right", right_note="1 ha"
    )
    draw_quicklook(sheet, caption, target)
    with Image.open(target) as image:
        assert image.width == 1430
        assert 300 < image.height < 2200
