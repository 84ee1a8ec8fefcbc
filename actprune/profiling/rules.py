"""Firing rules: when a unit counts as active."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from actprune.errors import ActpruneError

FIXED_ON = 64  # samples on which thresholds and the choice of `auto` are fixed,
FIXED_TOKENS = 4096  # or windows of packed text, so many that they hold so many tokens
AUTO_MAGNITUDE = 0.1  # of the site's RMS, where `auto` finds no exact zeros (ours)
AUTO_ZEROS = 0.001  # share of exact zeros from which `auto` takes a site as rectified (ours)


class Rule(BaseModel):
    """A site's fixed rule: a > threshold, or |a| > threshold, in the activation's own units."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["positive", "magnitude"]
    threshold: float

    def __str__(self) -> str:
        return "a > 0" if self.kind == "positive" else f"|a| > {self.threshold:.4g}"


def check_rule(spec: str) -> None:
    """Raise ActpruneError unless `spec` is `positive`, `auto` or `magnitude:t` with t > 0."""
    if spec not in ("positive", "auto") and _relative(spec) is None:
        raise ActpruneError(
            f"Firing rule must be 'positive', 'auto' or 'magnitude:t' with t > 0, got {spec!r}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a site's first activations look like; looks add up."""

    values: int = 0
    zeros: int = 0
    negative: bool = False
    squares: tuple[float, ...] = ()  # sums of squares, one a sample

    @classmethod
    def at(cls, a_SUP: Tensor) -> Look:
        """Look at activations [samples, units, positions]."""
        return cls(
            values=a_SUP.numel(),
            zeros=int((a_SUP == 0).sum()),
            negative=bool((a_SUP < 0).any()),
            squares=tuple(a_SUP.double().square().sum((1, 2)).tolist()),
        )

    def __add__(self, other: Look) -> Look:
        return Look(
            values=self.values + other.values,
            zeros=self.zeros + other.zeros,
            negative=self.negative or other.negative,
            squares=self.squares + other.squares,
        )


def fix_rule(spec: str, look: Look) -> Rule:
    """Turn a rule's name into absolute numbers on the first activations of a site.

    Args:
        spec: `positive`; `magnitude:t`, |a| > t x RMS of the site; `auto`, which is `positive`
            where values are never negative and zeros are frequent, else `magnitude:0.1`.
        look: the first `FIXED_ON` samples of the site.
    """
    check_rule(spec)
    if spec == "auto":
        rectified = not look.negative and look.zeros >= AUTO_ZEROS * look.values
        spec = "positive" if rectified else f"magnitude:{AUTO_MAGNITUDE}"
    if spec == "positive":
        return Rule(kind="positive", threshold=0.0)
    relative = _relative(spec)
    assert relative is not None
    rms = math.sqrt(math.fsum(look.squares) / look.values)  # whatever the batch size
    # rounded to float32, so that a comparison in float32 and in float64 agree
    threshold = torch.tensor(relative * rms, dtype=torch.float32).item()
    return Rule(kind="magnitude", threshold=threshold)


def _relative(spec: str) -> float | None:
    match = re.fullmatch(r"magnitude:([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)", spec)
    return float(match[1]) if match and 0 < float(match[1]) < float("inf") else None
