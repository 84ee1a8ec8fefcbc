"""`actprune plan`: choose the units to remove, and forecast what that costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actprune.errors import ActpruneError

from ._console import emit, emit_json, note, stages, working
from ._options import (
    DATA_HELP,
    FLAGS,
    MODEL_HELP,
    Allocate,
    Box,
    Check,
    Compensate,
    Criterion,
    Drop,
    Force,
    Granularity,
    Ignore,
    Independent,
    Json,
    Keep,
    Least,
    Level,
    Loss,
    Most,
    Only,
    Probes,
    ProfileFile,
    Ridge,
    RoundTo,
    Targets,
    Weights,
    given,
)
from ._paths import check_new_file
from ._plan_text import explain_layers, summary
from ._sweep import check_place, frontier_text, save
from ._targets import target_values

if TYPE_CHECKING:
    from actprune.planning.result import Plan
    from actprune.planning.sweep import Frontier
    from actprune.profiling.result import Profile


def plan(
    profile: ProfileFile,
    target: Targets = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help=f"The profiled model: {MODEL_HELP} Only zoo: and hf: models are found from the "
            "profile.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="plan.json", help="Where to save the plan, or the sweep."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="The profiled data again, for a forecast sample by sample and for criteria that "
            f"need activations: {DATA_HELP}",
        ),
    ] = None,
    check: Check = None,
    weights: Weights = None,
    criterion: Criterion = None,
    compensate: Compensate = None,
    granularity: Granularity = None,
    independent: Independent = False,
    ridge: Ridge = None,
    allocate: Allocate = None,
    only: Only = None,
    ignore: Ignore = None,
    keep: Keep = None,
    drop: Drop = None,
    least: Least = None,
    most: Most = None,
    round_to: RoundTo = None,
    box: Box = None,
    level: Level = None,
    loss: Loss = None,
    probes: Probes = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Also list every layer that cannot be cut, and why. Without --target, only list.",
        ),
    ] = False,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep",
            help="Show the harm at every size instead of choosing one; -o saves it as .json, "
            "draws it as .svg or .html, or writes all three into a folder. Then --allocate is "
            "global by default.",
        ),
    ] = False,
    json: Json = False,
    force: Force = False,
) -> None:
    """Choose the units to remove, price the cut exactly and forecast the change of the loss.

    From the profile alone follow the units, the exact costs and a refit (if it was taken with
    --stats gram); with --data also the forecast. Ask as often as you like.

    \b
    Examples:
      actprune plan P.safetensors --data zoo:digits-mlp --target macs=50% -o plan.json
      actprune plan P.safetensors --criterion rare --compensate mean --target units=20%
      actprune plan P.safetensors --model net.py:make --weights net.pt --data npz:calib.npz
        --target loss=+0.02 --json
      actprune plan P.safetensors --explain
      actprune plan P.safetensors --data zoo:digits-mlp --sweep -o frontier.html
    """
    if out is not None:
        (check_place if sweep else check_new_file)(out, force=force)

    from actprune.profiling.store import load_profile

    counted = load_profile(profile)
    if explain and not target and not sweep:
        explain_layers(counted, json)
        return
    if sweep:
        _refuse_with_sweep(
            target=target, check=check, box=box, level=level, loss=loss, probes=probes
        )
    elif not target:
        raise ActpruneError("--target: say what to ask for, for instance --target macs=50%.")
    found = _chosen(
        counted,
        model=model or _named(counted),
        weights=weights,
        data=data,
        check=check,
        prune={
            "target": target_values(target or ["units=100%"]),  # a sweep asks for no target
            **({"allocate": "global"} if sweep else {}),
            **given(
                criterion=criterion,
                compensate=compensate,
                granularity=granularity,
                sequential=False if independent else None,
                ridge=ridge,
                allocate=allocate,
                only=only,
                ignore=ignore,
                keep=keep,
                drop=drop,
                least=least,
                most=most,
                round_to=round_to,
                box=box,
            ),
        },
        verify=given(level=level, loss=loss, probes=probes),
        sweep=sweep,
    )
    from actprune.files import write_atomically
    from actprune.planning.result import Plan

    if isinstance(found, Plan):
        text = summary(found)
        if out is not None:
            write_atomically(out, found.to_json() + "\n")
    else:
        text = frontier_text(found)
        if out is not None:
            save(found, out)
    if json:
        emit_json(found.to_json())
        return
    emit(text)
    if explain:
        emit("")
        explain_layers(counted, json)
    if out is None and not sweep:
        note("the plan was not saved; add -o plan.json to prune by it.")


def _chosen(
    counted: Profile,
    *,
    model: str,
    weights: Path | None,
    data: str | None,
    check: str | None,
    prune: dict[str, Any],
    verify: dict[str, Any],
    sweep: bool,
) -> Plan | Frontier:
    from actprune.recipe.load import recipe_from_flags

    recipe = recipe_from_flags(
        {
            "version": 1,
            "model": model,
            "data": data or counted.identity.data,
            **given(weights=weights, check=check),
            "prune": prune,
            "verify": verify,
        },
        FLAGS,
    )
    from actprune.loading.data import load_data
    from actprune.loading.model import load_model
    from actprune.planning.sweep import sweep as frontier
    from actprune.timed import plan as choose

    cut = recipe.prune
    with working(), stages("sweep" if sweep else "plan") as progress:
        loaded = load_model(recipe.model, recipe.weights)
        for line in loaded.notes:
            note(line)
        batches = load_data(data, loaded) if data else None
        if sweep:
            return frontier(
                loaded.model, counted, batches=batches, **cut.selection, progress=progress
            )
        return choose(
            loaded.model,
            counted,
            cut.targets,
            **cut.selection,
            box=cut.box,
            batches=batches,
            check=load_data(recipe.check, loaded) if recipe.check else None,
            level=recipe.verify.level,
            seed=counted.identity.seed,
            loss=recipe.verify.loss,
            probes=recipe.verify.probes,
            progress=progress,
        )


def _refuse_with_sweep(**others: Any) -> None:
    for name in given(**others):
        raise ActpruneError(f"--{name}: chooses one size, --sweep shows all; leave one out.")


def _named(counted: Profile) -> str:
    """The zoo: or hf: model that the profile names; no code that a file names is ever run."""
    if counted.identity.model.startswith(("zoo:", "hf:")):
        return counted.identity.model
    raise ActpruneError(
        f"--model: needed, since the profile is of {counted.identity.model!r}, which is not "
        f"from the zoo or Hugging Face."
    )
