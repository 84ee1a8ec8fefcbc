"""Does an exact cut change nothing? The proved part against rounding, the rest by its bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.exact.bounds import enclosure
from actprune.planning.result import ExactPlan, Plan
from actprune.refit.exactly import compensate_exactly
from actprune.running.outputs import primary
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import substituted
from actprune.sites.cut import Cut
from actprune.verifying.result import Certificate, Exactness

ROUNDINGS = 1e3  # as for the proof of a site by intervention


def check_exactness(
    dense: nn.Module,
    small: nn.Module,
    plan: Plan,
    batches: Sequence[Batch],
    certificate: Certificate,
    progress: Callable[[int], None] = lambda samples: None,
) -> Exactness | None:
    """What the lossless cut of `plan` does to the outputs on held-out `batches`; None for another.

    The proved and merged units alone are taken out of the dense model and the outputs compared, on
    the samples within the box. In exact arithmetic the two networks agree, for weights within four
    units of rounding; so both outputs lie in the enclosures that interval propagation from that one
    input gives for either network (`enclosure`), and their difference is at most the widths of the
    two, added (ours). In deep networks these widths pass the size of the outputs and say nothing:
    `allowed` is then None. An output of the smaller model counts as changed if it differs by more
    than `ROUNDINGS` units of rounding of the largest output, or than the bound where that is less.
    """
    why = plan.exact
    if why is None:
        return None
    cut = Cut.removing(plan.all_sites, _units(why, "proved", "merged"))
    maps = compensate_exactly(dense, plan.all_sites, cut, plan.compensation)
    alone = not any(why.certified.values())  # then the smaller model itself is the proved one
    largest, allowed, beyond, inside, changed, total = 0.0, 0.0, 0, 0, 0, 0
    reason, unit = None, 0.0
    device = device_of(dense)
    for batch in batches:
        moved = batch.to(device)
        within = torch.ones(len(batch), dtype=torch.bool)
        if why.box is not None:
            within = why.box.contains(batch)
        with undisturbed(dense):
            raw = primary(moved.run(dense))
            unit, before = torch.finfo(raw.dtype).eps, raw.double().cpu()
        with undisturbed(small):
            after = primary(moved.run(small)).double().cpu()
        proved = after
        if not alone:
            with undisturbed(dense), substituted(dense, maps):
                proved = primary(moved.run(dense)).double().cpu()
        wide = torch.zeros_like(before)
        for model in (dense, small if alone else None):
            with substituted(dense, maps) if model is None else nullcontext():
                found = enclosure(dense if model is None else model, batch)
            if isinstance(found, str):
                reason = reason or found
                wide = torch.full_like(before, torch.inf)
                break
            wide += (found[1] - found[0]).cpu()
        gap = _rows((proved - before).abs(), within)
        limit = _rows(wide, within)
        largest = max(largest, float(gap.max()) if gap.numel() else 0.0)
        allowed = max(allowed, float(limit.max()) if limit.numel() else 0.0)
        beyond += int((~(gap <= limit)).any(1).sum())
        inside += int(within.sum())
        scale = float(before.abs().max())
        if reason is None and bool((limit.numel() > 0) and limit.max() > scale):
            reason = "the bound on rounding exceeds the outputs themselves"
        slack = wide.clamp(max=ROUNDINGS * unit * scale)
        changed += int((~((after - before).abs() <= slack)).flatten(1).any(1).sum())
        total += len(batch)
        progress(len(batch))
    return Exactness(
        proved=why.count("proved"),
        merged=why.count("merged"),
        certified=why.count("certified"),
        box=why.box.words if why.box else "any input",
        stopped=why.stopped,
        largest_difference=largest,
        allowed=None if reason else allowed,
        reason=reason,
        beyond=beyond,
        inputs_in_box=inside,
        inputs_changed=changed / total,
        bound=certificate.upper if why.count("certified") else 0.0,
        level=certificate.level,
    )


def certified_sites(plan: Plan) -> dict[str, tuple[int, ...]]:
    """The removed units per site that a certificate is about: all, or, where some are proved or
    merged away, the others."""
    if plan.exact is None:
        return {p.site.name: p.removed for p in plan.sites}
    return dict(plan.exact.certified)


def _units(why: ExactPlan, *parts: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for part in parts:
        for name, units in getattr(why, part).items():
            found.setdefault(name, []).extend(units)
    return found


def _rows(x: Tensor, keep: Tensor) -> Tensor:
    return x.flatten(1)[keep]
