"""`actprune audit`: measure what only a running model shows, alone or before and after a cut."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actprune.errors import ActpruneError

from ._audit_text import audit_text
from ._console import emit, emit_json, note, stages, working
from ._options import (
    DATA_HELP,
    MODEL_HELP,
    BatchSize,
    Json,
    Level,
    Loss,
    Samples,
    Weights,
    given,
)

if TYPE_CHECKING:
    from torch import nn

    from actprune.data.source import Source
    from actprune.loading.model import LoadedModel
    from actprune.planning.result import Plan

MANIFEST, PLAN = "actprune.json", "plan.json"
MEASURES = {
    "order": "order",
    "substitution": "substitution",
    "sample-basin": "sample_basin",
    "weight-basin": "weight_basin",
    "spikes": "spikes",
}


def audit(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help=f"{MODEL_HELP} Or a folder written by prune."),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help=f"{DATA_HELP} Of a cut's calibration data only the held-out third is read. A zoo "
            "model brings its own.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Measure this model, or folder, beside it on the same samples."
        ),
    ] = None,
    weights: Weights = None,
    against_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="As --weights, for --against.")
    ] = None,
    factory: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="What builds the dense architecture of a folder; not needed where --against names "
            "it, or for zoo and Hugging Face models.",
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MEASURE",
            help=f"Only {', '.join(list(MEASURES)[:-1])} or {list(MEASURES)[-1]}; may be repeated.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SITE",
            help="Look only at this site, or those that match (fc*); may be repeated.",
        ),
    ] = None,
    samples: Samples = None,
    batch_size: BatchSize = None,
    basin_samples: Annotated[
        int | None, typer.Option(metavar="N", help="Samples drawn for basins.  [default: 256]")
    ] = None,
    directions: Annotated[
        int | None,
        typer.Option(
            metavar="K", help="Noise drawn for each sample, and for all weights.  [default: 8]"
        ),
    ] = None,
    rise: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="Rise of the loss that ends the weight basin.  [default: 0.5]"
        ),
    ] = None,
    data_order: Annotated[
        str | None,
        typer.Option(
            "--data-order",
            metavar="WORDS",
            help="The order of the samples (shuffled, 'by class'); spikes are left out without it.",
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(metavar="L", help="Samples a window of spikes.  [default: a twentieth]"),
    ] = None,
    loss: Loss = None,
    level: Level = None,
    seed: Annotated[
        int | None, typer.Option(metavar="SEED", help="Of everything drawn.  [default: 0]")
    ] = None,
    json: Json = False,
) -> None:
    """Measure what only a running model shows, before and after a cut.

    Order: pairs of samples whose order an activation function keeps. Linear: the loss with an
    activation replaced by its best straight line. Basins: noise on inputs or weights, relative to
    their norms, until half of the answers change.

    \b
    Examples:
      actprune audit zoo:digits-mlp
      actprune audit out --against zoo:digits-mlp
      actprune audit out --against net.py:make --against-weights net.pt --data npz:calib.npz --json
      actprune audit net.py:make --data npz:x.npz --measure spikes --data-order "by class"
    """
    wanted = [_measure(m) for m in measure or MEASURES]

    from actprune.auditing.audit import audit as run

    with working(), stages("loading the models") as progress:
        loaded = _load(model, weights, factory or _spec(against))
        other = (
            None if against is None else _load(against, against_weights, factory or _spec(model))
        )
        if other is None and against_weights is not None:
            raise ActpruneError("--against-weights: needs --against.")
        source = _data(data, model, against, loaded)
        found = run(
            loaded.model,
            source,
            against=None if other is None else other.model,
            measures=wanted,
            specs=(loaded.spec, "" if other is None else other.spec),
            progress=progress,
            **given(
                only=only,
                samples=samples,
                batch_size=batch_size,
                basin_samples=basin_samples,
                directions=directions,
                rise=rise,
                data_order=data_order,
                window=window,
                loss=loss,
                level=level,
                seed=seed,
            ),
        )
    if json:
        emit_json(found.model_dump(mode="json"))
    else:
        emit(audit_text(found))


def _measure(name: str) -> str:
    if name.replace("_", "-") not in MEASURES:
        raise ActpruneError(f"--measure: known are {', '.join(MEASURES)}, got {name!r}.")
    return MEASURES[name.replace("_", "-")]


def _is_folder(spec: str | None) -> bool:
    """Whether the user names a folder that holds a cut model."""
    return spec is not None and Path(spec).is_dir()


def _spec(other: str | None) -> str | None:
    return None if other is None or _is_folder(other) else other


def _load(named: str, weights: Path | None, factory: str | None) -> LoadedModel:
    """The model, and how to call it; a folder's dense architecture is built by `factory` where the
    folder's own spec is not a safe one to run."""
    from actprune.loading.model import LoadedModel, build_model, load_model
    from actprune.loading.saved import load
    from actprune.pruning.saved import read_manifest

    if not _is_folder(named):
        loaded = load_model(named, weights)
        for line in loaded.notes:
            note(line)
        return loaded
    spec = read_manifest(Path(named)).model.spec
    build = None
    if not spec.startswith(("zoo:", "hf:")):
        if factory is None:
            raise ActpruneError(
                f"{named}: pruned from {spec!r}; name the dense model with --against or --factory, "
                f"since a file never decides what code is run."
            )

        def made() -> nn.Module:
            return build_model(factory)

        build = made
    return LoadedModel(model=load(named, build, weights), spec=named, notes=())


def _data(data: str | None, model: str, against: str | None, loaded: LoadedModel) -> Source:
    """The samples to measure on: of data that calibrated one of the cuts, what it left out."""
    from actprune.data.source import fingerprint
    from actprune.data.split import heldout
    from actprune.loading.data import load_data, own_data
    from actprune.loading.model import load_model
    from actprune.pruning.saved import read_manifest

    folders = [Path(m) for m in (model, against) if m is not None and _is_folder(m)]
    specs = [
        read_manifest(Path(m)).model.spec if _is_folder(m) else m
        for m in (model, against)
        if m is not None
    ]
    named = data or own_data(next((s for s in specs if s.startswith("zoo:")), specs[0]))
    if named.startswith("text:") and loaded.open_tokenizer is None:
        spec = next((s for s in specs if s.startswith(("zoo:", "hf:"))), None)
        loaded = loaded if spec is None else load_model(spec)
    source = load_data(named, loaded)
    first = next(iter(source.batches(1)), None)
    if first is None:
        raise ActpruneError(f"{source.spec}: the data are empty; give at least one sample.")
    origin = fingerprint(first)
    for folder in folders:
        plan = _plan(folder)
        if plan is None or origin not in {known for known, _, _ in plan.data.origins}:
            continue
        if plan.data.heldout:
            seed = plan.data.seed
            source = source.where(lambda ids, seed=seed: heldout(ids, seed))
        else:
            note(f"{folder}: calibrated on these data, and nothing was held out.")
    return source


def _plan(folder: Path) -> Plan | None:
    from actprune.planning.result import Plan

    path = folder / PLAN
    if not path.is_file():
        return None
    return Plan.from_json(path.read_text(encoding="utf-8"), str(path))
