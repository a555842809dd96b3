"""What has to be done so that a destination holds what a manifest says: decided from lists alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headnode.cluster.staging.manifest import Item, Items, Manifest
from headnode.errors import TransferRefused

_NAMED: Final = 3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps of one attempt. Paths are relative to the staging root.

    ``link`` are files that the destination holds already; ``remove`` are left-overs that can't be gone on with;
    ``send`` maps each file that must travel to the byte at which to go on.
    """

    link: tuple[str, ...]
    remove: tuple[str, ...]
    send: Mapping[str, int]
    resumed_bytes: int
    missing_bytes: int


def candidates(wanted: Manifest, present: Items) -> list[str]:
    """Return the files that may be the wanted ones already, by path and size; only their content can tell."""
    return [path for path, item in wanted.files.items() if (there := present.get(path)) and _same_size(item, there)]


def with_hashes(items: Items, hashes: Mapping[str, str]) -> dict[str, Item]:
    """Return the items with those hashes that are known."""
    return {
        path: dataclasses.replace(item, sha256=hashes[path]) if path in hashes else item for path, item in items.items()
    }


def is_complete(wanted: Manifest, present: Items) -> bool:
    """Whether exactly the wanted content is there."""
    return present.keys() == wanted.items.keys() and all(present[path] == item for path, item in wanted.items.items())


def refuse_losses(wanted: Manifest, present: Items, *, where: str) -> None:
    """Refuse to replace a folder that holds files which the source does not have.

    Raises:
        TransferRefused: there are such files; the message names some.
    """
    lost = sorted(path for path, item in present.items() if item.kind != "folder" and path not in wanted.items)
    if lost:
        some = ", ".join(map(repr, lost[:_NAMED])) + (", ..." if len(lost) > _NAMED else "")
        raise TransferRefused(
            f"{where} holds {len(lost)} files that the source does not have ({some}), and a folder is replaced as a"
            " whole: set delete=True to remove them, or choose another destination"
        )


def plan_transfer(wanted: Manifest, *, present: Items, staged: Items) -> Plan:
    """Return what is left to do; ``present`` is at the destination (hashed), ``staged`` left by an earlier attempt."""
    remove = [path for path, item in staged.items() if not _can_go_on(wanted.items.get(path), item)]
    kept = {path: item.size for path, item in staged.items() if item.kind == "file" and path not in remove}
    files = wanted.files
    link = [
        path
        for path, item in files.items()
        if path not in kept and (there := present.get(path)) is not None and there.sha256 == item.sha256
    ]
    linked = set(link)
    send = {
        path: kept.get(path, 0)
        for path, item in files.items()
        if path not in linked and (path not in kept or kept[path] < item.size)
    }
    return Plan(
        link=tuple(link),
        remove=tuple(remove),
        send=send,
        resumed_bytes=sum(kept.values()),
        missing_bytes=sum(files[path].size - start for path, start in send.items()),
    )


def differing(wanted: Manifest, hashes: Mapping[str, str]) -> list[str]:
    """Return the files whose staged content is not the wanted one."""
    files = wanted.files
    return sorted(path for path, sha256 in hashes.items() if files[path].sha256 != sha256)


def _same_size(item: Item, there: Item) -> bool:
    return there.kind == "file" and there.size == item.size


def _can_go_on(wanted: Item | None, staged: Item) -> bool:
    if wanted is None or wanted.kind != staged.kind:
        return False
    return staged.size <= wanted.size and staged.target == wanted.target
