"""What a fact is: its sources, and the types of values that facts have."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from headnode.sites.nearest import nearest
from headnode.slurm.time_limits import parse_time_limit


def _time(value: Any) -> Any:
    # A number is minutes, as it is for Slurm.
    return parse_time_limit(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else value


def _sources(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _date(value: Any) -> Any:
    # YAML reads 2024 without quotes as a number.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{value} is no number")  # noqa: TRY004 - pydantic reads ValueError
    return value


def wrong(problem: str, *place: str | int) -> PydanticCustomError:
    """Return the error for a fact below the block that is checked, of which ``reading`` finds the line."""
    return PydanticCustomError("wrong_fact", "{problem}", {"problem": problem, "place": place})


SourceIds = Annotated[tuple[str, ...], BeforeValidator(_sources)]
Time = Annotated[timedelta, BeforeValidator(_time)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Count = Annotated[int, Field(ge=1), BeforeValidator(_number)]
CountOrZero = Annotated[int, Field(ge=0), BeforeValidator(_number)]
# What follows goes into scripts, as options of #SBATCH lines or as shell text.
Word = Annotated[str, Field(pattern=r"^[!-~]+$")]
ModuleCommand = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+/@:$~-]+( [A-Za-z0-9_.+/@:$~-]+)*$")]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
VariableValue = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,:;/@%+=~${}-]*$")]
Date = Annotated[str, Field(pattern=r"^[0-9]{4}(-[0-9]{2}){0,2}$"), BeforeValidator(_date)]


class Block(BaseModel):
    """A part of a system's file, which has no other keys than these."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Source(Block):
    """Where a fact was read. Dates are ``2024``, ``2024-10`` or ``2024-10-15``.

    ``date`` is that of the text, null where it bears none; ``read`` is when it was read.
    """

    what: str
    date: Date | None = None
    read: Date | None = None
    kind: Literal["official", "community", "measured"] = "community"
    url: str | None = None

    @property
    def when(self) -> str:
        """Return its date, or when it was read, in words."""
        return self.date or (f"read {self.read}" if self.read else "no date")

    def __str__(self) -> str:
        return f"{self.what} ({self.when}, {self.kind})"


class Sourced(Block):
    """A block of facts. ``source_of`` names the sources of single facts where they differ from the block's."""

    source: SourceIds = ()
    source_of: dict[str, SourceIds] = {}
    note: str | None = None

    @model_validator(mode="after")
    def _names_own_facts(self) -> Sourced:
        for name in self.source_of:
            if name not in type(self).model_fields:
                facts = [fact for fact in type(self).model_fields if fact not in Sourced.model_fields]
                raise wrong(f"{name!r} is no fact of this block{nearest(name, facts)}", "source_of", name)
        return self
