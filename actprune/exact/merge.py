"""A removed unit as a combination of kept ones: what its consumer has to know."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Merge(BaseModel):
    """What the consumer reads of `unit` is sum over k of coefficients[k] times what it reads of
    units[k], plus `constant`; all at one site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: int
    units: tuple[int, ...] = ()
    coefficients: tuple[float, ...] = ()
    constant: float = 0.0
