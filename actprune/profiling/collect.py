"""The one loop over calibration data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from actprune.data.batch import Batch
from actprune.data.source import Source, as_source, fingerprint
from actprune.errors import ActpruneError
from actprune.profiling.fixing import fixed_rules
from actprune.profiling.ledger import Ledger
from actprune.profiling.observe import observe
from actprune.profiling.reading import Reading
from actprune.profiling.result import SOURCE_BITS, Identity, Profile, Shard
from actprune.profiling.rules import FIXED_ON, check_rule
from actprune.running.hashing import model_hash
from actprune.running.state import device_of, undisturbed
from actprune.sites.find import survey

STATISTICS = ("counts", "moments", "gram")


def profile(
    model: nn.Module,
    batches: Source | Iterable[Any],
    *,
    rule: str = "auto",
    gram: bool = False,
    leave_out: bool = False,
    samples: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    spec: str = "",
    like: Profile | None = None,
    progress: Callable[[int], None] = lambda samples: None,
) -> Profile:
    """Watch `model` on calibration data and count how its units fire.

    The model is run in evaluation mode without gradients and left bit-identical: weights, buffers,
    modes, hooks and random states.

    Args:
        model: any module; its sites are found by `actprune.sites.survey`.
        batches: a Source, or any iterable of batches: tensor, tuple `(inputs..., labels)` or dict.
        rule: `positive`, `magnitude:t` or `auto` (see `fix_rule`); fixed on the first 64 samples.
        gram: also sum the N x N matrices of products of activations, for refits without data.
        leave_out: leave the seeded third out that `verify` will read.
        samples: read only the first so many samples (before leaving out), at least 1.
        batch_size: samples a forward pass, at least 1, where the source can choose.
        seed: of the blocks and the held-out third.
        spec: how to name the model in reports.
        like: take the rules' thresholds from this profile, so that the two can be merged.
        progress: called with the number of samples after each batch.

    Raises:
        ActpruneError: if the data are empty or do not fit the model, or activations are not finite.
    """
    check_rule(rule)
    for name, number in (("samples", samples), ("batch_size", batch_size)):
        if number is not None and number < 1:
            raise ActpruneError(f"{name} must be at least 1, got {number}.")
    start = time.perf_counter()
    source = as_source(batches)
    reading = Reading(
        source=source, samples=samples, batch_size=batch_size, leave_out=leave_out, seed=seed
    )
    opened = reading.open(FIXED_ON)
    device = device_of(model)
    found = survey(model, opened.first.to(device))
    origin = fingerprint(opened.first)
    with undisturbed(model):
        ledger = Ledger(
            found.sites,
            fixed_rules(model, opened.head, found.sites, rule, like),
            with_gram=gram,
            device=device,
            seed=seed,
            source=int(origin[:5], 16) << SOURCE_BITS,
        )
        last_id = -1
        for index, (whole, batch) in enumerate(opened.stream):
            last_id = last_sample(whole)
            if batch is not None:
                ledger.open(batch)
                observe(model, batch.to(device), found.sites, ledger.see, what=f"batch {index}")
                ledger.close(index)
            progress(len(whole))
        sites = ledger.freeze()
    return Profile(
        identity=Identity(
            model=spec or type(model).__name__,
            model_hash=model_hash(model),
            data=source.spec,
            seed=seed,
            heldout=leave_out,
            statistics=STATISTICS if gram else STATISTICS[:2],
        ),
        shards=(
            Shard(
                source=origin,
                start=int(opened.first.ids[0]),
                stop=last_id + 1,
                samples=ledger.sums.samples,
            ),
        ),
        sites=sites,
        refusals=found.refusals,
        census=found.census,
        seconds=time.perf_counter() - start,
    )


def last_sample(batch: Batch) -> int:
    """The id of the last sample that a batch holds, or a piece of it."""
    return int(batch.ids[-1] if batch.documents is None else batch.documents[-1, -1])
