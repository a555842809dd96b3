"""Let another version of a year count: `--version v3-0123456789abcdef`, or `--version previous`.

Nothing is deleted: the version that counted stays, deprecated, and may be turned to again. The result is that of
`publish`, about the version that counts now.
"""

from __future__ import annotations

from typing import Any

from landcover_jobs.invocation import invoked
from landcover_jobs.job import run
from landcover_jobs.publishing.publication import roll_back
from landcover_jobs.publishing.result import result_of


def main() -> dict[str, Any]:
    """Roll back, and tell which map counts now."""
    given = invoked("rollback", version="the version that is to count, or `previous`: the one that counted before")
    outcome = roll_back(given.map, given.folder, given.year, str(given.arguments.version))
    return result_of(given.folder, given.year, outcome)


if __name__ == "__main__":
    run(main)
