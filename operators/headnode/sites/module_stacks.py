"""Blocks of module lines against the catalogue: made from it, and brought up to date with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headnode.errors import JobSpecError
from headnode.sites.catalogue import Catalogue, nearest
from headnode.sites.environments.environment import Surroundings
from headnode.sites.environments.modules import Modules
from headnode.sites.module_lines import Merged, merge_lines
from headnode.sites.modules_block import (
    ModulesBlock,
    ModulesBlockError,
    new_block,
    parse_modules_block,
    rename_block,
    render_modules_block,
    spelling,
    update_block,
)
from headnode.sites.system import System


@dataclass(frozen=True, kw_only=True)
class Stacks:
    """The module lines of some software at a system: the lines, what they were made of, what there is to say of them.

    ``software`` are names of the catalogue, each once; ``sources`` says in words where the lines of each were read.
    """

    system: str
    software: tuple[str, ...]
    lines: tuple[str, ...]
    notes: tuple[str, ...]
    sources: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A block of a file: as it stands, and as it should be."""

    line: int
    before: ModulesBlock
    after: ModulesBlock
    notes: tuple[str, ...]

    @property
    def up_to_date(self) -> bool:
        """Whether it stands as it should."""
        return self.before == self.after


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """A file with its blocks: the text as it should be, and each block."""

    text: str
    blocks: tuple[Checked, ...]

    @property
    def up_to_date(self) -> bool:
        """Whether all blocks stand as they should."""
        return all(block.up_to_date for block in self.blocks)


def find_stacks(system: System, software: Sequence[str]) -> Stacks:
    """Return the module lines of some software at a system, in one list.

    Raises:
        JobSpecError: the catalogue has no modules for one of them.
    """
    names = tuple(dict.fromkeys(map(spelling, software)))
    lines = {name: _lines(system, name) for name in names}
    merged = merge_lines(lines)
    return Stacks(
        system=system.name,
        software=names,
        lines=merged.lines,
        notes=tuple(_notes(system, lines, merged)),
        sources={name: system.source_of(f"software.{name}", "modules") for name in names},
    )


def make_block(stacks: Stacks) -> ModulesBlock:
    """Return the block that holds the lines."""
    return new_block(stacks.system, stacks.software, stacks.lines)


def check_file(
    text: str, catalogue: Catalogue, *, add: Sequence[str] = (), remove: Sequence[str] = (), system: str | None = None
) -> CheckedFile:
    """Return a file with each block as it should be, by the catalogue and by what is asked for.

    Software of ``add`` comes to each block, that of ``remove`` goes, ``system`` is where they move to. What is outside
    of the blocks is left as it is.

    Raises:
        ModulesBlockError: there is no block, one can't be read, or names what the catalogue does not have.
        JobSpecError: ``system``, ``add`` or ``remove`` name what there is not.
    """
    target = catalogue.system(system) if system is not None else None
    added, removed = tuple(map(spelling, add)), tuple(map(spelling, remove))
    parts = parse_modules_block(text)
    blocks = [part for part in parts if isinstance(part, ModulesBlock)]
    if not blocks:
        raise ModulesBlockError(1, "the file holds no block `# MODULES BEGIN system software` ... `# MODULES END`")
    _refuse_unknown(removed, blocks)
    checked = iter([_check(block, catalogue, target=target, add=added, remove=removed) for block in blocks])
    result, done = [], []
    for part in parts:
        if isinstance(part, str):
            result.append(part)
        else:
            done.append(next(checked))
            result.append(render_modules_block(done[-1].after))
    return CheckedFile(text="".join(result), blocks=tuple(done))


def _check(
    block: ModulesBlock, catalogue: Catalogue, *, target: System | None, add: Sequence[str], remove: Sequence[str]
) -> Checked:
    former, system = _former(block, catalogue, may_be_unknown=target is not None), target
    if target is not None and former is not None and former.name == target.name:
        target = None  # it is there, maybe by another of its names
    renamed = rename_block(block, system=target.name if target is not None else None, add=add, remove=remove)
    system = system or former
    assert system is not None  # noqa: S101 - _former returns None only where there is a target
    for name in add:
        _lines(system, name)
    try:
        stacks = find_stacks(system, renamed.software)
    except JobSpecError as error:
        raise ModulesBlockError(block.line, error.problem) from error
    updated = update_block(renamed, stacks.lines, former=_former_lines(block, former))
    # What there is to say of modules is said where they change.
    notes = updated.notes if updated.block == block else (*stacks.notes, *updated.notes)
    return Checked(line=block.line, before=block, after=updated.block, notes=notes)


def _former(block: ModulesBlock, catalogue: Catalogue, *, may_be_unknown: bool) -> System | None:
    try:
        return catalogue.system(block.system)
    except JobSpecError as error:
        if may_be_unknown:
            return None
        raise ModulesBlockError(block.line, error.problem) from error


def _former_lines(block: ModulesBlock, system: System | None) -> list[str]:
    """Return what the catalogue has for a block as it stands."""
    known = [name for name in block.software if system is not None and system.stack(name) is not None]
    return [line for name in known if system is not None for line in _lines(system, name)]


def _lines(system: System, software: str) -> list[str]:
    if system.stack(software) is None:
        known = system.software
        hint = nearest(software, known) if known else "; none are known for it"
        raise JobSpecError("software", f"the modules of {system.name} for {software!r} are unknown{hint}")
    return Modules(software).key(Surroundings(system=system))


def _notes(system: System, lines: Mapping[str, Sequence[str]], merged: Merged) -> list[str]:
    notes = [f"{conflict}; the later line counts, or is refused" for conflict in merged.conflicts]
    told: dict[str, list[str]] = {}
    for name in lines:
        stack = system.stack(name)
        assert stack is not None  # noqa: S101 - its lines were found
        if stack.partitions:
            told.setdefault(f"for the partitions {', '.join(stack.partitions)} of {system.name}", []).append(name)
        if not lines[name]:
            told.setdefault(f"{system.name} needs no modules for it", []).append(name)
        if stack.note is not None:
            told.setdefault(stack.note, []).append(name)
    return notes + [f"{', '.join(names)}: {text}" for text, names in told.items()]


def _refuse_unknown(remove: Sequence[str], blocks: Sequence[ModulesBlock]) -> None:
    known = {name for block in blocks for name in block.software}
    for name in remove:
        if name not in known:
            raise JobSpecError("remove", f"no block is for {name!r}{nearest(name, known)}")
