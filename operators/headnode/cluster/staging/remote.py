"""What is asked of a cluster to stage files there: procedures, each one bash script that can be repeated."""

from __future__ import annotations

import base64
import gzip
import re
import shlex
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from headnode.cluster.procedures import Output, Procedure, ask, shell
from headnode.cluster.staging.manifest import Item, Manifest, parse_hashes, parse_listing
from headnode.cluster.staging.spot import Spot, content_of
from headnode.errors import NoSpaceLeft, TransferError, UnreadableAnswer

# A folder of another task's is taken over only when nobody has written into it for so long.
ABANDONED_MINUTES: Final = 30
_HASH_BATCH: Final = 5_000
_SLOWEST_BYTES_PER_SECOND: Final = 10e6
_LOOK_SECONDS: Final = 180.0
_LIST_SECONDS: Final = 600.0
_FULL: Final = ("no space left", "quota exceeded", "file too large")

# sha256sum may write half a line at a time, so that each of those that run at the same time needs a file of its own.
_HASH: Final = r"""
out=$(mktemp -d) || return 1
cd -- "$root" 2>/dev/null || cd -- "${root%/*}/" || return 1
names | nice -n 5 xargs -0 -r -P 4 -n 200 bash -c 'sha256sum -z -- "$@" >> "$0/$$"' "$out"
status=$?
cat "$out"/* 2>/dev/null | gzip -c | base64 -w0
rm -rf "$out"
return $status
"""

# Two renames replace a folder, so that two tasks which put theirs in the same place take turns, where the file system
# knows locks.
_LOCK: Final = r"""
lock() { exec 9<"$parent" && { flock -w 120 9 2>/dev/null || :; }; }
unlock() { exec 9<&-; }
"""

_PREPARE: Final = r"""
mkdir -p -- "$parent" && lock || return 1
if [ ! -e "$path" ] && [ -d "$aside" ]; then mv -T -- "$aside" "$path" || return 1; fi
unlock
if [ ! -d "$part" ]; then
  find "$parent" -maxdepth 1 -type d -name "$abandoned" -print0 | while IFS= read -r -d '' other; do
    [ -z "$(find "$other" -mmin -$minutes -print -quit)" ] && mv -T -- "$other" "$part" 2>/dev/null && break
  done
fi
(umask 077; mkdir -p -- "$part") || return 1
if [ -n "$folder" ]; then
  mkdir -p -- "$part/content" && cd -- "$part/content" && names | xargs -0 -r mkdir -p -- || return 1
fi
df -P -B1 -- "$part" | awk 'NR == 2 {print "free", $4}'
"""

# A name appears at once and whole; between the two renames of a folder that is replaced, the next attempt would find
# the old one aside and put it back.
_FINISH: Final = r"""
trap '' HUP PIPE
content=$part/content
if [ -d "$content" ]; then
  cd -- "$content" || return 1
  links | while IFS= read -r -d '' name && IFS= read -r -d '' target; do ln -sfn -- "$target" "$name" || exit 1; done \
    || return 1
  executable | xargs -0 -r chmod +x -- && plain | xargs -0 -r chmod -x -- || return 1
  cd / && lock || return 1
  if [ -d "$path" ]; then rm -rf -- "$aside" && mv -T -- "$path" "$aside" || return 1; fi
  if ! mv -T -- "$content" "$path"; then
    [ ! -d "$aside" ] || mv -T -- "$aside" "$path"
    return 1
  fi
  rm -rf -- "$aside"
else
  chmod "$mode" -- "$content" && mv -fT -- "$content" "$path" || return 1
fi
rm -rf -- "$part"
"""


def survey(path: str, *, work_directory: str) -> Procedure[Spot]:
    """Look at a path, which may be relative to the work directory or begin with ``~/``; links are followed.

    Raises:
        TransferError: the path can't be made out.
    """
    body = (
        f"root={shlex.quote(work_directory)}\npath={shlex.quote(path)}\n"
        'case "$root" in "~/"*) root=$HOME/${root#"~/"};; esac\n'
        'case "$path" in "~/"*) path=$HOME/${path#"~/"};; /*) ;; *) path=$root/$path;; esac\n'
        'path=$(realpath -mz -- "$path" | base64 -w0) && home=$(realpath -mz -- "$HOME" | base64 -w0) || return 1\n'
        'real=$(printf %s "$path" | base64 -d | tr -d "\\0")\n'
        'if [ -f "$real" ]; then kind=file; elif [ -d "$real" ]; then kind=folder\n'
        'elif [ -e "$real" ]; then kind=other; else kind=nothing; fi\n'
        "rsync --version >/dev/null 2>&1 && rsync=yes || rsync=no\n"
        'printf "path %s\\nhome %s\\nkind %s\\nrsync %s\\n" "$path" "$home" "$kind" "$rsync"'
    )
    output = yield from ask(shell(body, purpose=f"looking at {path!r}", timeout_seconds=_LOOK_SECONDS))
    _check(output, f"the path {path!r} can't be looked at")
    said = dict(line.split(" ", 1) for line in output.stdout.split("\n") if " " in line)
    try:
        return Spot(
            path=_path(said["path"]),
            home=_path(said["home"]),
            kind=_kind(said["kind"]),
            has_rsync=said["rsync"] == "yes",
        )
    except (KeyError, ValueError) as error:
        raise UnreadableAnswer(f"what the host says of the path {path!r} can't be read: {error!r}") from error


