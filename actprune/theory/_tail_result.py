"""A tail fit from its parts, and one that does not exist."""

from typing import Any

import numpy as np

from actprune.theory.tail import Array, Tail
from actprune.theory.tail_fit import TAIL_PARAMETERS, TailFamily, TailFit


def fitted(
    tail: Tail,
    family: TailFamily,
    parameters: dict[str, float],
    errors: dict[str, float | None],
    log_law: Array,
) -> TailFit:
    """`log_law` is ln P(k) on all of xmin..xmax."""
    return TailFit(
        family=family,
        **_of(tail),
        parameters=parameters,
        stderr=errors,
        log_likelihood=float(tail.n @ log_law[tail.k - tail.xmin]),
        ks=tail.distance(np.exp(log_law)),
    )


def nothing(tail: Tail, family: TailFamily, why: str) -> TailFit:
    """No maximum; `why` goes into the note."""
    return TailFit(
        family=family,
        **_of(tail),
        parameters=None,
        stderr=dict.fromkeys(TAIL_PARAMETERS[family]),
        log_likelihood=None,
        ks=None,
        note=why,
    )


def _of(tail: Tail) -> dict[str, Any]:
    """What a fit says of the counts it was made on."""
    return {
        "xmin": tail.xmin,
        "xmax": tail.xmax,
        "D": tail.D,
        "n": tail.units,
        "working": tail.working,
    }
