"""The legend of a map in the formats that programs read: JSON, QGIS's QML and OGC's SLD.

QGIS applies `classes.qml` by itself to `classes.tif` beside it. The file has what `QgsPalettedRasterRenderer` reads:
band, opacity, and a `paletteEntry` (value, label, colour, alpha) for each class.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from xml.etree import ElementTree as ET  # nosec B405 - it writes, and parses nothing

from landcover_jobs.configuration.legend import LandCoverClass
from landcover_jobs.configuration.map_configuration import NO_DATA, MapConfiguration

QGIS_VERSION = "3.28.0"  # the oldest one that the style was written for
QGIS_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
SLD, OGC = "http://www.opengis.net/sld", "http://www.opengis.net/ogc"


def legend_json(configuration: MapConfiguration) -> str:
    """Return the classes with values, names and colours, and the value that means nothing."""
    classes = [
        {"value": each.value, "name": each.name, "colour": each.colour.lower(), "rgb": list(each.rgb)}
        for each in configuration.classes
    ]
    content = {"title": configuration.title, "no_data": NO_DATA, "classes": classes}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def qgis_style(classes: Sequence[LandCoverClass]) -> str:
    """Return the QML text of a paletted style; the value without a class stays transparent, as the file's nodata."""
    qgis = ET.Element("qgis", version=QGIS_VERSION, styleCategories="Symbology")
    pipe = ET.SubElement(qgis, "pipe")
    renderer = ET.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    ET.SubElement(renderer, "rasterTransparency")
    palette = ET.SubElement(renderer, "colorPalette")
    for each in classes:
        ET.SubElement(
            palette, "paletteEntry", value=str(each.value), label=each.name, color=each.colour.lower(), alpha="255"
        )
    ET.SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    ET.SubElement(pipe, "huesaturation", saturation="0", grayscaleMode="0", colorizeOn="0")
    ET.SubElement(pipe, "rasterresampler", maxOversampling="2")
    ET.SubElement(qgis, "blendMode").text = "0"
    return QGIS_DOCTYPE + _text(qgis)


def sld_style(title: str, classes: Sequence[LandCoverClass]) -> str:
    """Return the style for map servers, as Styled Layer Descriptor 1.0."""
    root = ET.Element("StyledLayerDescriptor", {"version": "1.0.0", "xmlns": SLD, "xmlns:ogc": OGC})
    layer = ET.SubElement(root, "NamedLayer")
    ET.SubElement(layer, "Name").text = title
    style = ET.SubElement(layer, "UserStyle")
    ET.SubElement(style, "Title").text = title
    rule = ET.SubElement(ET.SubElement(style, "FeatureTypeStyle"), "Rule")
    colours = ET.SubElement(ET.SubElement(rule, "RasterSymbolizer"), "ColorMap", type="values")
    entries = [(NO_DATA, "#000000", "no data", "0"), *((each.value, each.colour, each.name, "1") for each in classes)]
    for value, colour, name, opacity in entries:
        ET.SubElement(colours, "ColorMapEntry", color=colour.lower(), quantity=str(value), label=name, opacity=opacity)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _text(root)


def _text(root: ET.Element) -> str:
    ET.indent(root, space=" ")
    return ET.tostring(root, encoding="unicode") + "\n"
