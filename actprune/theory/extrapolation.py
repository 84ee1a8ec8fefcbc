"""A forecast of K(D'), the units that will work after more samples."""

from dataclasses import dataclass
from typing import Literal, get_args

Method = Literal["urn", "predictive", "chao2", "good-toulmin"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extrapolation:
    """K(D') by one method, with an interval for K(D') itself: the counting noise is in it.

    `low` and `high` are None where the method has no interval, and `note` says why.
    """

    method: Method
    D: int  # samples seen
    D_new: int  # D', samples in all, >= D
    working: float  # units expected to have fired by then, K(D) to N ("urn": 0 to N)
    low: float | None
    high: float | None
    level: float
    note: str = ""
