"""One file over HTTP: resumed where it stopped, tried again where the network fails, checked before it counts.

`<file>.part` grows while bytes come; `<file>.part.json` says of what it is a part, and which version the server had
(its ETag or date): a part of another version is never continued.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import urllib3

from landcover_jobs.configuration.images import Transfer
from landcover_jobs.job import StepError, say, write_json
from landcover_jobs.records import file_sha256
from landcover_jobs.scenes.checksum import Stated
from landcover_jobs.scenes.fetched import Wanted
from landcover_jobs.scenes.patience import PASSING, GaveUp, Patience, retry_after, short

READ_BYTES = 1 << 20
FORBIDDEN = frozenset({401, 403})


class Stopped(Exception):
    """The step is ending; the parts stay."""


class Interrupted(Exception):
    """An attempt did not get to the end, but the next one may."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Progress:
    """Counts what arrives, for a line in the log now and then."""

    def __init__(self, files: int) -> None:
        self._files, self._done, self._bytes = files, 0, 0
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def arrived(self, size: int) -> None:
        """Count bytes."""
        with self._lock:
            self._bytes += size

    def finished(self) -> None:
        """Count a file."""
        with self._lock:
            self._done += 1

    @property
    def bytes(self) -> int:
        """How many bytes have arrived."""
        return self._bytes

    def __str__(self) -> str:
        megabytes = self._bytes / 1e6
        rate = megabytes / max(time.monotonic() - self._began, 1e-3)
        return f"fetched {self._done} of {self._files} files, {megabytes:.1f} MB, {rate:.1f} MB/s"


@dataclass
class Line:
    """What all transfers of a step share."""

    transfer: Transfer
    sign: Callable[[str], str]  # from an address to one that may be read
    progress: Progress
    session: requests.Session = field(default_factory=requests.Session)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=self.transfer.at_once)
        self.session.mount("http://", adapter)
        self.session.mount("https://", adapter)

    @property
    def signs(self) -> bool:
        """Whether addresses are signed, so that a refused one may be allowed with a new signature."""
        return self.sign is not unsigned

    def patience(self, what: str) -> Patience:
        """Return the attempts of one file; its waits end when the step does."""
        return Patience(self.transfer, what, self._sleep)

    def _sleep(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Stopped


def download(wanted: Wanted, line: Line) -> tuple[int, str]:
    """Bring one file to its place and return its size and SHA-256.

    A file that is not what the source states is fetched once more from its beginning.

    Raises:
        StepError: it cannot be had, or is not what the source states the second time either.
        Stopped: the step ends.
    """
    stated, part = Stated.of(wanted.content), _part(wanted)
    wanted.folder.mkdir(parents=True, exist_ok=True)
    for last in (False, True):
        _complete(wanted, part, line, can_check=stated.checksum is not None)
        wrong = stated.disagreement(part)
        if wrong is None:
            break
        _discard(part)
        if last:
            raise StepError(
                f"{wanted.what}: fetched twice, and wrong both times: {wrong}; the file or its description is wrong "
                f"at the source: report it there, or leave the scene out with source.exclude"
            )
        say(f"{wanted.what}: {wrong}; fetching it once more from the beginning")
    size, digest = part.stat().st_size, stated.sha256 or file_sha256(part)
    part.replace(wanted.target)
    _described(part).unlink(missing_ok=True)
    return size, digest


def _part(wanted: Wanted) -> Path:
    return wanted.target.with_name(wanted.target.name + ".part")


def _described(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _described(part).unlink(missing_ok=True)


def _complete(wanted: Wanted, part: Path, line: Line, *, can_check: bool) -> None:
    """Make attempts until the part is the whole file."""
    patience = line.patience(wanted.what)
    while True:
        had = _size(part)
        try:
            _attempt(wanted, part, line, can_check=can_check)
        except Interrupted as interruption:
            if _size(part) > had:
                patience.progressed()
            try:
                patience.wait(str(interruption), interruption.retry_after)
            except GaveUp as error:
                raise StepError(
                    f"{wanted.what} could not be fetched: {error}; run `fetch` again, it resumes; "
                    f"if it stays so, leave the scene out with source.exclude"
                ) from error
        else:
            return


def _attempt(wanted: Wanted, part: Path, line: Line, *, can_check: bool) -> None:
    headers = {"Accept-Encoding": "identity"} | _continuation(wanted, part, can_check=can_check)
    have = _size(part)
    timeout = line.transfer.timeout_seconds
    try:
        with line.session.get(line.sign(wanted.address), headers=headers, stream=True, timeout=timeout) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                if _whole_size(response) == have:
                    return
                _discard(part)
                raise Interrupted("the file has become shorter at the source")
            _check(response, wanted, signed=line.signs)
            if response.status_code != requests.codes.partial_content:
                _describe(part, wanted, response)
                have = 0
            elif _first_byte(response) != have:
                _discard(part)
                raise Interrupted("the server answers with another part than it was asked for")
            _receive(response, part, have, line)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise Interrupted(short(error)) from error


def _receive(response: requests.Response, part: Path, have: int, line: Line) -> None:
    stated = response.headers.get("Content-Length")
    total = have + int(stated) if stated is not None else None
    with part.open("ab" if have else "wb") as file:
        while chunk := response.raw.read1(READ_BYTES, decode_content=False):
            if line.stop.is_set():
                raise Stopped
            file.write(chunk)
            line.progress.arrived(len(chunk))
        size = file.tell()
    if total is not None and size != total:
        raise Interrupted(f"the connection ended after {size:,} of {total:,} bytes")


def _continuation(wanted: Wanted, part: Path, *, can_check: bool) -> dict[str, str]:
    """Return the headers that ask for what lacks; without a version of the file, only a checksum makes it safe."""
    have = _size(part)
    version = _version(wanted, part)
    if not have or version is None or not (version or can_check):
        _discard(part)
        return {}
    return {"Range": f"bytes={have}-"} | ({"If-Range": version} if version else {})


def _version(wanted: Wanted, part: Path) -> str | None:
    """Return the server's version of the file that a part belongs to, "" where it has none, None if of another."""
    try:
        said: dict[str, Any] = json.loads(_described(part).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    same = (said.get("address"), said.get("content")) == (wanted.address, wanted.content)
    return str(said.get("version", "")) if same else None


def _describe(part: Path, wanted: Wanted, response: requests.Response) -> None:
    tag = response.headers.get("ETag", "")
    version = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")
    part.unlink(missing_ok=True)
    write_json(_described(part), {"address": wanted.address, "content": wanted.content, "version": version})


def _check(response: requests.Response, wanted: Wanted, *, signed: bool) -> None:
    status = response.status_code
    if status in PASSING or (signed and status in FORBIDDEN):
        raise Interrupted(f"the server answers {status} {response.reason}", retry_after(response))
    if status in FORBIDDEN:
        raise StepError(
            f"{wanted.what}: the server answers {status} {response.reason}; the address needs a signature or a login "
            f"(source.signing, ~/.netrc)"
        )
    if status not in (requests.codes.ok, requests.codes.partial_content):
        raise StepError(
            f"{wanted.what}: the server answers {status} {response.reason}; it is not there: run `search` again, "
            f"or leave the scene out with source.exclude"
        )


def unsigned(address: str) -> str:
    """Return an address as it is."""
    return address


def _whole_size(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(text) if text.isdigit() else None


def _first_byte(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(text) if text.isdigit() else None


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
