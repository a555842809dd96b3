"""The catalogue that commands use: this Airflow's, found without Airflow, which takes seconds to load."""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from headnode.sites.catalogue import Catalogue

_VARIABLE: Final = "AIRFLOW__HEADNODE__SITES_FOLDER"


def catalogue() -> Catalogue:
    """Return headnode's systems and those in the folders of ``[headnode] sites_folder``, which win.

    Raises:
        JobSpecError: that names no folder.
    """
    from headnode.sites.catalogue import Catalogue, split_folders  # noqa: PLC0415 - pydantic: --help must not wait

    return Catalogue(split_folders(_configured_folders()))


def _configured_folders() -> str:
    """Return what Airflow's configuration says, the variable before the file, as Airflow does."""
    if (value := os.environ.get(_VARIABLE)) is not None:
        return os.path.expandvars(value)
    home = Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser()
    path = Path(os.environ.get("AIRFLOW_CONFIG") or home / "airflow.cfg").expanduser()
    reader = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        reader.read_string(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return ""  # there is none, or one that Airflow itself complains about
    return os.path.expandvars(reader.get("headnode", "sites_folder", fallback=""))
