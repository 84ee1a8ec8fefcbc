"""One stratum of a profile alone, or all of them in other shares, without running the model.

Shapes: B = 32 blocks of samples, N units; a stratum k has n_k samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from actprune.errors import ActpruneError
from actprune.profiling.result import Profile, Shard, SiteProfile, Stratum
from actprune.profiling.taken import ALWAYS


def stratum(profile: Profile, name: str | int) -> Profile:
    """The profile of the samples of one stratum alone, without Gram matrices and histograms.

    Its shards span the same ranges as the whole's, so strata of one profile do not merge: their
    sum is the profile itself. Which of several shards the samples lie in is not known; the first
    ones are counted full.

    Raises:
        ActpruneError: if the profile has no such stratum.
    """
    found = _named(profile)
    if str(name) not in found:
        raise ActpruneError(f"There is no stratum {str(name)!r}; {_known(found)}.")
    chosen = found[str(name)]
    statistics = (*ALWAYS, f"only stratum {chosen.name}")
    return replace(
        profile,
        identity=profile.identity.model_copy(update={"statistics": statistics}),
        shards=_shards(profile, chosen),
        sites=chosen.sites,
        strata=(),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class Reweighted:
    """One site under other shares of the strata; float64 [N] each.

    The errors are standard errors of the samples drawn within each stratum; the shares are taken
    as known. They are None, and `reason` says why, where a stratum has too few samples.
    """

    site: str
    rate: np.ndarray  # positions active / positions, 0 to 1
    sample_rate: np.ndarray  # samples active / samples, 0 to 1
    mean: np.ndarray  # activation, over positions
    second_moment: np.ndarray  # squared activation, over positions
    rate_stderr: np.ndarray | None
    sample_rate_stderr: np.ndarray | None
    mean_stderr: np.ndarray | None
    second_moment_stderr: np.ndarray | None
    reason: str | None = None


def reweighted(profile: Profile, weights: Mapping[str, float]) -> tuple[Reweighted, ...]:
    """Every site's rates and moments if the strata had the shares w_k of the samples.

    Post-stratification (Cochran 1977, Sampling Techniques, section 5A.9). With p_k the share of
    the stratum's samples that fire a unit, the sample rate is sum w_k p_k, and its variance
    sum w_k^2 p_k (1 - p_k) / (n_k - 1).

    Rates and moments over positions are ratios R = X / Y of means over samples, X = sum w_k x_k
    (active positions, say) and Y = sum w_k y_k (positions), for strata may differ in positions a
    sample. Linearized (Cochran, eq. 2.39), var R = sum w_k^2 s_k^2 / (n_k Y^2), where s_k^2 is the
    variance between samples of d = x - R y. It is estimated from sums over blocks (ours): with d_b
    and n_b those of block b and m their ratio over all blocks, the expectation of
    sum_b (d_b - m n_b)^2 over samples in random blocks is s_k^2 (n_k - sum_b n_b^2 / n_k).

    Args:
        profile: taken with strata.
        weights: the strata's shares, >= 0, in any unit: they are divided by their sum. A stratum
            that is not named has none.

    Raises:
        ActpruneError: if there are no strata, one is unknown, or the weights are no shares.
    """
    found = _named(profile)
    unknown = {str(k) for k in weights} - found.keys()
    if unknown:
        raise ActpruneError(f"There is no stratum {min(unknown)!r} to weigh; {_known(found)}.")
    total = math.fsum(weights.values())
    if not 0 < total < math.inf or min(weights.values()) < 0:
        raise ActpruneError(
            f"The weights of strata must be 0 or more and not all 0, got {dict(weights)}."
        )
    shares = {str(k): v / total for k, v in weights.items() if v}
    return tuple(
        _site([(w, found[k].sites[i]) for k, w in shares.items()], list(shares))
        for i in range(len(profile.sites))
    )


def _site(parts: list[tuple[float, SiteProfile]], names: list[str]) -> Reweighted:
    alone = [s for (_, s), n in zip(parts, names, strict=True) if np.count_nonzero(s.samples) < 2]
    reason = None
    if alone:
        which = next(n for (_, s), n in zip(parts, names, strict=True) if s is alone[0])
        reason = f"stratum {which!r} has samples in fewer than two blocks, too few for an error"
    rate, rate_error = _ratio(parts, "positions_active")
    mean, mean_error = _ratio(parts, "total")
    moment, moment_error = _ratio(parts, "square")
    sample_rate = np.zeros(parts[0][1].units)
    variance = np.zeros_like(sample_rate)
    for w, s in parts:
        n = int(s.samples.sum())
        p = s.samples_active.sum(0) / n
        sample_rate += w * p
        variance += w**2 * p * (1 - p) / max(1, n - 1)
    known = reason is None
    return Reweighted(
        site=parts[0][1].site.name,
        rate=rate,
        sample_rate=sample_rate,
        mean=mean,
        second_moment=moment,
        rate_stderr=rate_error if known else None,
        sample_rate_stderr=np.sqrt(variance) if known else None,
        mean_stderr=mean_error if known else None,
        second_moment_stderr=moment_error if known else None,
        reason=reason,
    )


def _ratio(parts: list[tuple[float, SiteProfile]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """R and its standard error, [N] each, from the sums called `name`."""
    top, bottom = np.zeros(parts[0][1].units), 0.0
    for w, s in parts:
        n = int(s.samples.sum())
        top += w * getattr(s, name).sum(0) / n
        bottom += w * float(s.positions.sum()) / n
    R = top / bottom
    variance = np.zeros_like(R)
    for w, s in parts:
        n_B, n = s.samples.astype(np.float64), int(s.samples.sum())
        d_BN = getattr(s, name) - R * s.positions[:, None]
        residual_BN = d_BN - d_BN.sum(0) / n * n_B[:, None]
        freedom = n - float((n_B**2).sum()) / n
        if freedom > 0:
            variance += w**2 * (residual_BN**2).sum(0) / freedom / n / bottom**2
    return R, np.sqrt(variance)


def _shards(profile: Profile, chosen: Stratum) -> tuple[Shard, ...]:
    """The whole's ranges, with the stratum's samples, as many as each range can hold."""
    left, shards = chosen.samples, []
    for shard in profile.shards:
        own = min(left, shard.samples)
        shards.append(shard.model_copy(update={"samples": own}))
        left -= own
    return tuple(shards)


def _named(profile: Profile) -> dict[str, Stratum]:
    if not profile.strata:
        raise ActpruneError(
            "The profile has no strata; profile with --strata labels, or strata= a callable."
        )
    return {s.name: s for s in profile.strata}


def _known(found: Mapping[str, Stratum]) -> str:
    names = list(found)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"there are {', '.join(map(repr, names[:5]))}{more}"