def _path(encoded: str) -> str:
    path = base64.b64decode(encoded, validate=True).rstrip(b"\0").decode("utf-8", "surrogateescape")
    if not path.startswith("/") or "\0" in path:
        raise ValueError(f"{path[:200]!r} is no absolute path")
    return path


def _kind(word: str) -> Literal["nothing", "file", "folder", "other"]:
    match word:
        case "nothing" | "file" | "folder" | "other":
            return word
    raise UnreadableAnswer(f"a path is of the unknown kind {word!r}")


def list_items(root: str, *, where: str) -> Procedure[dict[str, Item]]:
    """Return what is below ``root``, without hashes; nothing where there is nothing.

    Raises:
        TransferError: a folder can't be read.
        TransferRefused: there is a device, a socket or a pipe.
    """
    body = (
        f"root={shlex.quote(root)}\nset -o pipefail\n"
        'if [ -d "$root" ]; then\n'
        '  cd -- "$root" && find . -mindepth 1 -printf "%y %m %s %P\\0%l\\0" | gzip -c | base64 -w0\n'
        'elif [ -e "$root" ]; then find "$root" -maxdepth 0 -printf "%y %m %s \\0%l\\0" | gzip -c | base64 -w0; fi'
    )
    output = yield from ask(shell(body, purpose=f"listing {root!r}", timeout_seconds=_LIST_SECONDS))
    if output.status != 0:
        raise TransferError(f"{where} can't be read: {output.stderr.strip()[-300:]}")
    return parse_listing(_unpacked(output.stdout), where=where)


def hash_files(root: str, names: Sequence[str], *, size: int, where: str) -> Procedure[dict[str, str]]:
    """Return the SHA-256 of files below ``root`` (of ``root`` itself for the name ""), ``size`` bytes in all.

    Raises:
        TransferError: a file can't be read, or is not there any more.
    """
    hashes: dict[str, str] = {}
    alone = list(names) == [""]
    for batch in (names[at : at + _HASH_BATCH] for at in range(0, len(names), _HASH_BATCH)):
        given = [f"./{root.rpartition('/')[2]}"] if alone else [f"./{name}" for name in batch]
        seconds = _LIST_SECONDS + size / _SLOWEST_BYTES_PER_SECOND
        body = f"root={shlex.quote(root)}\n{_list('names', given)}{_HASH}"
        output = yield from ask(shell(body, purpose=f"checking {where}", timeout_seconds=seconds))
        if output.status != 0:
            raise TransferError(f"{where} can't be read: {output.stderr.strip()[-300:]}")
        found = parse_hashes(_unpacked(output.stdout))
        hashes |= {"" if alone else name[2:]: sha256 for name, sha256 in found.items()}
    return hashes


def prepare(spot: Spot, part: str, wanted: Manifest) -> Procedure[int | None]:
    """Make the staging folder, or find what an earlier attempt left there; return the free bytes where known.

    Raises:
        NoSpaceLeft: the disk or quota is full already.
        TransferError: the folder can't be made.
    """
    folders = [f"./{path}" for path, item in wanted.items.items() if item.kind == "folder"]
    body = (
        f"{_places(spot, part)}\nabandoned={shlex.quote(spot.abandoned_parts(wanted.sha256))}\n"
        f"minutes={ABANDONED_MINUTES} folder={'' if wanted.is_file else 'yes'}\n"
        f"{_list('names', folders)}{_LOCK}{_PREPARE}"
    )
    output = yield from ask(shell(body, purpose=f"preparing {part!r}", timeout_seconds=_LIST_SECONDS))
    _check(output, f"nothing can be stored beside {spot.path!r}")
    free = output.stdout.strip().rpartition("free ")[2]
    return int(free) if re.fullmatch("[0-9]{1,18}", free) else None


