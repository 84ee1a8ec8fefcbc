"""When may a profile stop reading? Two rules, one with a confidence and one without.

Both look at doubling sample sizes only, fixed before anything is counted, so a data set of D
samples is looked at about log2(D) times. A rule is shown, of each site, the block counts so far
and the counts at the look before.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from actprune.errors import ActpruneError
from actprune.theory.liveness import block_certificate, good_turing

KNOWN = "certified=Q, as in certified=0.01, certified=Q@LEVEL, stable or stable=RANKS"
RANKS = 0.95  # least rank correlation of `stable`


class Seen(Protocol):
    """What has been counted at one site."""

    @property
    def name(self) -> str: ...
    @property
    def samples(self) -> NDArray[np.int64]: ...  # (B,)
    @property
    def active(self) -> NDArray[np.int64]: ...  # (B, N), samples that activate each unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether the samples are enough, and what was found."""

    enough: bool
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """Stop once, at every site, at most a share q of inputs fires any unit that is free there.

    The rule (ours). At look j = 1, 2, ..., of S sites, each site's split certificate is taken at
    level 1 - d_j, d_j = (1 - level) 2^-j / S: units silent on the even blocks of samples, inputs of
    the odd blocks that fire one of them, Clopper and Pearson's upper bound
    (`liveness.block_certificate`). It stops where all S bounds are at most q.

    What optional stopping costs is paid. The sample sizes of the looks are fixed beforehand, so
    each single bound is a fixed-size one and fails with probability at most d_j. By the union bound
    the chance that any bound at any look and site fails is at most S sum_j d_j = (1 - level) sum_j
    2^-j <= 1 - level, whenever it stops. The units still free then are among those that the bound
    is for. So, with confidence `level`, at every site at once at most q of inputs drawn like these
    fire one of the site's free units. No shift of the distribution is covered, and samples must be
    independent: documents, where tokens are correlated.

    The first look is made where n inputs without one firing could pass: (1 - q)^n <= d_1, and the
    odd blocks hold that many of the samples but for two standard deviations of Binomial(D, 1/2).
    A site without free units has nothing to be certified, and passes.
    """

    q: float  # share of inputs, 0 to 1
    level: float = 0.95

    def __post_init__(self) -> None:
        if not (0 < self.q < 1 and 0 < self.level < 1):
            raise ActpruneError(
                f"certified needs a share and a level between 0 and 1, "
                f"got {self.q:g} and {self.level:g}."
            )

    @property
    def name(self) -> str:
        """As the rule is asked for."""
        at = "" if self.level == 0.95 else f"@{self.level:g}"
        return f"certified={self.q:g}{at}"

    def first(self, sites: int) -> int:
        """Samples at the first look."""
        least = math.ceil(math.log(self._spent(1, sites)) / math.log1p(-self.q))
        return math.ceil((1 + math.sqrt(1 + 2 * least)) ** 2)

    def __call__(
        self, sites: Sequence[Seen], number: int, before: Sequence[NDArray[np.int64]] | None
    ) -> Answer:
        """The answer at look `number`, from 1 on."""
        level = 1 - self._spent(number, len(sites))
        worst, where = -1.0, ""
        for site in sites:
            if site.active.sum(0).all():
                continue
            upper = block_certificate(site.active, site.samples, level).upper
            upper = 1.0 if upper is None else upper
            if upper > worst:
                worst, where = upper, site.name
        if worst < 0:
            return Answer(enough=True, said="no site has a free unit: nothing is to be certified")
        turing = max(good_turing(s.active.sum(0), int(s.samples.sum())) for s in sites)
        said = (
            f"at most {worst:.2%} of inputs fire a free unit of {where}, the worst site, with "
            f"{self.level:.0%} confidence over all looks and sites (Q1/D at most {turing:.2g})"
        )
        return Answer(enough=worst <= self.q, said=said)

    def _spent(self, look: int, sites: int) -> float:
        """d_j: the chance of error that a bound of one site may use at this look."""
        return (1 - self.level) * 2.0**-look / max(1, sites)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stable:
    """Stop once a doubling of the samples has changed neither the free units nor the ranking.

    The rule (ours). At each look but the first, at every site: no unit that was free at the look
    before has fired since, and Spearman's rank correlation between the units' counts up to the look
    before and their counts on the samples since, as many again, is at least `ranks`. The two sets
    of samples are disjoint, so agreement is no artefact of counting the same samples twice. Units
    silent all along are left out; fewer than two units, or counts that are all alike in one of the
    halves, have no ranking to change.

    It is a habit made explicit, with no confidence attached: free units that fire on fewer than
    about 1/D of the inputs stay unseen. `Certified` has a confidence.
    """

    ranks: float = RANKS

    def __post_init__(self) -> None:
        if not 0 < self.ranks <= 1:
            raise ActpruneError(f"stable needs a correlation in 0..1, got {self.ranks:g}.")

    @property
    def name(self) -> str:
        """As the rule is asked for."""
        return "stable" if self.ranks == RANKS else f"stable={self.ranks:g}"

    def first(self, sites: int) -> int:
        """Samples at the first look, whose counts the second one is compared with."""
        return 128

    def __call__(
        self, sites: Sequence[Seen], number: int, before: Sequence[NDArray[np.int64]] | None
    ) -> Answer:
        """The answer at look `number`, from 1 on."""
        if before is None:
            return Answer(enough=False, said="there is nothing yet to compare with")
        fired, least, where = 0, 1.0, ""
        for site, old in zip(sites, before, strict=True):
            counts = site.active.sum(0)
            fired += int(((old == 0) & (counts > 0)).sum())
            rank = rank_correlation(old, counts - old)
            if rank is not None and rank < least:
                least, where = rank, f" ({site.name})"
        said = (
            f"in the last doubling {fired} free units fired; the ranking of the rates agrees to "
            f"{least:.3f} at least{where}"
        )
        return Answer(enough=fired == 0 and least >= self.ranks, said=said)


def rank_correlation(a: NDArray[np.int64], b: NDArray[np.int64]) -> float | None:
    """Spearman's correlation of the units' counts, ties averaged, units silent in both left out.

    None where there is no ranking: fewer than two units, or all alike in one of the two.
    """
    alive = (a > 0) | (b > 0)
    x, y = rankdata(a[alive]), rankdata(b[alive])
    if len(x) < 2 or x.std() == 0 or y.std() == 0:
        return None
    x, y = x - x.mean(), y - y.mean()
    return float(min(1.0, x @ y / math.sqrt(float(x @ x) * float(y @ y))))


def rule_called(name: str) -> Certified | Stable:
    """The rule that `name` asks for.

    Raises:
        ActpruneError: if it is none, or a number in it is out of range.
    """
    kind, _, value = name.partition("=")
    try:
        if kind == "certified" and value:
            share, _, level = value.partition("@")
            return Certified(q=float(share), level=float(level) if level else 0.95)
        if kind == "stable" and ("=" in name) == bool(value):
            return Stable(ranks=float(value)) if value else Stable()
    except ValueError:
        pass
    raise ActpruneError(f"until: known are {KNOWN}; got {name!r}.")
