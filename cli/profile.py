"""`actprune profile`: watch a model on calibration data and save what was counted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actprune.errors import ActpruneError
from actprune.files import remove_undone

from ._console import counting, emit, emit_json, note, working
from ._options import (
    DATA_HELP,
    FLAGS,
    MODEL_HELP,
    BatchSize,
    Force,
    Json,
    Samples,
    Seed,
    Weights,
    given,
)
from ._paths import check_new_file
from ._ranks import launched, own_device, unless
from ._resuming import check_unfinished, is_finished, partial_of, resumable

if TYPE_CHECKING:
    from torch import nn

    from actprune.data.source import Source
    from actprune.loading.model import LoadedModel
    from actprune.profiling.result import Profile

STATISTICS = ("counts", "moments", "gram", "histogram")


def profile(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="P.safetensors", help="Where to save the profile."),
    ],
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help=f"{DATA_HELP} A zoo model brings its own."),
    ] = None,
    weights: Weights = None,
    samples: Samples = None,
    batch_size: BatchSize = None,
    rule: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="When a unit counts as active: positive, magnitude:T (|a| above T times the "
            "site's RMS) or auto.  [default: auto]",
        ),
    ] = None,
    stats: Annotated[
        str | None,
        typer.Option(
            metavar="gram,histogram",
            help="gram: also sum the products of activations, for refits without the data; "
            "histogram: also count magnitudes, to ask for other thresholds later. Counts and "
            "moments are always taken.",
        ),
    ] = None,
    strata: Annotated[
        str | None,
        typer.Option(
            metavar="labels", help="Also keep the counts of the samples of each label apart."
        ),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="P0.safetensors",
            help="Take firing thresholds from this profile, so that the two can be merged.",
        ),
    ] = None,
    use_all: Annotated[
        bool,
        typer.Option(
            "--use-all",
            help="Also read the third of the data that is otherwise left for verify.",
        ),
    ] = False,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="Stop reading early. certified=0.01: with 95 % confidence at most 1 % of inputs "
            "fire a unit that is free here; stable: twice the samples changed neither the free "
            "units nor the ranking of the rates.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Where to run the model, as in cuda:0.")
    ] = "cpu",
    seed: Seed = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier run was stopped.")
    ] = False,
    every: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Keep what has been counted every K batches.  [default: about every 30 seconds]",
        ),
    ] = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Watch a model on calibration data; save which units fire, how often and how strongly.

    A seeded third of the data is left out, so that verify can read it later on.

    A run that is stopped (Ctrl-C, a crash, a full disk) has kept its work in P.partial.safetensors;
    the same command with --resume goes on from there and ends in the same profile, bit by bit.

    With --until the profile says where and why it stopped. The rule is asked at sample sizes that
    double, and its confidence pays for every look. The data must be in random order.

    Started by torchrun, several processes share the data out and write one profile, equal in its
    counts to that of one process.

    \b
    Examples:
      actprune profile zoo:digits-mlp -o P.safetensors
      actprune profile net.py:make --weights net.pt --data npz:calib.npz -o P.safetensors
      actprune profile net.py:make --weights net.pt --data npz:calib.npz -o P.safetensors --resume
      actprune profile net.py:make --data day2.py:batches --like P1.safetensors -o P2.safetensors
      actprune profile net.py:make --data npz:calib.npz --until certified=0.01 -o P.safetensors
      torchrun --nproc-per-node 2 --no-python actprune profile zoo:digits-mlp -o P.safetensors
    """
    partial = partial_of(out)
    check_new_file(out, force=force or resume)
    taken = _statistics(stats)
    if strata not in (None, "labels"):
        raise ActpruneError(f"--strata: known is labels, got {strata!r}.")
    if every is not None and every < 1:
        raise ActpruneError(f"--every: must be at least 1, got {every}.")

    from actprune.loading.data import load_data, own_data
    from actprune.loading.model import load_model
    from actprune.profiling.collect import profile as collect
    from actprune.profiling.safety.locking import locked
    from actprune.profiling.store import load_profile, save_profile
    from actprune.recipe.load import recipe_from_flags
    from actprune.theory.stop_rules import rule_called

    stop = None if until is None else rule_called(until)

    recipe = recipe_from_flags(
        {
            "version": 1,
            **given(model=model, data=data, weights=weights),
            "profile": given(
                samples=samples,
                batch_size=batch_size,
                rule=rule,
                gram="gram" in taken or None,
                seed=seed,
            ),
            "prune": {"target": "lossless"},
        },
        FLAGS,
    )
    first = load_profile(like) if like else None
    named = recipe.data or own_data(recipe.model)

    def load() -> tuple[LoadedModel, Source]:
        loaded = load_model(recipe.model, recipe.weights)
        for line in loaded.notes:
            note(line)
        source = load_data(named, loaded)
        _move(loaded.model, own_device(device))
        return loaded, source

    def run(model: nn.Module, source: Source, spec: str) -> Profile:
        asked = recipe.profile
        with counting("profile", asked.samples) as progress:
            return collect(
                model,
                source,
                rule=asked.rule,
                gram=asked.gram,
                histogram="histogram" in taken,
                strata="labels" if strata else None,
                leave_out=not use_all,
                samples=asked.samples,
                batch_size=asked.batch_size,
                seed=asked.seed,
                spec=spec,
                like=first,
                checkpoint=partial,
                every=every,
                resume=resume,
                until=stop,
                progress=progress,
            )

    with (
        launched() as rank,
        resumable(own := rank.own(partial), ctx.obj or ()),
        unless(not rank.first, locked(out)),
        working(),
    ):
        if rank.first:
            remove_undone(out)
        if rank.size == 1 and resume and not force and is_finished(out, own):
            found = load_profile(out)
            note(f"{out}: the earlier run had finished.")
        else:
            with rank.agreeing():
                check_unfinished(out, own, resume=resume, force=force)
                loaded, source = load()
            found = run(loaded.model, source, loaded.spec)
            if rank.first:
                save_profile(found, out)
        own.unlink(missing_ok=True)
    if json:
        emit_json(summary(found, out))
        return
    emit(f"{out}: {found}")
    for ended in (s.until for s in found.shards if s.until is not None):
        emit(str(ended))
    if found.refusals:
        n = len(found.refusals)
        layers = "1 layer" if n == 1 else f"{n} layers"
        note(f"{layers} cannot be cut; `actprune plan {out} --explain` says why.")


def summary(found: Profile, path: Path) -> dict[str, Any]:
    """What a profile holds, in short."""
    return {
        "profile": str(path),
        "identity": found.identity.model_dump(),
        "samples": found.samples,
        "until": [s.until.model_dump() for s in found.shards if s.until is not None],
        "sites": [
            {
                "name": s.site.name,
                "kind": s.site.kind,
                "units": s.units,
                "rule": s.rule.model_dump(),
                "rate": float(s.rate.mean()),
                "free": int((s.samples_active.sum(0) == 0).sum()),
            }
            for s in found.sites
        ],
        "refusals": [{"layer": r.layer, "reason": r.reason} for r in found.refusals],
        "seconds": found.seconds,
    }


def _statistics(stats: str | None) -> list[str]:
    asked = [] if stats is None else [s.strip() for s in stats.split(",")]
    for s in asked:
        if s not in STATISTICS:
            raise ActpruneError(f"--stats: known are {', '.join(STATISTICS)}, got {s!r}.")
    return asked


def _move(model: nn.Module, device: str) -> None:
    try:
        model.to(device)
    except (RuntimeError, AssertionError, NotImplementedError) as e:
        said = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise ActpruneError(f"--device {device}: cannot be used ({said}).") from None
