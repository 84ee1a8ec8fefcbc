"""How the values of a recipe are read: lists as tuples, bare numbers as names, words in their form.

Nothing here loads torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from actprune.errors import ActpruneError
from actprune.planning.written import read_limits


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def as_name(value: Any) -> Any:
    """Layers of a Sequential are called 0, 1, ...: a bare number is a name too."""
    return str(value) if type(value) is int else value


def as_path(value: Any) -> Any:
    return Path(value) if isinstance(value, str) else value


def as_unit(value: Any) -> Any:
    site, _, unit = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not site or not unit.isdecimal():
        raise ValueError("should be written site:unit, as in fc1:12")
    return value


def as_limit(value: str) -> str:
    try:
        read_limits([value])
    except ActpruneError as e:
        raise ValueError(str(e)) from e
    return value


def as_heal(value: Any) -> Any:
    if value is None:
        raise ValueError("is empty; write true for the default settings, or leave it out")
    return {} if value is True else value


def as_share(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise ValueError("is written as the share kept, as in 50%")
    return value


def as_points(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise ValueError("is written in points it may fall, as in -0.5pt")
    return value


Name = Annotated[str, BeforeValidator(as_name), Field(min_length=1)]
Unit = Annotated[str, BeforeValidator(as_unit)]
Limit = Annotated[Name, AfterValidator(as_limit)]
Limits = Annotated[tuple[Limit, ...], BeforeValidator(as_tuple)]
Names = Annotated[tuple[Name, ...], BeforeValidator(as_tuple)]
Share = Annotated[str | None, BeforeValidator(as_share)]
Points = Annotated[str | None, BeforeValidator(as_points)]
Units = Annotated[tuple[Unit, ...], BeforeValidator(as_tuple)]


class Section(BaseModel):
    """A part of a recipe: unknown keys and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
