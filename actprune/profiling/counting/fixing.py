"""Fix every site's firing rule on the first samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.profiling.counting.observe import observe
from actprune.profiling.result import Profile
from actprune.profiling.rules import FIXED_ON, FIXED_TOKENS, Look, Rule, fix_rule
from actprune.running.state import device_of
from actprune.sites.site import Site


def fixed_rules(
    model: nn.Module, head: Sequence[Batch], sites: Sequence[Site], rule: str, like: Profile | None
) -> dict[str, Rule]:
    """Each site's rule: the one called `rule`, its threshold taken from the first `FIXED_ON`
    samples of `head` (of a text, windows of `FIXED_TOKENS` tokens together), or that of `like`.

    Raises:
        ActpruneError: if `like` has other sites.
    """
    if like is not None:
        rules = {s.site.name: s.rule for s in like.sites}
        if set(rules) != {s.name for s in sites}:
            raise ActpruneError(
                "The profile given as `like` has other sites than this model; "
                "profile the same model."
            )
        return rules
    device = device_of(model)
    looks = {s.name: Look() for s in sites}

    def look(name: str, a_SUP: Tensor) -> None:
        looks[name] += Look.at(a_SUP)

    left = _rows_to_see(head[0])
    for batch in head:
        few = batch.select(torch.arange(min(left, len(batch))))
        observe(model, few.to(device), sites, look)
        left -= len(few)
        if left <= 0:
            break
    return {name: fix_rule(rule, seen) for name, seen in looks.items() if seen.values}


def _rows_to_see(batch: Batch) -> int:
    if batch.documents is None:
        return FIXED_ON
    return max(1, FIXED_TOKENS // batch.documents.shape[1])
