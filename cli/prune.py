"""`actprune prune`: the whole way from a model to a smaller one and a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from actprune.errors import ActpruneError
from actprune.files import check_new_folder

from ._console import emit, emit_json, stages, working
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
    Export,
    Granularity,
    Heal,
    HealBatch,
    HealLr,
    HealSteps,
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
    Ridge,
    RoundTo,
    Seed,
    Targets,
    Weights,
    given,
)
from ._paths import read_text
from ._targets import planned_values, target_values

if TYPE_CHECKING:
    from actprune.planning.result import Plan
    from actprune.recipe.schema import Recipe


def prune(
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="A new folder for the results.")
    ],
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help=MODEL_HELP, show_default=False),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="R.yaml", help="Do what this recipe says: a file, or the name of a shipped one."
        ),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(metavar="plan.json", help="Remove what this plan says.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help=f"Calibration data: {DATA_HELP} A zoo model brings its own."
        ),
    ] = None,
    heldout: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Data that only verify reads.  [default: a seeded third of the data]",
        ),
    ] = None,
    check: Check = None,
    weights: Weights = None,
    target: Targets = None,
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
    samples: Annotated[
        int | None, typer.Option(metavar="N", help="Profile only the first N samples.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="B", help="Samples a forward pass.  [default: 128]")
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="When a unit counts as active: positive, magnitude:T or auto.  [default: auto]",
        ),
    ] = None,
    seed: Seed = None,
    heal: Heal = False,
    heal_steps: HealSteps = None,
    heal_lr: HealLr = None,
    heal_batch: HealBatch = None,
    level: Level = None,
    loss: Loss = None,
    probes: Probes = None,
    export: Export = None,
    json: Json = False,
) -> None:
    """Make a smaller model: profile, plan, cut, refit, verify on held-out data, report.

    Writes the smaller model, its plan and its report into a new folder. Exits 1 if the verdict is
    fail: the target missed, or the loss worse than forecast beyond both intervals; or if an export
    was asked for and not made. The verdict is of the model before --heal, which nothing forecasts;
    the healed one is measured beside it.

    \b
    Examples:
      actprune prune zoo:digits-mlp --target macs=50% -o out
      actprune prune net.py:make --weights net.pt --data npz:calib.npz --target loss=+0.02 -o out
      actprune prune --recipe digits-mlp-refit -o out
      actprune prune zoo:mnist-cnn --target macs=10% --heal --heal-steps 300 -o out
      actprune prune --plan plan.json -o out --export onnx
    """
    check_new_folder(out)
    cut = given(
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
    )
    if target:
        cut["target"] = target_values(target)
    top = given(
        model=model, weights=weights, data=data, heldout=heldout, check=check, export=export
    )
    watch = given(samples=samples, batch_size=batch_size, rule=rule, seed=seed)
    judge = given(level=level, loss=loss, probes=probes)
    healing = _healing(heal, given(steps=heal_steps, lr=heal_lr, batch=heal_batch))
    chosen: Plan | None = None
    if recipe is not None:
        asked = _from_recipe(recipe, plan, {**top, **cut, **watch, **healing, **judge})
    elif plan is not None:
        fixed = {**cut, **watch, **given(check=check, loss=loss, probes=probes)}
        then = {**healing, "verify": given(level=level)}
        asked, chosen = _from_plan(plan, top, fixed, batch_size, then)
    else:
        asked = _from_flags(top, cut, watch, {**healing, "verify": judge})

    from actprune.recipe.run import run

    with working(), stages("profile") as progress:
        report = run(asked, out, plan=chosen, progress=progress)
    if json:
        emit_json(report.model_dump_json(by_alias=True))
    else:
        from actprune.reporting.table import summary_table

        emit(summary_table(report))
        emit(f"\n{out}: the smaller model, its plan and report.html")
    if report.verdict == "fail" or (report.export is not None and report.export.file is None):
        raise typer.Exit(1)


def _healing(heal: bool, settings: dict[str, Any]) -> dict[str, Any]:
    """The recipe's own key, if healing was asked for."""
    if settings and not heal:
        raise ActpruneError(f"--heal-{next(iter(settings))}: says how to heal; add --heal.")
    return {"heal": settings} if heal else {}


def _from_flags(
    top: dict[str, Any], cut: dict[str, Any], watch: dict[str, Any], then: dict[str, Any]
) -> Recipe:
    from actprune.recipe.load import recipe_from_flags

    if "model" not in top:
        raise ActpruneError("MODEL: name a model, or give --recipe R.yaml or --plan plan.json.")
    if "target" not in cut:
        raise ActpruneError("--target: say what to ask for, for instance --target macs=50%.")
    values = {"version": 1, **top, "profile": watch, "prune": cut, **then}
    return recipe_from_flags(values, FLAGS)


def _from_recipe(recipe: str, plan: Path | None, others: dict[str, Any]) -> Recipe:
    from .recipes import read_recipe

    if plan is not None:
        raise ActpruneError("--plan: cannot be given together with --recipe; choose one.")
    if others:
        name = next(iter(others))
        flag = "MODEL" if name == "model" else _flag(name)
        raise ActpruneError(
            f"{flag}: cannot be given together with --recipe; change the recipe itself "
            f"(`actprune recipes copy` gives you a copy)."
        )
    return read_recipe(recipe)


def _flag(name: str) -> str:
    return FLAGS.get(f"prune.{name}", "--" + name.replace("_", "-"))


def _from_plan(
    path: Path,
    top: dict[str, Any],
    others: dict[str, Any],
    batch_size: int | None,
    then: dict[str, Any],
) -> tuple[Recipe, Plan]:
    from actprune.planning.result import Plan
    from actprune.recipe.load import recipe_from_flags
    from actprune.recipe.schema import Compensate, Criterion  # a plan may have others

    plan = Plan.from_json(read_text(path, "plan; make one with `actprune plan`"), str(path))
    for name in others:
        if name != "batch_size":
            raise ActpruneError(f"{_flag(name)}: cannot be given together with --plan; plan again.")
    if "model" not in top:
        if not plan.model.spec.startswith(("zoo:", "hf:")):
            raise ActpruneError(
                f"MODEL: needed, since {path} is for {plan.model.spec!r}, which is not run "
                f"because a file names it."
            )
        top["model"] = plan.model.spec
    if "data" not in top and plan.data.spec.startswith(("zoo:", "npz:")):
        top["data"] = plan.data.spec
    compensation = plan.compensation
    values = {
        "version": 1,
        **top,
        "profile": {"seed": plan.data.seed, **given(batch_size=batch_size)},
        "prune": {
            "target": planned_values(t.target for t in plan.targets),
            **given(criterion=plan.criterion if plan.criterion in get_args(Criterion) else None),
            **given(
                compensate=compensation.kind if compensation.kind in get_args(Compensate) else None
            ),
            "granularity": compensation.granularity,
            "sequential": compensation.sequential,
            "ridge": compensation.ridge,
            "allocate": plan.allocate,
            **given(box=plan.exact.box.spec if plan.exact and plan.exact.box else None),
        },
        **then,
    }
    return recipe_from_flags(values, FLAGS), plan
