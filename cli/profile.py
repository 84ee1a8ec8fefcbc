"""`actprune profile`: watch a model on calibration data and save what was counted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actprune.errors import ActpruneError

from ._console import counting, emit, emit_json, note, working
from ._options import DATA_HELP, FLAGS, MODEL_HELP, Force, Json, Weights, given
from ._paths import check_new_file

if TYPE_CHECKING:
    from torch import nn

    from actprune.profiling.result import Profile

STATISTICS = ("counts", "moments", "gram")


def profile(
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
    samples: Annotated[
        int | None, typer.Option(metavar="N", help="Read only the first N samples.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="B", help="Samples a forward pass.  [default: 128]"),
    ] = None,
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
            metavar="gram",
            help="Also sum the products of activations, for refits without the data. Counts and "
            "moments are always taken.",
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
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Where to run the model, as in cuda:0.")
    ] = "cpu",
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="SEED", help="Of the sample blocks and the held-out third.  [default: 0]"
        ),
    ] = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Watch a model on calibration data; save which units fire, how often and how strongly.

    A seeded third of the data is left out, so that verify can read it later on.

    \b
    Examples:
      actprune profile zoo:digits-mlp -o P.safetensors
      actprune profile net.py:make --weights net.pt --data npz:calib.npz -o P.safetensors
      actprune profile net.py:make --data day2.py:batches --like P1.safetensors -o P2.safetensors
    """
    check_new_file(out, force=force)
    with_gram = _wants_gram(stats)

    from actprune.loading.data import load_data
    from actprune.loading.model import load_model
    from actprune.profiling.collect import profile as collect
    from actprune.profiling.store import load_profile, save_profile
    from actprune.recipe.load import recipe_from_flags

    recipe = recipe_from_flags(
        {
            "version": 1,
            **given(model=model, data=data, weights=weights),
            "profile": given(
                samples=samples, batch_size=batch_size, rule=rule, gram=with_gram, seed=seed
            ),
            "prune": {"target": "lossless"},
        },
        FLAGS,
    )
    first = load_profile(like) if like else None
    with working():
        loaded = load_model(recipe.model, recipe.weights)
        for line in loaded.notes:
            note(line)
        source = load_data(recipe.data or recipe.model.partition("@")[0])
        _move(loaded.model, device)
        asked = recipe.profile
        with counting("profile", asked.samples) as progress:
            found = collect(
                loaded.model,
                source,
                rule=asked.rule,
                gram=asked.gram,
                leave_out=not use_all,
                samples=asked.samples,
                batch_size=asked.batch_size,
                seed=asked.seed,
                spec=loaded.spec,
                like=first,
                progress=progress,
            )
        save_profile(found, out)
    if json:
        emit_json(summary(found, out))
        return
    emit(f"{out}: {found}")
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


def _wants_gram(stats: str | None) -> bool | None:
    if stats is None:
        return None
    asked = [s.strip() for s in stats.split(",")]
    for s in asked:
        if s not in STATISTICS:
            raise ActpruneError(f"--stats: known are {', '.join(STATISTICS)}, got {s!r}.")
    return "gram" in asked


def _move(model: nn.Module, device: str) -> None:
    try:
        model.to(device)
    except (RuntimeError, AssertionError, NotImplementedError) as e:
        said = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise ActpruneError(f"--device {device}: cannot be used ({said}).") from None
