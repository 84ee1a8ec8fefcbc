"""The one loop over calibration data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch import nn

from actprune.data.source import Source, as_source, fingerprint
from actprune.errors import ActpruneError
from actprune.profiling.counting.fixing import fixed_rules
from actprune.profiling.counting.ledger import Ledger
from actprune.profiling.counting.observe import observe
from actprune.profiling.counting.stratify import Strata
from actprune.profiling.gram.settings import GramSettings, gram_kind
from actprune.profiling.looking import Looks, Stop
from actprune.profiling.ranks.sharing import (
    agreed_rules,
    check_alike,
    check_plain,
    own_path,
    share,
)
from actprune.profiling.ranks.team import Ranks, joined
from actprune.profiling.ranks.total import Total, total
from actprune.profiling.reading import Reading
from actprune.profiling.result import SOURCE_BITS, Identity, Profile, Shard
from actprune.profiling.rules import FIXED_ON, check_rule
from actprune.profiling.safety.checkpoint import rules_hash
from actprune.profiling.safety.keeping import keeping
from actprune.profiling.taken import statistics
from actprune.running.hashing import model_hash
from actprune.running.state import device_of, undisturbed
from actprune.running.wrapped import unwrapped
from actprune.sites.find import survey

STATISTICS = ("counts", "moments", "gram")
FOUND = ("model_hash", "source")  # in what was asked for: taken from model and data


def profile(
    model: nn.Module,
    batches: Source | Iterable[Any],
    *,
    rule: str = "auto",
    gram: bool | GramSettings = False,
    histogram: bool = False,
    strata: Strata | None = None,
    leave_out: bool = False,
    samples: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    spec: str = "",
    like: Profile | None = None,
    checkpoint: Path | str | None = None,
    every: int | None = None,
    resume: bool = False,
    ranks: Ranks = "together",
    until: Stop | str | None = None,
    progress: Callable[[int], None] = lambda samples: None,
) -> Profile:
    """Watch `model` on calibration data and count how its units fire.

    The model is run in evaluation mode without gradients and left bit-identical: weights, buffers,
    modes, hooks and random states.

    With `checkpoint`, SIGINT and SIGTERM let the batch at hand be counted and the checkpoint be
    written before they take effect; a second one takes effect at once. A run that was resumed ends
    in the same arrays, bit by bit, as one that was never stopped, given the same batch size,
    device, number of threads and versions, and a model whose outputs depend on its inputs alone.

    Where torch.distributed is initialized, as under torchrun, each rank calls this with the same
    model and the same data and runs its share of them (see `share`); all return the whole profile.
    Counts, extremes and first firing ids equal a single process's bit by bit; sums of float64 are
    added in another order. What one rank raises, all raise.

    Args:
        model: any module, in its wrapper or not (see `unwrapped`); its sites are found by
            `actprune.sites.survey`.
        batches: a Source, or any iterable of batches: tensor, tuple `(inputs..., labels)` or dict.
        rule: `positive`, `magnitude:t` or `auto` (see `fix_rule`); fixed on the first 64 samples.
        gram: also sum the N x N matrices of products of activations, for refits without data;
            `GramSettings` says how, where that takes too much time or room.
        histogram: also count magnitudes, so that other thresholds can be asked for later (see
            `at_threshold`).
        strata: also keep the counts of each class ("labels") or of what a callable names, one name
            a sample of a batch (see `stratum` and `reweighted`). Not on several ranks.
        leave_out: leave the seeded third out that `verify` will read.
        samples: read only the first so many samples (before leaving out), at least 1.
        batch_size: samples a forward pass, at least 1, where the source can choose.
        seed: of the blocks and the held-out third.
        spec: how to name the model in reports.
        like: take the rules' thresholds from this profile, so that the two can be merged.
        checkpoint: a file that keeps what has been counted until the run has ended; remove it when
            the profile is saved. It must not exist yet, unless `resume` is set. Several ranks keep
            one each, with `.0of2` and so on behind its name.
        every: batches between checkpoints, at least 1; by default about half a minute lies between
            them, and more where writing would take over 2 % of the time.
        resume: go on from `checkpoint`; from the start where there is none.
        ranks: "alone" profiles on this rank by itself, whatever the others do: for loaders that
            give each rank samples of its own, whose profiles `merge` then adds up if all ranks
            take the thresholds of one (see `like`).
        until: stop reading once a rule says that the samples are enough: one of
            `actprune.theory.stop_rules` or, in `actprune.profile`, its name: "certified=0.01" (at
            most 1 % of inputs fire a free unit, with 95 % confidence, whenever it stops) or
            "stable" (a doubling of the samples changed neither the free units nor the ranking of
            the rates). The rule is asked at doubling sample sizes, after whole batches; of a text,
            the last document counts as far as it was read. What it said is in the shard of the
            profile. The data must be in random order, as for everything that is learnt from
            their first part. In one process only.
        progress: called with the number of samples after each batch, skipped ones included.

    Raises:
        ActpruneError: if the data are empty or do not fit the model, activations are not finite,
            or the checkpoint is another run's, in use, or cannot be written; if the model cannot be
            taken out of what wraps it; or if the ranks differ in model or data, or one is lost.
    """
    check_rule(rule)
    if isinstance(until, str):
        raise ActpruneError(
            f"until: this function takes rules, not names; call actprune.profile, or pass a rule "
            f"of actprune.theory.stop_rules for {until!r}."
        )
    for name, number in (("samples", samples), ("batch_size", batch_size)):
        if number is not None and number < 1:
            raise ActpruneError(f"{name} must be at least 1, got {number}.")
    model = unwrapped(model)
    source = as_source(batches)
    reading = Reading(
        source=source, samples=samples, batch_size=batch_size, leave_out=leave_out, seed=seed
    )
    with (
        joined(ranks) as team,
        keeping(
            checkpoint and own_path(checkpoint, team.rank, team.size), every=every, resume=resume
        ) as keeper,
    ):
        if until is not None and team.size > 1:
            raise ActpruneError(
                f"until {until.name}: {team.size} processes cannot stop together yet; profile in "
                f"one process, or leave until out."
            )
        check_plain(team, batches)
        opened = reading.open(FIXED_ON)
        device = device_of(model)
        found = survey(model, opened.first.to(device))
        origin = fingerprint(opened.first)
        identity = Identity(
            model=spec or type(model).__name__,
            model_hash=model_hash(model),
            data=source.spec,
            seed=seed,
            heldout=leave_out,
            statistics=statistics(gram, histogram, strata),
            counted="samples" if opened.first.documents is None else "documents",
        )
        asked = {
            **identity.model_dump(mode="json", exclude={"model"}),
            "source": origin,
            "samples": samples,
            "batch_size": batch_size,
            "rule": rule,
            "like": rules_hash(like) if like else None,
            "gram": gram_kind(gram),
            "until": until.name if until is not None else None,
        }
        check_alike(
            team,
            model=identity.model_hash,
            data=origin,
            arguments=json.dumps({k: v for k, v in asked.items() if k not in FOUND}),
            sites=json.dumps([s.model_dump(mode="json") for s in found.sites]),
        )
        known = keeper.rules(asked, found.sites)
        with undisturbed(model):
            ledger = Ledger(
                found.sites,
                agreed_rules(
                    team,
                    lambda: known or fixed_rules(model, opened.head, found.sites, rule, like),
                ),
                with_gram=gram,
                with_histogram=histogram,
                strata=strata,
                device=device,
                seed=seed,
                source=int(origin[:5], 16) << SOURCE_BITS,
            )
            looks = Looks(until, len(found.sites))
            keeper.begin(ledger, looks)
            stream = keeper.unread(share(team, reading, opened), progress)
            while not looks.enough(ledger.sums) and (read := next(stream, None)) is not None:
                whole, batch = read
                index = keeper.batches
                with keeper.counting(whole):
                    if batch is not None:
                        ledger.open(batch)
                        there = batch.to(device)
                        observe(model, there, found.sites, ledger.see, what=f"batch {index}")
                        ledger.close(index)
                progress(len(whole))
                keeper.keep()
            counted = total(
                team,
                Total(
                    sites=ledger.freeze(),
                    samples=ledger.sums.samples,
                    last_id=keeper.last_id,
                    seconds=keeper.seconds,
                    strata=ledger.freeze_strata(),
                ),
            )
    return Profile(
        identity=identity,
        shards=(
            Shard(
                source=origin,
                start=int(opened.first.ids[0]),
                stop=counted.last_id + 1,
                samples=counted.samples,
                until=looks.result(),
            ),
        ),
        sites=counted.sites,
        refusals=found.refusals,
        census=found.census,
        seconds=counted.seconds,
        strata=counted.strata,
    )
