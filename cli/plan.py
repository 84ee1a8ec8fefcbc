"""`actprune plan`: choose the units to remove, and forecast what that costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actprune.errors import ActpruneError

from ._console import emit, emit_json, note, stages, table, working
from ._options import (
    DATA_HELP,
    FLAGS,
    MODEL_HELP,
    Allocate,
    Box,
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
    ProfileFile,
    Ridge,
    RoundTo,
    Targets,
    Weights,
    given,
)
from ._paths import check_new_file
from ._sweep import frontier_text
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
        typer.Option("-o", "--out", metavar="plan.json", help="Where to save the plan."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="The profiled data again, for a forecast sample by sample and for criteria that "
            f"need activations: {DATA_HELP}",
        ),
    ] = None,
    check: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Other samples for the forecast, kept out of training."),
    ] = None,
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
            help="Show the harm at every size instead of choosing one; -o saves it as JSON. Then "
            "--allocate is global by default.",
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
      actprune plan P.safetensors --data zoo:digits-mlp --sweep -o frontier.json
    """
    if out is not None:
        check_new_file(out, force=force)

    from actprune.profiling.store import load_profile

    counted = load_profile(profile)
    if explain and not target:
        _explain(counted, json)
        return
    if sweep:
        _refuse_with_sweep(target=target, check=check, box=box, level=level, loss=loss)
    elif not target:
        raise ActpruneError("--target: say what to ask for, for instance --target macs=50%.")
    found = (_sweep if sweep else _plan)(
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
        verify=given(level=level, loss=loss),
    )
    if out is not None:
        from actprune.files import write_atomically

        write_atomically(out, found.to_json() + "\n")
    if json:
        emit_json(found.to_json())
        return
    from actprune.planning.result import Plan

    emit(summary(found) if isinstance(found, Plan) else frontier_text(found))
    if explain:
        emit("")
        _explain(counted, json)
    if out is None and not sweep:
        note("the plan was not saved; add -o plan.json to prune by it.")


def _plan(
    counted: Profile,
    *,
    model: str,
    weights: Path | None,
    data: str | None,
    check: str | None,
    prune: dict[str, Any],
    verify: dict[str, Any],
) -> Plan:
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
    from actprune.planning.written import read_limits
    from actprune.timed import plan as choose

    cut = recipe.prune
    with working(), stages("plan") as progress:
        loaded = load_model(recipe.model, recipe.weights)
        for line in loaded.notes:
            note(line)
        return choose(
            loaded.model,
            counted,
            cut.targets,
            criterion=cut.criterion,
            compensation=cut.compensation,
            allocate=cut.allocate,
            only=cut.only,
            ignore=cut.ignore,
            keep=cut.keep,
            drop=cut.drop,
            least=read_limits(cut.least),
            most=read_limits(cut.most),
            round_to=cut.round_to,
            box=cut.box,
            batches=load_data(data, loaded) if data else None,
            check=load_data(recipe.check, loaded) if recipe.check else None,
            level=recipe.verify.level,
            seed=counted.identity.seed,
            loss=recipe.verify.loss,
            progress=progress,
        )


def _sweep(
    counted: Profile,
    *,
    model: str,
    weights: Path | None,
    data: str | None,
    check: str | None,
    prune: dict[str, Any],
    verify: dict[str, Any],
) -> Frontier:
    from actprune.recipe.load import recipe_from_flags

    values = {
        "version": 1,
        "model": model,
        "data": data or counted.identity.data,
        **given(weights=weights),
        "prune": prune,
    }
    recipe = recipe_from_flags(values, FLAGS)
    from actprune.loading.data import load_data
    from actprune.loading.model import load_model
    from actprune.planning.sweep import sweep
    from actprune.planning.written import read_limits

    cut = recipe.prune
    with working(), stages("sweep") as progress:
        loaded = load_model(recipe.model, recipe.weights)
        for line in loaded.notes:
            note(line)
        return sweep(
            loaded.model,
            counted,
            batches=load_data(data, loaded) if data else None,
            criterion=cut.criterion,
            compensation=cut.compensation,
            allocate=cut.allocate,
            only=cut.only,
            ignore=cut.ignore,
            keep=cut.keep,
            drop=cut.drop,
            least=read_limits(cut.least),
            most=read_limits(cut.most),
            round_to=cut.round_to,
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


def summary(found: Plan) -> str:
    """A plan on a few lines."""
    from actprune.reporting.numbers import percent, scaled

    rows = [
        (p.site.name, p.site.kind, str(p.site.units), str(len(p.kept)),
         percent(len(p.kept) / p.site.units))
        for p in found.sites
    ]  # fmt: skip
    before, after = found.before, found.after
    lines = [table(("site", "kind", "units", "kept", "share"), rows), ""]
    for t in found.targets:
        got = "" if t.reached is None else f", reached {_amount(t.target.kind, t.reached)}"
        lines.append(f"target    {t.target}{got}, {'met' if t.met else 'missed'}")
    if found.tried is not None:
        lines.append(f"tried     {found.tried}")
    if found.timed is not None:
        lines.append(f"latency   {found.timed}")
    lines += [
        f"params    {scaled(before.params)} to {scaled(after.params)}",
        f"macs      {scaled(before.macs)} to {scaled(after.macs)} a sample",
        f"forecast  {_forecast(found)}",
    ]
    if found.local is not None:
        lines.append(f"local     {found.local}, without trying the cut")
    if not found.removed:
        lines.append("nothing   to remove: the plan keeps every unit")
    return "\n".join(lines)


def _amount(kind: str, reached: float) -> str:
    from actprune.planning.target import METRICS
    from actprune.reporting.numbers import percent, signed

    if kind in METRICS:
        return f"{100 * reached:+.2f} points"
    return signed(reached) if kind == "loss" else percent(reached)


def _forecast(found: Plan) -> str:
    if found.forecast is None:
        return f"none: {found.forecast_reason or 'no reason was recorded'}"
    how = "tried on" if found.forecast.method == "probed" else "on"
    return f"{found.loss_kind} {found.forecast}, {how} {found.forecast.samples} samples"


def _explain(counted: Profile, json: bool) -> None:
    if json:
        emit_json(
            {
                "sites": [s.site.model_dump() for s in counted.sites],
                "refusals": [{"layer": r.layer, "reason": r.reason} for r in counted.refusals],
            }
        )
        return
    rows = [
        (s.site.name, f"{s.units} units, read by {s.site.readers}")
        for s in counted.sites
        if s.site.obstacle is None
    ]
    rows += [
        (s.site.name, f"{s.units} units, watched, cannot be cut: {s.site.obstacle}")
        for s in counted.sites
        if s.site.obstacle is not None
    ]
    rows += [(r.layer, f"cannot be cut: {r.reason}") for r in counted.refusals]
    emit(table(("layer", "what is known"), rows))
