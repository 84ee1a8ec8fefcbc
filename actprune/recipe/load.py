"""Read a recipe from YAML, and say everything that is wrong with it at once, line by line.

The text is composed into nodes and read from there as plain text, numbers, lists and mappings
(YAML 1.2's core schema: `on` and `2:5` are text), so no object is ever constructed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from actprune.errors import ActpruneError
from actprune.recipe.schema import Recipe
from actprune.recipe.text import Fault, Place, dotted, faults_of

_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def load_recipe(path: Path) -> Recipe:
    """Read the recipe at `path`.

    Raises:
        ActpruneError: with one line for each fault, `file:line: key: what is wrong`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ActpruneError(
            f"{path}: no such recipe; `actprune recipes list` shows those that come along."
        ) from None
    except IsADirectoryError:
        raise ActpruneError(f"{path}: a folder, not a recipe.") from None
    except UnicodeDecodeError:
        raise ActpruneError(f"{path}: not a text file; a recipe is YAML in UTF-8.") from None
    except OSError as e:
        raise ActpruneError(f"{path}: cannot be read ({e.strerror}).") from e
    return parse_recipe(text, str(path))


def parse_recipe(text: str, name: str) -> Recipe:
    """Read a recipe from `text`; `name` is the file named in faults."""
    root = _compose(text, name)
    if root is None:
        raise ActpruneError(
            f"{name}: the recipe is empty; `actprune recipes copy` gives one to start from."
        )
    reader = _Reader()
    data = reader.read(root, ())
    faults = list(reader.faults)
    if not isinstance(data, dict):
        line = root.start_mark.line + 1
        raise ActpruneError(f"{name}:{line}: a recipe is a mapping of keys to values.")
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as e:
        recipe = None
        known = {f.place for f in faults}
        faults += [f for f in faults_of(e) if f.place not in known]
    if recipe is None or faults:
        lines = sorted(((reader.line(f.place), f) for f in faults), key=lambda x: x[0])
        raise ActpruneError("\n".join(f"{name}:{n}: {_told(f)}" for n, f in lines))
    return recipe


def recipe_from_flags(values: Mapping[str, Any], flags: Mapping[str, str]) -> Recipe:
    """Build a recipe from command-line values; `flags` maps `prune.criterion` to `--criterion`.

    Raises:
        ActpruneError: with one line for each fault, `--flag: what is wrong`.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as e:
        lines = []
        for fault in faults_of(e):
            place = next(
                (dotted(fault.place[:n]) for n in range(len(fault.place), 0, -1)
                 if dotted(fault.place[:n]) in flags), dotted(fault.place)
            )  # fmt: skip
            lines.append(f"{flags.get(place, place)}: {fault.text}")
        raise ActpruneError("\n".join(dict.fromkeys(lines))) from None


def _told(fault: Fault) -> str:
    return f"{dotted(fault.place)}: {fault.text}" if fault.place else fault.text


class _Loader(yaml.SafeLoader):
    """Leaves every plain scalar as text: the reader below knows what it may be."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 (PyYAML's own interface)


def _compose(text: str, name: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        line = f":{mark.line + 1}" if mark else ""
        problem = (e.problem or str(e)).replace("\n", " ")
        context = f" {e.context}" if e.context else ""
        raise ActpruneError(f"{name}{line}: not valid YAML:{context}: {problem}.") from e
    except RecursionError:
        raise ActpruneError(f"{name}: nested too deeply for a recipe.") from None
    except yaml.YAMLError as e:
        raise ActpruneError(f"{name}: not valid YAML: {' '.join(str(e).split())}.") from e


class _Reader:
    """Turns nodes into plain values, and remembers lines and faults on the way."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._lines: dict[Place, int] = {}
        self._seen: set[int] = set()

    def line(self, place: Place) -> int:
        """The line of `place`, or of the nearest section around it that was written."""
        while place not in self._lines:
            place = place[:-1]
        return self._lines[place]

    def read(self, node: yaml.Node, place: Place) -> Any:
        self._lines.setdefault(place, node.start_mark.line + 1)
        if id(node) in self._seen:
            self._fault(place, "anchors and aliases are not allowed; write the value out")
            return None
        self._seen.add(id(node))
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.rsplit(":")[-1] not in (
            "str", "seq", "map",
        ):  # fmt: skip
            self._fault(place, f"tags such as {node.tag!r} are not allowed; write a plain value")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(x, (*place, i)) for i, x in enumerate(node.value)]
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        return _scalar(node.value) if plain else node.value

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._fault(place, "keys must be plain words")
                continue
            inner = (*place, key.value)
            if key.value in values:
                line = self._lines[inner]
                self._lines[inner] = key.start_mark.line + 1
                self._fault(inner, f"given twice, first in line {line}")
                continue
            self._lines[inner] = key.start_mark.line + 1
            values[key.value] = self.read(value, inner)
        return values

    def _fault(self, place: Place, text: str) -> None:
        self.faults.append(Fault(place=place, text=text))


def _scalar(text: str) -> str | int | float | bool | None:
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return json.loads(text.lower())
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