def remove(part: str, names: Iterable[str]) -> Procedure[None]:
    """Remove left-overs from a staging folder; a folder goes with all that is in it."""
    body = (
        f"{_list('names', [f'./{name}' for name in names if name])}"
        f"cd -- {shlex.quote(part)} || return 1\n"
        "if [ -d content ]; then cd content && names | xargs -0 -r rm -rf --; else rm -f content; fi"
    )
    output = yield from ask(shell(body, purpose=f"tidying {part!r}", timeout_seconds=_LIST_SECONDS))
    _check(output, f"left-overs in {part!r} can't be removed")


def link_present(spot: Spot, part: str, names: Sequence[str]) -> Procedure[None]:
    """Take files over that the destination holds already: by hard links, or copies where there are none."""
    alone = list(names) == [""]
    if alone:
        work = 'cp -lT -- "$path" "$part/content" 2>/dev/null || cp -T -- "$path" "$part/content"'
    else:
        work = (
            'cd -- "$path" || return 1\n'
            'names | xargs -0 -r cp -l --parents -t "$part/content" -- 2>/dev/null'
            ' || names | xargs -0 -r cp -f --parents -t "$part/content" --'
        )
    body = f"{_places(spot, part)}\n{_list('names', [f'./{name}' for name in names])}{work}"
    output = yield from ask(shell(body, purpose=f"taking over what is in {spot.path!r}", timeout_seconds=3600.0))
    _check(output, f"what is in {spot.path!r} can't be taken over")


def finish(spot: Spot, part: str, wanted: Manifest) -> Procedure[None]:
    """Give verified content its name, at once and whole.

    Raises:
        TransferError: the host refused.
    """
    links = [word for path, item in wanted.items.items() if item.kind == "link" for word in (f"./{path}", item.target)]
    files = wanted.files
    body = (
        f"{_places(spot, part)}\n{_list('links', links)}"
        f"{_list('executable', [f'./{path}' for path, item in files.items() if item.executable])}"
        f"{_list('plain', [f'./{path}' for path, item in files.items() if not item.executable])}"
        f"mode={'+x' if wanted.is_file and files[''].executable else '-x'}\n{_LOCK}{_FINISH}"
    )
    output = yield from ask(shell(body, purpose=f"putting {spot.path!r} in place", timeout_seconds=_LIST_SECONDS))
    _check(output, f"{spot.path!r} can't be put in place; what was sent is kept in {content_of(part)!r}")


def why_unwritable(part: str, *, offset: int) -> Procedure[str]:
    """Write at ``offset`` of a file for trial and return what the host says to it, as SFTP tells no reasons."""
    body = (
        f"cd -- {shlex.quote(part)} || return 1\n"
        f"dd if=/dev/zero of=trial bs=64k count=1 oflag=seek_bytes seek={offset} conv=fsync 2>trial.err\nstatus=$?\n"
        '[ $status = 0 ] || echo "$(head -n 1 trial.err)" >&2\nrm -f trial trial.err\nreturn $status'
    )
    output = yield from ask(
        shell(body, purpose="finding out why nothing can be written", timeout_seconds=_LOOK_SECONDS)
    )
    return output.stderr.strip()[-300:] if output.status != 0 else ""


def storing_error(said: str, *, what: str) -> TransferError:
    """Return the error for what a file system said: a full disk or quota is told from other refusals."""
    if any(words in said.lower() for words in _FULL):
        return NoSpaceLeft(
            f"{what}: {said}. The disk or your quota on it is full (or its limit for one file is reached): make room,"
            " or choose another destination; what has arrived is kept, and another try goes on from there"
        )
    return TransferError(f"{what}: {said or 'the host gave no reason'}")


def _check(output: Output, what: str) -> None:
    if output.status != 0:
        raise storing_error(output.stderr.strip()[-300:], what=what)


def _places(spot: Spot, part: str) -> str:
    return (
        f"path={shlex.quote(spot.path)} parent={shlex.quote(spot.parent)} part={shlex.quote(part)}"
        f" aside={shlex.quote(spot.aside)}"
    )


def _list(name: str, words: Iterable[str]) -> str:
    """Return a shell function that prints the words, each ended by NUL; they are no part of a command line."""
    packed = base64.b64encode(gzip.compress(b"".join(_ended(words)), mtime=0)).decode()
    return f"{name}() {{ base64 -d <<'headnode:list' | gzip -dc\n{packed}\nheadnode:list\n}}\n"


def _ended(words: Iterable[str]) -> Iterator[bytes]:
    return (word.encode("utf-8", "surrogateescape") + b"\0" for word in words)


def _unpacked(output: str) -> bytes:
    encoded = output.strip()
    try:
        return gzip.decompress(base64.b64decode(encoded, validate=True)) if encoded else b""
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise UnreadableAnswer(f"a list of files arrived damaged ({error})") from error
