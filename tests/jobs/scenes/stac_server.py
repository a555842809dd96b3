"""A real HTTP server of a folder's files: with ranges and, where a test asks for them, with faults.

`with serving(folder) as url` is enough for most tests; `with served(folder) as server` also tells which requests came
and takes faults: `server.faults["B4.tif"] = [Drop(100), Status(503)]` are the answers to the next two requests of paths
that end so. As a program: `python stac_server.py FOLDER PORT [BYTES_PER_SECOND]`.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR
from urllib.parse import unquote, urlsplit

CHUNK = 16 * 1024
TYPES = {".json": "application/json", ".tif": "image/tiff"}


@dataclass(frozen=True)
class Drop:
    """The connection ends after so many bytes of the body."""

    after: int


@dataclass(frozen=True)
class Status:
    """The server answers with a status alone."""

    code: int
    retry_after: str | None = None


@dataclass(frozen=True)
class WrongBytes:
    """The body has the right length, and other bytes."""


@dataclass(frozen=True)
class Truncated:
    """The body is so long, and the headers say that this is all."""

    size: int


@dataclass(frozen=True)
class Silent:
    """The server takes the request and never answers."""


@dataclass(frozen=True)
class NoRanges:
    """The server answers with the whole file, whatever range it was asked for."""


Fault = Drop | Status | WrongBytes | Truncated | Silent | NoRanges


@dataclass(frozen=True)
class Request:
    """A request that came."""

    method: str
    path: str
    range: str | None


@dataclass
class Server:
    """What a test sees of the server."""

    folder: Path
    port: int = 0
    bytes_per_second: int | None = None
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    refuses: Callable[[str], int | None] = lambda _: None  # by the whole request target, with its query
    answers: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)  # JSON of paths that are no files
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def count(self, ending: str, method: str = "GET") -> int:
        """Return how often paths that end so have been asked for."""
        return sum(each.method == method and each.path.endswith(ending) for each in self.requests)

    def fault(self, path: str) -> Fault | None:
        """Return the next fault of a path, and forget it."""
        for ending, faults in self.faults.items():
            if path.endswith(ending) and faults:
                return faults.pop(0)
        return None


class Handler(BaseHTTPRequestHandler):
    """Answers with files."""

    protocol_version = "HTTP/1.1"
    server: "_HTTPServer"

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer(with_body=False)

    def do_GET(self) -> None:
        """Answer with the file, or with the next fault."""
        self._answer(with_body=True)

    def do_POST(self) -> None:
        """Answer with JSON, made of the JSON that came."""
        self._answer(self.rfile.read(int(self.headers["Content-Length"])), with_body=True)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, asked: bytes = b"", *, with_body: bool) -> None:
        # A proxy is asked for whole addresses: only their path counts here.
        path = unquote(urlsplit(self.path).path)
        seen = self.server.seen
        seen.requests.append(Request(self.command, path, self.headers.get("Range")))
        fault = seen.fault(path) if with_body else None
        refusal = seen.refuses(self.path)
        if isinstance(fault, Silent):
            seen.closing.wait()
            self._hang_up()
        elif refusal or isinstance(fault, Status):
            self._status(refusal or fault.code, getattr(fault, "retry_after", None))
        elif path in seen.answers:
            self._send(200, seen.answers[path](asked), {"Content-Type": "application/json"}, None, with_body=with_body)
        else:
            self._file(seen.folder / path.lstrip("/"), fault, with_body=with_body)

    def _file(self, file: Path, fault: Fault | None, *, with_body: bool) -> None:
        if not file.is_file():
            self._status(404)
            return
        content, tag = file.read_bytes(), f'"{file.stat().st_mtime_ns:x}"'
        if isinstance(fault, Truncated):
            content = content[: fault.size]
        if isinstance(fault, WrongBytes):
            content = bytes(byte ^ 0xFF for byte in content)
        headers = {"ETag": tag, "Accept-Ranges": "bytes", "Content-Type": TYPES.get(file.suffix, "application/x")}
        asked = self.headers.get("Range")
        if asked is None or isinstance(fault, NoRanges) or self.headers.get("If-Range", tag) != tag:
            self._send(200, content, headers, fault, with_body=with_body)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last) if last else len(content) - 1, len(content) - 1)
        if begin >= len(content):
            self._status(416, content_range=f"bytes */{len(content)}")
            return
        headers["Content-Range"] = f"bytes {begin}-{end}/{len(content)}"
        self._send(206, content[begin : end + 1], headers, fault, with_body=with_body)

    def _status(self, code: int, retry_after: str | None = None, content_range: str | None = None) -> None:
        headers = {"Retry-After": retry_after, "Content-Range": content_range}
        self._send(code, b"", {name: value for name, value in headers.items() if value}, None, with_body=False)

    def _send(self, code: int, body: bytes, headers: dict[str, str], fault: Fault | None, *, with_body: bool) -> None:
        self.send_response(code)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if not with_body:
            return
        end = fault.after if isinstance(fault, Drop) else len(body)
        rate = self.server.seen.bytes_per_second
        with contextlib.suppress(OSError):
            for begin in range(0, end, CHUNK):
                part = body[begin : min(begin + CHUNK, end)]
                self.wfile.write(part)
                if rate:
                    time.sleep(len(part) / rate)
        if end < len(body):
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(SHUT_RDWR)


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, seen: Server) -> None:
        self.seen = seen
        super().__init__(("127.0.0.1", seen.port), Handler)
        seen.port = self.server_address[1]

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that have gone."""


@contextlib.contextmanager
def served(folder: Path, **settings: object) -> Iterator[Server]:
    """Serve a folder until the block ends."""
    seen = Server(folder, **settings)
    http = _HTTPServer(seen)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        seen.closing.set()
        http.shutdown()
        http.server_close()
        thread.join()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder and yield its address, without a slash at the end."""
    with served(folder) as server:
        yield server.url


def main() -> None:
    """Serve a folder until the process is killed."""
    folder, port, *rate = sys.argv[1:]
    _HTTPServer(Server(Path(folder), int(port), int(rate[0]) if rate else None)).serve_forever()


if __name__ == "__main__":
    main()
