"""Ask a vulnerability service about the versions in constraints.txt, by pip-audit, and say so where none can be asked.

pip-audit itself passes what a package index without such knowledge (a mirror) does not know as "not audited". So each
service is first asked about a version that is known to be vulnerable: one that does not report it is not believed.

Exit status: 0 where nothing was found, or where no service could be asked (which is said); 1 where something was found.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

#: Findings that are accepted, by their ids, each with the reason why headnode is not affected.
ACCEPTED: Final[dict[str, str]] = {}
# CVE-2018-18074: it sent passwords to the host of a redirection.
KNOWN_TO_BE_VULNERABLE: Final = "requests==2.19.0"
TIMEOUT_SECONDS: Final = 300


class NotAsked(Exception):
    """A service gave no answer that can be believed."""


def ask(requirements: Path, service: Sequence[str]) -> list[dict[str, Any]]:
    """Return what pip-audit reports of each pinned version.

    Raises:
        NotAsked: it reports nothing.
    """
    program = Path(sys.executable).parent / "pip-audit"
    options = ("--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off", "--timeout=10")
    command = [str(program), *options, "--requirement", str(requirements), *service]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
        return list(json.loads(done.stdout)["dependencies"])
    except subprocess.TimeoutExpired:
        raise NotAsked(f"no answer within {TIMEOUT_SECONDS} s") from None
    except (ValueError, KeyError):
        last = done.stderr.strip().splitlines()[-1:] or ["no answer"]
        raise NotAsked(last[0][:200]) from None


def check_service(service: Sequence[str]) -> None:
    """Ask about a version that is known to be vulnerable.

    Raises:
        NotAsked: it is not reported.
    """
    with tempfile.TemporaryDirectory() as folder:
        control = Path(folder) / "control.txt"
        control.write_text(KNOWN_TO_BE_VULNERABLE + "\n")
        answer = ask(control, service)
    if not any(each.get("vulns") for each in answer):
        raise NotAsked(f"it knows nothing of {KNOWN_TO_BE_VULNERABLE}, which is known to be vulnerable")


def judge(answer: Sequence[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Return lines about what was found and is not accepted, and the names of what was not looked at."""
    findings = []
    for each in answer:
        for found in each.get("vulns", ()):
            if not ACCEPTED.keys() & {found["id"], *found.get("aliases", ())}:
                fixed = ", ".join(found.get("fix_versions") or ["none"])
                findings.append(f"{each['name']} {each['version']}: {found['id']} (fixed in: {fixed})")
    return findings, [str(each["name"]) for each in answer if "skip_reason" in each]


def main() -> int:
    """Audit the file that is named; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("requirements", type=Path)
    parser.add_argument("--osv-url", help="where an OSV service is, in place of PyPI's and OSV's own")
    given = parser.parse_args()
    services = [["--vulnerability-service=pypi"], ["--vulnerability-service=osv"]]
    if given.osv_url:
        services = [["--vulnerability-service=osv", f"--osv-url={given.osv_url}"]]
    reasons = []
    for service in services:
        try:
            check_service(service)
            findings, skipped = judge(ask(given.requirements, service))
        except NotAsked as reason:
            reasons.append(f"{service[0].partition('=')[2]}: {reason}")
            continue
        if skipped:
            print(f"pip-audit: WARNING: not known to the service, so NOT audited: {', '.join(skipped)}")
        for line in findings:
            print(f"pip-audit: {line}")
        print(f"pip-audit: {len(findings)} known vulnerabilities in {given.requirements}")
        return 1 if findings else 0
    print(
        f"pip-audit: WARNING: the versions in {given.requirements} were NOT audited, for no vulnerability service could"
        f" be asked from here ({'; '.join(reasons)})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
