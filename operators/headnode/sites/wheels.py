"""Which wheels another machine can use, in the words of pip."""

from __future__ import annotations

import re
from typing import Final

from headnode.errors import JobSpecError

ARCHITECTURES: Final = ("x86_64", "aarch64")

# The older names of manylinux_2_5, 2_12 and 2_17 (PEP 600).
_LEGACY: Final = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
_OLDEST: Final = {"x86_64": 5, "aarch64": 17}
_NEWEST: Final = 99


def download_options(*, python: str, architecture: str, glibc: str) -> list[str]:
    """Return the options by which ``pip download`` takes wheels alone, for that Python, processor and C library.

    ``python`` and ``glibc`` are versions (``3.11``, ``2.28``): what ``python3 -V`` and ``ldd --version`` say there.
    A wheel for an older C library runs with a newer one (PEP 600).

    Raises:
        JobSpecError: one of them can't be right.
    """
    if not re.fullmatch(r"3\.[0-9]{1,2}", python):
        raise JobSpecError("python", f"{python!r} is no version of Python such as 3.11")
    if architecture not in ARCHITECTURES:
        raise JobSpecError("architecture", f"{architecture!r} is neither {' nor '.join(ARCHITECTURES)}")
    found = re.fullmatch(r"2\.([0-9]{1,2})", glibc)
    if found is None or int(found[1]) < _OLDEST[architecture]:
        oldest = f"2.{_OLDEST[architecture]}"
        raise JobSpecError("glibc", f"{glibc!r} is no version of the C library such as 2.28, of {oldest} or newer")
    platforms = []
    for minor in range(min(int(found[1]), _NEWEST), _OLDEST[architecture] - 1, -1):
        platforms.append(f"manylinux_2_{minor}_{architecture}")
        if minor in _LEGACY:
            platforms.append(f"{_LEGACY[minor]}_{architecture}")
    platforms.append(f"linux_{architecture}")
    return [
        "--only-binary=:all:",
        f"--python-version={python}",
        "--implementation=cp",
        *(f"--platform={each}" for each in platforms),
    ]
