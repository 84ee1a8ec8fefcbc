"""Pydantic's faults in the words of whoever wrote the recipe."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

from pydantic import BaseModel, ValidationError

from actprune.recipe.schema import Recipe

Place: TypeAlias = tuple[str | int, ...]  # keys and indices from the root, ("prune", "keep", 0)

_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "path_type": "a path",
    "is_instance_of": "a path",
    "model_type": "a mapping of keys to values",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault: where in the recipe, and what is wrong there."""

    place: Place
    text: str


def faults_of(error: ValidationError) -> list[Fault]:
    """All faults, in the order in which the schema lists its fields."""
    found = [
        Fault(place=e["loc"], text=_words(e["type"], e["msg"], e["loc"], e["input"], e.get("ctx")))
        for e in error.errors(include_url=False)
    ]
    return list(dict.fromkeys(_without_union_tags(f) for f in found))


def dotted(place: Place) -> str:
    """`prune.keep[0]`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'residual'?`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _words(
    kind: str, message: str, place: Place, value: Any, context: Mapping[str, Any] | None
) -> str:
    if kind == "missing":
        return "field required"
    if kind == "extra_forbidden":
        return _unknown(place)
    if kind == "value_error" and context:
        said = str(context["error"]).rstrip(".")
        return said if isinstance(value, dict) or value is None else said + _got(value, said)
    wanted = _TYPES.get(kind)
    text = f"input should be {wanted}" if wanted else message[:1].lower() + message[1:]
    text += _got(value, text)
    if kind == "literal_error" and isinstance(value, str):
        text += suggest(value, _choices(place))
    return text


def _got(value: Any, said: str) -> str:
    if ", got " in said:
        return ""
    if value is None:
        return ", got nothing"
    if isinstance(value, (dict, list, tuple)):
        return f", got a {'mapping' if isinstance(value, dict) else 'list'}"
    if isinstance(value, bool):
        return f", got {str(value).lower()}"
    return f", got {value!r}"


def _unknown(place: Place) -> str:
    *parents, name = place
    fields = _fields(parents)
    near = suggest(str(name), fields)
    if near:
        return f"unknown field{near}"
    homes = [s for s in Recipe.model_fields if s not in parents and str(name) in _fields([s])]
    if homes:
        return f"unknown field; {name!r} belongs under {homes[0]!r}"
    return f"unknown field; known here: {', '.join(fields)}"


def _fields(place: Iterable[str | int]) -> list[str]:
    """The fields of the section at `place`."""
    section: Any = Recipe
    for part in place:
        if isinstance(part, str):
            fields = section.model_fields
            section = _section(fields[part].annotation) if part in fields else None
        if section is None:
            return []
    return list(section.model_fields)


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section within `Section`, `tuple[Section, ...]` or an annotated form of these."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_section, get_args(annotation))), None)


def _choices(place: Place) -> list[str]:
    section: Any = Recipe
    for part in place[:-1]:
        if isinstance(part, str):
            section = _section(section.model_fields[part].annotation)
    return [str(c) for c in get_args(section.model_fields[str(place[-1])].annotation)]


def _without_union_tags(fault: Fault) -> Fault:
    """`target.loss` may be a number or text: pydantic reports both branches, one is enough."""
    if fault.place[-1:] in (("float",), ("str",)):
        return Fault(place=fault.place[:-1], text="input should be a number, as in +0.02")
    return fault
