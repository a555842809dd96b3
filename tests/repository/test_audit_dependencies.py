"""The audit of dependencies in ``make lint``: what is found fails it, and what could not be asked is said."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / ".ci" / "audit_dependencies.py"


class Osv(BaseHTTPRequestHandler):
    """Answers as api.osv.dev does, of the packages in ``vulnerable``."""

    vulnerable: frozenset[str] = frozenset()

    def do_POST(self):
        """Answer one question."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = asked["package"]["name"] in self.vulnerable
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}]
        entry = {"id": "GHSA-x", "summary": "s", "affected": [{"package": asked["package"], "ranges": ranges}]}
        body = json.dumps({"vulns": [entry]} if known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def audit(tmp_path):
    """Return a function that audits two packages by a service that knows some vulnerable ones."""
    requirements = tmp_path / "constraints.txt"
    requirements.write_text("# pinned\nattrs==25.1.0\nidna==3.10\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Osv)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(*vulnerable, url=f"http://127.0.0.1:{server.server_port}/"):
        Osv.vulnerable = frozenset(vulnerable)
        command = [sys.executable, PROGRAM, requirements, f"--osv-url={url}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.stderr == ""
        return done.returncode, done.stdout

    yield run
    server.shutdown()
    server.server_close()


def test_nothing_is_found(audit):
    """The service knows the control as vulnerable, and nothing of ours."""
    status, said = audit("requests")
    assert status == 0
    assert "0 known vulnerabilities" in said
    assert "WARNING" not in said


def test_what_is_found_fails(audit):
    """With the version that helps."""
    status, said = audit("requests", "idna")
    assert status == 1
    assert "idna 3.10: GHSA-x (fixed in: 99.0)" in said


@pytest.mark.parametrize(("vulnerable", "url"), [((), None), (("requests", "idna"), "http://127.0.0.1:9/")])
def test_a_service_that_is_not_there_or_knows_nothing(audit, vulnerable, url):
    """That is no clean bill of health, and is said."""
    status, said = audit(*vulnerable, **({"url": url} if url else {}))
    assert status == 0
    assert "WARNING: the versions in" in said
    assert "were NOT audited" in said
    assert "0 known vulnerabilities" not in said
