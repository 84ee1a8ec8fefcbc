"""Which law of the counts? Held-out samples decide.

Ours: with k_i, d the counts and samples of the even blocks and j_i, e those of the odd ones, a
family fitted to the k_i scores sum_i ln P(j_i | k_i), where for a Beta(b, M - b) rate
P(j | k) = BetaBinomial(j; e, b + k, M - b + d - k), and the shares of dead and always-on units are
reweighed by what k says. The same with the blocks' roles exchanged is added. No family can win by
its number of parameters, and the samples that score are not the samples that fit.

A law with a discount after Pitman and Yor is not among the families: on trained networks held-out
samples did not prefer it (benchmarks/three_parameter.py).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actprune.errors import ActpruneError
from actprune.theory._blocks import filled_blocks
from actprune.theory.count_fit import FAMILIES, CountFit, Family
from actprune.theory.count_law import predictive_log_pmf
from actprune.theory.fit_counts import fit_family

# free parameters of each family, for the fallback on AIC
_FREE: dict[Family, int] = {"binomial": 1, "urn": 2, "beta-binomial": 2, "inflated": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """All families fitted to all samples, their held-out scores, and the family chosen."""

    family: Family
    fits: dict[Family, CountFit]  # on all samples
    heldout: dict[Family, float | None]  # nats over both directions; None: see `reasons`
    reasons: dict[Family, str]  # why a score does not exist
    reason: str  # how the choice was made

    @property
    def fit(self) -> CountFit:
        """The chosen family's fit on all samples."""
        return self.fits[self.family]


def choose(active: NDArray[np.int64], samples: NDArray[np.int64]) -> Choice:
    """Fit every family and choose by predictive likelihood over held-out samples.

    Args:
        active: (B, N), samples of each block that activate each unit.
        samples: (B,), samples in each block; blocks should be random parts of the data, and of
            its documents where samples are correlated. Empty blocks are left out.

    Ties go to the simpler family. With fewer than two non-empty blocks, or where every family
    calls some held-out count impossible, AIC on all samples decides and `reason` says so.

    Raises:
        ActpruneError: if the shapes do not fit or there is no sample at all.
    """
    active, samples = filled_blocks(active, samples)
    if samples.sum() == 0:
        raise ActpruneError("Choosing a law of the counts needs at least one sample, got none.")
    D = int(samples.sum())
    fits: dict[Family, CountFit] = {
        family: fit_family(active.sum(0), D, family) for family in FAMILIES
    }
    heldout: dict[Family, float | None] = dict.fromkeys(FAMILIES)
    reasons: dict[Family, str] = {}
    if len(samples) < 2:
        why = "fewer than two non-empty blocks: no samples to hold out"
        reasons = dict.fromkeys(FAMILIES, why)
    else:
        for family in FAMILIES:
            score = _score(active, samples, family)
            if np.isfinite(score):
                heldout[family] = score
            else:
                reasons[family] = "calls a count on held-out samples impossible"
    scored = {family: score for family, score in heldout.items() if score is not None}
    if scored:
        best = max(scored.values())
        # scores closer than rounding over N units are ties
        slack = 1e-9 * max(1.0, abs(best))
        chosen: Family = next(f for f in FAMILIES if f in scored and scored[f] >= best - slack)
        reason = f"highest predictive likelihood over held-out samples, of {len(scored)} families"
    else:
        chosen = min(FAMILIES, key=lambda f: 2 * _FREE[f] - 2 * fits[f].log_likelihood)
        reason = f"lowest AIC on all samples, since {next(iter(reasons.values()))}"
    return Choice(family=chosen, fits=fits, heldout=heldout, reasons=reasons, reason=reason)


def _score(active: NDArray[np.int64], samples: NDArray[np.int64], family: Family) -> float:
    total = 0.0
    for fitted in (0, 1):
        k, d = active[fitted::2].sum(0), int(samples[fitted::2].sum())
        j, e = active[1 - fitted :: 2].sum(0), int(samples[1 - fitted :: 2].sum())
        fit = fit_family(k, d, family)
        total += float(predictive_log_pmf(fit, j, e, k, d).sum())
    return total
