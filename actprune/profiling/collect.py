"""The one loop over calibration data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.source import Source, as_source, fingerprint
from actprune.data.split import block_of, heldout
from actprune.errors import ActpruneError
from actprune.profiling.accumulate import Ledger
from actprune.profiling.layout import by_unit
from actprune.profiling.result import SOURCE_BITS, Identity, Profile, Shard
from actprune.profiling.rules import FIXED_ON, Rule, check_rule, fix_rule
from actprune.running.forward import run_checked
from actprune.running.hashing import model_hash
from actprune.running.hooks import watching_inputs
from actprune.running.state import device_of, undisturbed
from actprune.sites.find import Survey, survey
from actprune.sites.site import Site

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
    stream = _capped(source.batches(batch_size), samples)

    def calibrating(batch: Batch) -> Batch | None:
        return _drop_heldout(batch, seed) if leave_out else batch

    head, stream = _peek(stream, calibrating, source.spec)
    device = device_of(model)
    found = survey(model, head[0].to(device))
    kept = [b for b in map(calibrating, head) if b is not None]
    if not kept:
        raise ActpruneError(f"{source.spec}: no calibration sample is left; give more data.")
    with undisturbed(model):
        rules = _rules(model, kept, found, rule, like, device)
        ledger = Ledger(found.sites, rules, with_gram=gram, device=device)
        origin = fingerprint(head[0])
        base = int(origin[:5], 16) << SOURCE_BITS
        first_id, last_id, counted = int(head[0].ids[0]), -1, 0
        for index, whole in enumerate(stream):
            last_id = int(whole.ids[-1])
            batch = calibrating(whole)
            if batch is not None:
                ledger.open(block_of(batch.ids, seed))
                observe(model, batch.to(device), found.sites, ledger.see, what=f"batch {index}")
                ledger.close(batch.ids + base, index)
                counted += len(batch)
            progress(len(whole))
    return Profile(
        identity=Identity(
            model=spec or type(model).__name__,
            model_hash=model_hash(model),
            data=source.spec,
            seed=seed,
            heldout=leave_out,
            statistics=STATISTICS if gram else STATISTICS[:2],
        ),
        shards=(Shard(source=origin, start=first_id, stop=last_id + 1, samples=counted),),
        sites=ledger.freeze(),
        refusals=found.refusals,
        census=found.census,
        seconds=time.perf_counter() - start,
    )


def _capped(stream: Iterator[Batch], samples: int | None) -> Iterator[Batch]:
    left = samples
    for batch in stream:
        if left is None:
            yield batch
            continue
        if len(batch) > left:
            batch = batch.select(torch.arange(left))
        if len(batch):
            yield batch
        left -= len(batch)
        if left <= 0:
            return


def _peek(
    stream: Iterator[Batch], calibrating: Callable[[Batch], Batch | None], spec: str
) -> tuple[list[Batch], Iterator[Batch]]:
    """The first batches, until they hold `FIXED_ON` samples to calibrate on, and a stream that
    still starts with them."""
    head: list[Batch] = []
    usable = 0
    for batch in stream:
        head.append(batch)
        usable += len(calibrating(batch) or ())
        if usable >= FIXED_ON:
            break
    if not head:
        raise ActpruneError(f"{spec}: the data are empty; give at least one sample.")

    def again() -> Iterator[Batch]:
        yield from head
        yield from stream

    return head, again()


def _drop_heldout(batch: Batch, seed: int) -> Batch | None:
    keep = ~heldout(batch.ids, seed)
    return batch.select(keep) if keep.any() else None


def observe(
    model: nn.Module,
    batch: Batch,
    sites: Iterable[Site],
    see: Callable[[str, Tensor], None],
    *,
    what: str = "the data",
) -> Any:
    """Run one forward pass, call `see(site name, activations [S, U, P])` at each site, and return
    the model's raw output.

    Raises:
        ActpruneError: if the model cannot run on the batch, called `what` in the message.
    """
    by_consumer: dict[str, list[Site]] = {}
    for site in sites:
        by_consumer.setdefault(site.consumer.module, []).append(site)

    def split(consumer: str, x: Tensor) -> None:
        conv = isinstance(model.get_submodule(consumer), nn.Conv2d)
        for site in by_consumer[consumer]:
            see(site.name, by_unit(site, x, conv_consumer=conv))

    with watching_inputs(model, by_consumer, split):
        return run_checked(model, batch, what)


def _rules(
    model: nn.Module,
    head: list[Batch],
    found: Survey,
    rule: str,
    like: Profile | None,
    device: torch.device,
) -> dict[str, Rule]:
    if like is not None:
        rules = {s.site.name: s.rule for s in like.sites}
        if set(rules) != {s.name for s in found.sites}:
            raise ActpruneError(
                "The profile given as `like` has other sites than this model; "
                "profile the same model."
            )
        return rules
    parts: dict[str, list[Tensor]] = {s.name: [] for s in found.sites}
    left = FIXED_ON
    for batch in head:
        few = batch.select(torch.arange(min(left, len(batch))))
        observe(model, few.to(device), found.sites, lambda n, a_SUP: parts[n].append(a_SUP.cpu()))
        left -= len(few)
        if left <= 0:
            break
    return {name: fix_rule(rule, torch.cat(seen)) for name, seen in parts.items() if seen}
