"""How far the counts-only forecast lets one cut: from a loss to a share, from a share to units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actprune.errors import ActpruneError
from actprune.theory.count_fit import CountFit
from actprune.theory.lorenz import posterior_rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """The law loss = kappa share^gamma as two probes have shown it, and where it was used."""

    kappa: float
    gamma: float
    share: float  # of all activations: the cut it was made for, larger than both probes
    unit: str = "nats"  # of the loss; empty where it has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The rarest units of all sites that the law lets go at a loss; a point forecast."""

    loss: float  # change of the loss that was allowed
    unit: str  # of it
    share: float  # of all activations that may go, 0 to 1
    units: Mapping[str, int]  # that go, by site
    note: str  # what the forecast rests on


def allowed_cut(
    sites: Sequence[tuple[str, NDArray[np.int64], int, CountFit | None]],
    probed: Probed,
    loss: float,
) -> Allowed:
    """The most units whose expected share of all activations keeps the forecast at `loss` (ours).

    Args:
        sites: name, counts (N,) over D samples, D, and the fitted law if there is one.
        probed: kappa and gamma; they belong to one way of choosing and compensating.
        loss: > 0, in the loss's own unit.

    share = (loss/kappa)^(1/gamma), at most 1. A unit's expected share is its posterior mean rate
    (as in `removed_share`) in its site, sites weighed by the activations counted. All sites' units
    are taken from the smallest share on, and one of each site stays.

    Raises:
        ActpruneError: if loss <= 0, or kappa or gamma is not positive.
    """
    if loss <= 0:
        raise ActpruneError(f"An allowed loss must be positive, got {loss:g}.")
    if probed.kappa <= 0 or probed.gamma <= 0:
        raise ActpruneError(
            f"The counts-only law is flat (kappa {probed.kappa:.3g}, gamma {probed.gamma:.3g}): it "
            f"allows no cut to be read off; plan a larger cut."
        )
    share = min(1.0, (loss / probed.kappa) ** (1 / probed.gamma))
    weights, names = [], []
    for number, (_, counts, D, fit) in enumerate(sites):
        mass = float(counts.sum())
        own = _expected(counts, D, fit)
        total = float(own.sum())
        weights.append(mass * own / total if total > 0 else np.zeros(len(counts)))
        names.append(np.full(len(counts), number))
    flat, of = np.concatenate(weights), np.concatenate(names)
    stays = np.zeros(len(flat), dtype=bool)  # the busiest unit of each site
    starts = np.cumsum([0, *(len(w) for w in weights[:-1])])
    for start, w in zip(starts, weights, strict=True):
        stays[start + int(w.argmax())] = True
    order = np.argsort(np.where(stays, np.inf, flat), kind="stable")
    order = order[: len(flat) - len(weights)]
    carried = np.cumsum(flat[order]) / flat.sum() if flat.sum() > 0 else np.zeros(len(order))
    gone = np.bincount(of[order[carried <= share + 1e-12]], minlength=len(weights))
    note = "a point forecast, of the rarest units and the plan's way of compensating"
    if share > probed.share:
        note += f"; beyond the {probed.share:.1%} of all activations that the plan removed"
    return Allowed(
        loss=loss,
        unit=probed.unit,
        share=share,
        units={name: int(n) for (name, *_), n in zip(sites, gone, strict=True)},
        note=note,
    )


def _expected(counts: NDArray[np.int64], D: int, fit: CountFit | None) -> NDArray[np.float64]:
    if fit is not None and fit.b and fit.M and fit.b < fit.M and D > 0:
        return posterior_rates(counts, D=D, b=fit.b, M=fit.M, pi0=fit.pi0, pi1=fit.pi1)[0]
    return counts.astype(np.float64)
