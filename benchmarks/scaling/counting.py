"""What is kept of a net's counts: a dictionary of numbers a layer.

Shapes: n samples, N units, V windows of consecutive samples, B blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actprune.theory import (
    TAIL_FAMILIES,
    choose,
    fit_family,
    fit_tail,
    log_grid,
    spike_statistics,
)
from actprune.theory.rarefaction import expected_subset_working

Counts = NDArray[np.int64]
WINDOW = 100  # samples a window of the spike statistics
BLOCKS = 10
STRICT = (0.001, 0.01, 0.05)  # least rates of a unit that works in a stricter sense
PRESERVING = 0.99  # order share from which a unit counts as order-preserving


def fired(net: nn.Sequential, x: Tensor) -> list[Counts]:
    """Samples that activate each unit, (N,) for each hidden layer."""
    return [w.sum(0) for w in windows(net, x, len(x))]


def windows(net: nn.Sequential, x: Tensor, length: int) -> list[Counts]:
    """The same in windows of `length` consecutive samples, (V, N); the last may be shorter."""
    rows: list[list[Counts]] = [[] for part in net if isinstance(part, nn.ReLU)]
    with torch.no_grad():
        for many in x.split(max(1, 2_000 // length) * length):
            h, layer = many, 0
            for part in net:
                h = part(h)
                if isinstance(part, nn.ReLU):
                    rows[layer] += [(w > 0).sum(0).numpy() for w in h.split(length)]
                    layer += 1
    return [np.array(layer, dtype=np.int64) for layer in rows]


def order_shares(counts: Counts, n: int) -> NDArray[np.float64]:
    """Share of pairs of samples whose order of pre-activation a ReLU keeps strictly, (N,).

    Args:
        counts: (N,), samples of n >= 2 with a pre-activation above 0.
        n: samples, of different pre-activations.

    1 - n_off (n_off - 1)/(n (n - 1)), ours: only two samples that are both off lose their order.
    """
    off = n - counts
    return 1.0 - off * (off - 1.0) / (n * (n - 1.0))


def growth(counts: Counts, n: int) -> dict[str, list[float]]:
    """E[K(d)] of random d of the n samples."""
    d = log_grid(n, 20)
    return {"d": d.tolist(), "K": rounded(expected_subset_working(counts, n, d))}


def state(counts: Counts, n: int) -> dict[str, Any]:
    """How many units work, how rare and how alike they are, how they keep order."""
    rates = counts / n
    shares = order_shares(counts, n) if n > 1 else np.full(len(counts), np.nan)
    return {
        "n": n,
        "units": len(counts),
        "active": float(counts.sum() / n),  # c, units a sample
        "working": int((counts > 0).sum()),
        "strict": {str(r): int((rates >= r).sum()) for r in STRICT},
        "once": int((counts == 1).sum()),
        "twice": int((counts == 2).sum()),
        "always": int((counts == n).sum()),
        "rate_quantiles": rounded(np.quantile(rates, np.linspace(0, 1, 21))),
        "rate_variance": float(rates.var(ddof=1)),
        "order_share": float(shares.mean()) if n > 1 else None,  # one sample has no order
        "order_quantiles": rounded(np.quantile(shares, (0.1, 0.5, 0.9))) if n > 1 else None,
        "preserving": float((shares >= PRESERVING).mean()) if n > 1 else None,
    }


def spikes(counts: Counts, length: int, order: str) -> dict[str, Any]:
    """Rates and Fano factors over the windows of `length` samples, (V, N)."""
    s = spike_statistics(counts, length, order=order)
    relative = s.relative
    return {
        "windows": s.windows,
        "mean_rate": s.mean_rate,
        "rate_variance": s.rate_variance,
        "mean_fano": s.mean_fano,
        "fano_variance": s.fano_variance,
        "relative": float(relative.mean()) if len(relative) else None,  # FF/(1 - lambda)
        "relative_variance": float(relative.var(ddof=1)) if len(relative) > 1 else None,
        "share_over": s.dispersion.share_over if s.dispersion else None,
    }


def laws(blocks: Counts, samples: Counts) -> dict[str, Any]:
    """Every family's fit to the counts of all blocks, and what held-out blocks say of it."""
    choice = choose(blocks, samples)
    return {
        "chosen": choice.family,
        "fits": {
            family: {
                "b": fit.b,
                "b_error": fit.stderr["b"],
                "M": fit.M,
                "pi0": fit.pi0,
                "pi1": fit.pi1,
                "log_likelihood": fit.log_likelihood,
                "heldout": choice.heldout[family],
            }
            for family, fit in choice.fits.items()
        },
    }


def plain_laws(counts: Counts, n: int) -> dict[str, Any]:
    """The urn's constants from the counts over a training set."""
    found = {}
    for family in ("urn", "beta-binomial", "inflated"):
        fit = fit_family(counts, n, family)
        found[family] = {"b": fit.b, "M": fit.M, "pi0": fit.pi0, "pi1": fit.pi1}
    return found


def tails(counts: Counts, n: int) -> dict[str, Any]:
    """The five tails fitted to the counts 1..n - 1, so without always-on units."""
    found = {}
    for family in TAIL_FAMILIES:
        fit = fit_tail(counts, n, family, xmax=n - 1)
        found[family] = {
            "log_likelihood": fit.log_likelihood,
            "parameters": fit.parameters,
            "alpha_error": fit.stderr.get("alpha"),
            "ks": fit.ks,
            "units": fit.n,
        }
    return found


def rounded(values: NDArray[np.float64]) -> list[float]:
    """To six digits, which is more than any of them is worth."""
    return [float(f"{v:.6g}") for v in values]
