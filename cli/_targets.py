"""Targets as the command line gives them, in the form in which a recipe holds them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from actprune.errors import ActpruneError
from actprune.planning.target import METRICS, Target, parse_target


def target_values(texts: Iterable[str]) -> dict[str, Any]:
    """`macs=50%`, `loss=+0.02` as {macs: 50%, loss: +0.02}.

    Raises:
        ActpruneError: if one is malformed, or a kind is asked for twice.
    """
    values: dict[str, Any] = {}
    for text in texts:
        try:
            parse_target(text)
        except ActpruneError as e:
            raise ActpruneError(f"--target: {e}") from None
        kind, _, value = text.partition("=")
        if kind in values:
            raise ActpruneError(f"--target: {kind} is asked for twice; give it once.")
        values[kind] = value or True
    return values


def planned_values(targets: Iterable[Target]) -> dict[str, Any]:
    """The targets of a plan, in the form in which a recipe holds them."""
    values: dict[str, Any] = {}
    for t in targets:
        if t.value is None:
            values[t.kind] = t.word or True
        elif t.kind == "loss":
            values[t.kind] = t.value
        elif t.kind in METRICS:
            values[t.kind] = f"-{_hundredths(t.value)}pt"
        else:
            values[t.kind] = f"{_hundredths(t.value)}%"
    return values


def _hundredths(value: float) -> str:
    return f"{100 * value:.12f}".rstrip("0").rstrip(".")
