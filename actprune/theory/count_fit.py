"""A fitted law of the per-unit counts: what it is, how sure it is, and what it predicts."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from actprune.errors import ActpruneError
from actprune.theory._gamma import log_rising

Family = Literal["binomial", "urn", "beta-binomial", "inflated"]
FAMILIES: tuple[Family, ...] = get_args(Family)  # simplest first: ties go to the earlier one

PARAMETERS = ("mean", "b", "M", "pi0", "pi1")


@dataclass(frozen=True, slots=True, kw_only=True)
class CountFit:
    """Maximum-likelihood fit to the counts D_i of N units over D samples.

    `family` is one of
    - "binomial": one rate for all units;
    - "urn": the published urn [ZS, arXiv 2412.18073] in its sparse limit, a negative binomial of
      shape b and mean b D / M (their c D / N, c measured), truncated at D;
    - "beta-binomial": the exact marginal of the urn (ours), Beta(b, M - b) rates;
    - "inflated": the same with a share pi0 of dead and pi1 of always-on units (ours).
    b means something else in each of them: always report it with its family.
    """

    family: Family
    mean: float | None  # mean rate of the live units, b / M; None where there are none
    b: float | None  # None where the live units share one rate (the limit M -> infinity)
    M: float | None  # in samples; None as b; 0.0 is the limit in which rates are all 0 or 1
    pi0: float  # share of dead units, 0 to 1
    pi1: float  # share of always-on units, 0 to 1
    stderr: dict[str, float | None]  # of each parameter, from the observed information
    log_likelihood: float  # nats, of all N counts
    D: int
    N: int
    converged: bool
    note: str = ""  # boundaries and limits reached, and what that means

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float] | None:
        """Wald interval of one parameter on the scale of its range: ln b, ln M, logit of shares.

        None where the parameter or its standard error does not exist.
        """
        if name not in PARAMETERS:
            raise ActpruneError(
                f"A count fit has no '{name}'; choose from {', '.join(PARAMETERS)}."
            )
        value, error = getattr(self, name), self.stderr[name]
        if value is None or error is None or value == 0:
            return None
        z = float(ndtri(0.5 + level / 2))
        if name in ("b", "M"):
            reach = z * error / value
            return float(value * np.exp(-reach)), float(value * np.exp(reach))
        reach = z * error / (value * (1 - value))
        centre = logit(value)
        return float(expit(centre - reach)), float(expit(centre + reach))

    def expected_working(self, d: NDArray[np.number]) -> NDArray[np.float64]:
        """E[K(d)] in units after d >= 0 samples of this law (ours); the urn's is the published one.

        N (1 - pi0 - q z(d)) with q = 1 - pi0 - pi1 and z(d) the chance that a live unit stays
        silent; at d = 0 nothing works.
        """
        d = np.asarray(d, dtype=np.float64)
        live = max(0.0, 1.0 - self.pi0 - self.pi1)
        silent = np.exp(self._log_silent(d)) if live > 0 else np.zeros_like(d)
        return np.where(d > 0, self.N * (1.0 - self.pi0 - live * silent), 0.0)

    def _log_silent(self, d: NDArray[np.float64]) -> NDArray[np.float64]:
        """ln z(d): ln of the chance that a live unit fires on none of d samples."""
        if self.family == "urn":
            if self.b is None or self.M is None:
                return -d * (self.mean or 0.0)
            return -self.b * np.log1p(d / self.M)
        mean = self.mean or 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.M is None or self.b is None:
                return np.where(d > 0, d * np.log1p(-mean), 0.0)
            if self.M == 0:
                return np.where(d > 0, np.log1p(-mean), 0.0)
        return log_rising(self.M - self.b, d) - log_rising(self.M, d)

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON; what does not exist is None, and `note` is the reason."""
        errors = self.stderr.values()
        return {
            "family": self.family,
            **{name: getattr(self, name) for name in PARAMETERS},
            "stderr": dict(self.stderr),
            "log_likelihood": self.log_likelihood,
            "D": self.D,
            "N": self.N,
            "converged": self.converged,
            "note": self.note,
            "b_reason": self.note if self.b is None else None,
            "M_reason": self.note if self.M is None else None,
            "mean_reason": self.note if self.mean is None else None,
            "stderr_reason": (self.note or "not in this family") if None in errors else None,
        }
