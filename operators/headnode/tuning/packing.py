"""The files that go with a job of a study: what runs on the cluster, as one archive, and the study's description."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

ARCHIVE_NAME: Final = "tuning.pyz"
STUDY_NAME: Final = "study.json"
_PACKAGE: Final = "headnode_tuning"
_MAIN: Final = f"""\
import sys
from pathlib import Path

from {_PACKAGE}.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(sys.path[0]).with_name("{STUDY_NAME}")))
"""
# Times in a ZIP begin there; a fixed one makes the same archive of the same files.
_TIME: Final = (1980, 1, 1, 0, 0, 0)


def study_files(study: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files' contents by their names."""
    return {ARCHIVE_NAME: archive(), STUDY_NAME: json.dumps(study, sort_keys=True).encode()}


@cache
def archive() -> bytes:
    """Return what Python runs on the cluster (a zip application)."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(zipfile.ZipInfo("__main__.py", _TIME), _MAIN, zipfile.ZIP_DEFLATED)
        for path in sorted((Path(__file__).parent / "on_cluster").glob("*.py")):
            entry = zipfile.ZipInfo(f"{_PACKAGE}/{path.name}", _TIME)
            packed.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return content.getvalue()
