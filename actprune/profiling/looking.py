"""Stop reading early: a rule looks at what has been counted, at sample sizes that double.

The rules themselves are statistics and live in `actprune.theory.stop_rules`; this only knows when
to ask one, and what to keep so that a run that was stopped asks it again at the same places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

from actprune.profiling.counting.sums import Sums
from actprune.profiling.result import Until


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class Seen:
    """What has been counted at one site, B blocks and N units."""

    name: str
    samples: np.ndarray  # int64 [B]
    active: np.ndarray  # int64 [B, N], samples that activate each unit


class Answer(Protocol):
    """Whether the samples are enough, and what was found."""

    @property
    def enough(self) -> bool: ...
    @property
    def said(self) -> str: ...


class Stop(Protocol):
    """A rule: frozen, so that the same counts give the same answer."""

    @property
    def name(self) -> str:
        """As it is asked for; a run is resumed with the same one only."""
        ...

    def first(self, sites: int) -> int:
        """Samples at the first look; the others follow at its doubles."""
        ...

    def __call__(
        self, sites: Sequence[Seen], number: int, before: Sequence[np.ndarray] | None
    ) -> Answer:
        """The answer at look `number`, 1, 2, ...; `before`: int64 [N] a site, the samples active
        at the look before."""
        ...


class Looked(BaseModel):
    """Where a run's looks stand, as its checkpoint keeps it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    looks: int = 0
    samples: int = 0  # at the last look
    enough: bool = False
    said: str = ""


class Looks:
    """Asks a rule at its sample sizes, once each; without a rule it never stops."""

    def __init__(self, rule: Stop | None, sites: int) -> None:
        self._rule = rule
        self._next = None if rule is None else max(1, rule.first(sites))
        # one attribute, so that no signal finds half of a look
        self._kept: tuple[Looked, tuple[np.ndarray, ...] | None] = (Looked(), None)

    @property
    def state(self) -> Looked:
        """Where the looks stand."""
        return self._kept[0]

    @property
    def before(self) -> tuple[np.ndarray, ...] | None:
        """int64 [N] of each site, the samples active at the last look; None before the first."""
        return self._kept[1]

    def restore(self, state: Looked, before: tuple[np.ndarray, ...] | None) -> None:
        """Go on from what an earlier run has kept."""
        self._kept = (state, before)
        if state.looks:
            self._pass(state.samples)

    def enough(self, sums: Sums) -> bool:
        """Whether to read no further; asks the rule if the next sample size has been reached.

        Between two batches. Where one of them passes several sizes the rule is asked once.
        """
        if self.state.enough or self._rule is None or self._next is None:
            return self.state.enough
        samples = sums.samples
        if samples < self._next:
            return False
        sites = seen(sums)
        number = self.state.looks + 1
        answer = self._rule(sites, number, self.before)
        state = Looked(looks=number, samples=samples, enough=bool(answer.enough), said=answer.said)
        self._kept = (state, tuple(s.active.sum(0) for s in sites))
        self._pass(samples)
        return self.state.enough

    def result(self) -> Until | None:
        """Why the run has ended where it did; None without a rule."""
        if self._rule is None:
            return None
        s = self.state
        if not s.looks:
            said = f"the data ended before the first look, at {self._next} samples"
        elif s.enough:
            said = s.said
        else:
            said = f"the data ended; at {s.samples} samples: {s.said}"
        return Until(
            rule=self._rule.name, met=s.enough, looks=s.looks, samples=s.samples, said=said
        )

    def _pass(self, samples: int) -> None:
        assert self._next is not None
        while self._next <= samples:
            self._next *= 2


def seen(sums: Sums) -> tuple[Seen, ...]:
    """The block counts of every site so far, without what a rule does not read."""
    samples, active = sums.counted
    return tuple(
        Seen(name=site.name, samples=samples, active=active[:, sums.columns[site.name]])
        for site in sums.sites
    )
