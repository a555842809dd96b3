"""The base of all parts of a map's configuration: closed, unchangeable, one-line explanations."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
BandName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,19}$")]
ClassValue = Annotated[int, Field(ge=1, le=250)]
# Files are on the cluster; `{data}` stands for the map's data folder. Control characters would end a line of a script.
ClusterPath = Annotated[str, Field(pattern=r"^[^\x00-\x1f]+$", max_length=4096)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """A part of the configuration: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, protected_namespaces=())
