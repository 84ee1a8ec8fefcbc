"""A fitted tail of the counts per unit: what it is and how sure it is."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from scipy.special import ndtri

from actprune.theory.interval import Interval

TailFamily = Literal["power law", "geometric", "truncated power law", "lognormal", "beta-binomial"]
TAIL_FAMILIES: tuple[TailFamily, ...] = get_args(TailFamily)

# parameters of each family, in the order of their coordinates
TAIL_PARAMETERS: dict[TailFamily, tuple[str, ...]] = {
    "power law": ("alpha",),
    "geometric": ("rate",),
    "truncated power law": ("alpha", "rate"),
    "lognormal": ("mu", "sigma"),
    "beta-binomial": ("b", "M"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TailFit:
    """Maximum likelihood on counts xmin <= k <= xmax, the law bounded to that range.

    P(k) is proportional to
    - "power law": k^-alpha, alpha any real number;
    - "geometric": e^(-rate k), the discrete exponential; rate < 0 rises towards xmax;
    - "truncated power law": k^-alpha e^(-rate k);
    - "lognormal": (1/k) exp(-(ln k - mu)^2 / (2 sigma^2)), the density at whole numbers;
    - "beta-binomial": C(D, k) B(k + b, D - k + M - b), the urn's law without its silent units.
    """

    family: TailFamily
    xmin: int
    xmax: int
    D: int  # samples behind the counts
    n: int  # units fitted: those with xmin <= count <= xmax
    working: int  # units with count >= 1
    parameters: dict[str, float] | None  # None where there is no maximum, and `note` says why
    stderr: dict[str, float | None]  # from the information, units independent
    log_likelihood: float | None  # nats, of the n counts given that they lie in the range
    ks: float | None  # largest distance of the distribution functions, 0 to 1
    note: str = ""

    @property
    def alpha(self) -> float | None:
        """The exponent, where the family has one."""
        return None if self.parameters is None else self.parameters.get("alpha")

    def interval(self, name: str, level: float = 0.95) -> Interval:
        """Wald interval of one parameter; on the log scale for sigma, b and M, which are > 0."""
        value = (self.parameters or {}).get(name)
        error = self.stderr.get(name)
        if value is None or error is None:
            reason = self.note or f"a {self.family} has no '{name}' or no error of it"
            return Interval(low=None, high=None, level=level, reason=reason)
        reach = float(ndtri(0.5 + level / 2)) * error
        if name in ("sigma", "b", "M"):
            factor = math.exp(reach / value)
            return Interval(low=value / factor, high=value * factor, level=level)
        return Interval(low=value - reach, high=value + reach, level=level)
