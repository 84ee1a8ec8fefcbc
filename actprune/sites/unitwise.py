"""Prove that what consumers read hangs on their producers unit by unit, all sites at once.

Every dense layer's output is replaced with fixed noise in one forward pass; then, at one producer
of each site, a random half of the units gets other values in every row, another half in each. What
the consumer reads must change exactly there. All layers but the producers keep their noise, so that
also a router sends the tokens elsewhere than on the data: an expert is then seen to get other rows.

Shapes: R rows (samples and positions), N units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.running.fastpath import module_by_module
from actprune.running.forward import run_checked
from actprune.running.hooks import changing_outputs, watching_inputs
from actprune.sites.feeds import holds_matrix, is_dense
from actprune.sites.site import Site

PERIOD = 65_537  # of the noise, in values: a prime, so that it meets other units in each row
ROWS = 8  # tried at least: two units that swapped places pass unseen once in 2^8


@dataclass(frozen=True, slots=True)
class Trial:
    """Change producer number `turn` of each site, at units drawn by `seed`."""

    turn: int
    seed: int
    ranks: dict[tuple[int, int], Tensor] = field(default_factory=dict)  # layers are often alike

    def units(self, site: Site, rows: int) -> tuple[Tensor, Tensor]:
        """bool [R, N]: where the values change, half of each row; and where to zero, a half of
        that at gated sites."""
        if (rows, site.units) not in self.ranks:
            generator = torch.Generator().manual_seed(self.seed)
            order_RN = torch.rand(rows, site.units, generator=generator).argsort(1)
            self.ranks[rows, site.units] = order_RN
        rank_RN = self.ranks[rows, site.units]
        half = max(1, site.units // 2)
        return rank_RN < half, rank_RN < (max(1, half // 2) if site.kind == "gated" else 0)


def unit_by_unit(
    model: nn.Module, batch: Batch, sites: Sequence[Site], rows: Mapping[str, int]
) -> list[Site]:
    """Those of `sites`, which share no layer, that hold; `rows`: read by each site's consumer.

    At a gated site one of the two producers must also silence a unit by being zero; else they add
    up, as in a residual stream.

    Raises:
        ActpruneError: if the model cannot run so.
    """
    before: dict[str, Tensor] = {}
    failed: set[str] = set()
    gates: set[str] = set()

    def keep(site: Site, x_RN: Tensor) -> None:
        if site.name in before or len(x_RN) != rows[site.name]:
            failed.add(site.name)
        before[site.name] = x_RN.clone()

    def compare(trial: Trial) -> Callable[[Site, Tensor], None]:
        def see(site: Site, x_RN: Tensor) -> None:
            x0_RN = before.get(site.name)
            if x0_RN is None or x0_RN.shape != x_RN.shape:
                failed.add(site.name)
            elif trial.turn < len(site.producers):
                changed_RN, silent_RN = (m.to(x_RN.device) for m in trial.units(site, len(x_RN)))
                differs_RN = (x_RN != x0_RN) & ~(x_RN.isnan() & x0_RN.isnan())
                if not torch.equal(differs_RN, changed_RN):
                    failed.add(site.name)
                if not x_RN[silent_RN].any():
                    gates.add(site.name)

        return see

    if not sites:
        return []
    _run(model, batch, sites, None, keep)
    times = -(-ROWS // max(1, min((len(x) for x in before.values()), default=ROWS)))
    for turn in range(max(len(s.producers) for s in sites)):
        for seed in range(times):
            trial = Trial(turn, 1 + turn * times + seed)
            _run(model, batch, sites, trial, compare(trial))
    failed |= {s.name for s in sites if s.kind == "gated" and s.name not in gates}
    return [s for s in sites if s.name in before and s.name not in failed]


def _run(
    model: nn.Module,
    batch: Batch,
    sites: Sequence[Site],
    trial: Trial | None,
    see: Callable[[Site, Tensor], None],
) -> None:
    """Replace the outputs of all dense layers, and see what the sites' consumers read, [R, N]."""
    by_producer = {p.module: s for s in sites for p in s.producers}
    by_consumer = {s.consumer.module: s for s in sites}
    dense = {n: i for i, (n, m) in enumerate(model.named_modules()) if holds_matrix(m)}

    def replace(name: str, x: object, out: Tensor) -> Tensor | None:
        if not isinstance(out, Tensor) or not is_dense(model.get_submodule(name), x, out):
            return None
        values = _noise(out, dense[name])
        site = by_producer.get(name)
        if site is not None and trial is not None and trial.turn < len(site.producers):
            slot = site.producers[trial.turn]
            if slot.module == name:
                part = values.narrow(1, slot.offset, site.units)
                changed_RN, silent_RN = trial.units(site, len(values))
                part.add_(0.75 * changed_RN).masked_fill_(silent_RN, 0.0)
        return values.to(out).reshape(out.shape)

    def look(name: str, x: Tensor) -> None:
        see(by_consumer[name], x.reshape(-1, x.shape[-1]))

    with (
        changing_outputs(model, dense, replace),
        watching_inputs(model, by_consumer, look),
        module_by_module(),
    ):
        run_checked(model, batch)


def _noise(out: Tensor, seed: int) -> Tensor:
    """What stands in for a layer's output: float32 [R, N] in 0.5 to 1, where every common
    activation rises, as it does up to the 1.75 that changed values reach. It repeats itself, since
    a language model's head has millions of outputs."""
    n = out.numel()
    once = torch.rand(min(n, PERIOD), generator=torch.Generator().manual_seed(seed))
    return (0.5 + 0.5 * once).repeat(-(-n // PERIOD))[:n].reshape(-1, out.shape[-1])
