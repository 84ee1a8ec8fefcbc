"""What the user asks for: how much may be kept, or how much may be lost."""

from __future__ import annotations

import difflib
import re
from typing import Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict

from actprune.errors import ActpruneError

TargetKind: TypeAlias = Literal[
    "units", "params", "macs", "bytes", "latency", "loss", "accuracy", "agreement", "lossless"
]
COSTS: tuple[TargetKind, ...] = ("units", "params", "macs", "bytes")  # known without running
SHARES: tuple[TargetKind, ...] = (*COSTS, "latency")  # written as the percentage kept
METRICS: tuple[TargetKind, ...] = ("accuracy", "agreement")
TRIED: tuple[TargetKind, ...] = ("loss", *METRICS)  # need data to try cuts on


class Target(BaseModel):
    """One target. `value`: share kept (0 to 1) for units, params, macs, bytes and latency; greatest
    loss change for loss; greatest fall (0 to 1) for a metric; None for lossless."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: TargetKind
    value: float | None = None
    word: Literal["proved"] | None = None  # of lossless: only what is proved, nothing certified

    def __str__(self) -> str:
        if self.value is None:
            return self.kind if self.word is None else f"{self.kind}={self.word}"
        if self.kind == "loss":
            return f"loss=+{self.value:g}"
        if self.kind in METRICS:
            return f"{self.kind}=-{100 * self.value:g}pt"
        return f"{self.kind}={100 * self.value:g}%"


def parse_target(text: str) -> Target:
    """Read `units=50%`, `params=70%`, `macs=50%`, `bytes=60%`, `latency=60%`, `loss=+0.02`,
    `accuracy=-0.5pt`, `agreement=-1pt`, `lossless` or `lossless=proved`.

    Percentages say what is kept; of a site's units, never less than one. Points are hundredths of
    the samples: what the metric may fall by.

    Raises:
        ActpruneError: if the target is malformed or out of range.
    """
    if text == "lossless":
        return Target(kind="lossless")
    if text == "lossless=proved":
        return Target(kind="lossless", word="proved")
    written, _, value = text.partition("=")
    kind = next((k for k in get_args(TargetKind) if k == written and k != "lossless"), None)
    if kind is None:
        close = difflib.get_close_matches(written, get_args(TargetKind), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ActpruneError(
            f"Target must be units=, params=, macs=, bytes= or latency=P%, loss=+X, accuracy= or "
            f"agreement=-Xpt, or lossless, got {text!r}{hint}"
        )
    if kind == "loss":
        match = re.fullmatch(r"\+?([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)", value)
        if not match:
            raise ActpruneError(f"A loss target is written loss=+0.02, got {text!r}.")
        return Target(kind="loss", value=float(match[1]))
    if kind in METRICS:
        match = re.fullmatch(r"-?([0-9]*\.?[0-9]+)pt", value)
        if not match or float(match[1]) > 100:
            raise ActpruneError(
                f"Target {kind} is written {kind}=-0.5pt (points it may fall, at most 100), "
                f"got {text!r}."
            )
        return Target(kind=kind, value=float(match[1]) / 100)
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)%", value)
    if not match:
        raise ActpruneError(f"Target {kind} is written {kind}=50% (the share kept), got {text!r}.")
    share = float(match[1]) / 100
    if not 0 < share <= 1:
        raise ActpruneError(f"Target {kind} must keep more than 0% and at most 100%, got {text!r}.")
    return Target(kind=kind, value=share)
