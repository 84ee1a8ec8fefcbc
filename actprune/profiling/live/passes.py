"""Counting forward passes that somebody else runs, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.source import fingerprint
from actprune.errors import ActpruneError
from actprune.profiling.counting.fixing import fixed_rules
from actprune.profiling.counting.ledger import Ledger
from actprune.profiling.counting.observe import watching_sites
from actprune.profiling.live.searching import searching
from actprune.profiling.live.windows import Recorder
from actprune.profiling.result import SOURCE_BITS, Profile, Shard
from actprune.profiling.rules import FIXED_ON, Look, Rule, fix_rule
from actprune.running.apart import apart
from actprune.running.fastpath import module_by_module
from actprune.running.state import device_of
from actprune.sites.site import Site


class Counting:
    """The running statistics of a model's sites; for each pass: `begin`, the pass itself, `end`.

    Each site's rule is fixed on what the site shows in the first pass, as the loop runs it.
    """

    def __init__(
        self,
        model: nn.Module,
        sites: Sequence[Site],
        first: Batch,
        *,
        rule: str,
        like: Profile | None,
        gram: bool,
        seed: int,
        window: int | None,
    ) -> None:
        """`first` is the first pass's batch, after which the data are named.

        Raises:
            ActpruneError: if `like` has other sites.
        """
        self._model, self._sites, self._rule = model, sites, rule
        known = None if like is None else fixed_rules(model, (), sites, rule, like)
        self._rules: dict[str, Rule] = dict(known or {})
        self._origin = fingerprint(first)
        self.ledger = Ledger(
            sites,
            self._rules,
            with_gram=gram,
            device=device_of(model),
            seed=seed,
            source=int(self._origin[:5], 16) << SOURCE_BITS,
        )
        self.recorder = None if window is None else Recorder(self.ledger.sums, window)
        self._hooks: ExitStack | None = None  # of the pass under way
        self._passes = self._samples = self._now = 0  # so far, and samples of the pass under way

    @property
    def shard(self) -> Shard:
        """The samples counted so far."""
        return Shard(source=self._origin, start=0, stop=self._samples, samples=self._samples)

    def begin(self, samples: int) -> None:
        """Watch the sites in the pass of so many samples that is about to run."""
        self.drop()
        ids = torch.arange(self._samples, self._samples + samples)
        with apart():
            self.ledger.open(Batch(args=(), kwargs={}, labels=None, ids=ids))
        self._now = samples
        with ExitStack() as stack:
            stack.enter_context(module_by_module())
            stack.enter_context(
                watching_sites(
                    self._model, self._sites, self._see, samples=samples, unless=searching
                )
            )
            self._hooks = stack.pop_all()

    def end(self) -> None:
        """Count the pass that has run, if one was begun.

        Raises:
            ActpruneError: if a site did not run in it, or its activations are not finite.
        """
        if self._hooks is None:
            return
        self.drop()
        with apart():
            self.ledger.close(self._passes)
            self._passes += 1
            self._samples += self._now
            if self.recorder is not None:
                self.recorder.count()

    def drop(self) -> None:
        """Forget the pass under way, which has failed."""
        if self._hooks is not None:
            hooks, self._hooks = self._hooks, None
            hooks.close()

    def _see(self, name: str, a_SUP: Tensor) -> None:
        if len(a_SUP) != self._now:
            raise ActpruneError(
                f"Site {name!r} saw {len(a_SUP)} samples in a forward pass of {self._now}, as the "
                f"first axis of the model's first input has it; pass the samples along the first "
                f"axis."
            )
        with apart():
            if name not in self._rules:
                self._rules[name] = fix_rule(self._rule, Look.at(a_SUP[:FIXED_ON]))
            self.ledger.see(name, a_SUP)
