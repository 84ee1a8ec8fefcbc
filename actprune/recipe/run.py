"""Join the stages: profile, theory, plan, prune, verify, report."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from actprune.data.source import Source, fingerprint
from actprune.data.split import heldout as is_heldout
from actprune.errors import ActpruneError
from actprune.exporting.export import check_packages, export
from actprune.exporting.result import ExportOutcome, Kind
from actprune.files import new_folder, write_atomically
from actprune.healing.heal import heal
from actprune.loading.data import load_data, own_data
from actprune.loading.model import load_model
from actprune.loading.saved import load
from actprune.planning.alike import alike
from actprune.planning.result import Plan
from actprune.profiling.collect import profile as collect
from actprune.profiling.result import Profile
from actprune.pruning.prune import prune
from actprune.pruning.saved import BEFORE_HEALING, save_pruned, save_weights
from actprune.recipe.schema import Recipe
from actprune.refit.settings import Compensation
from actprune.reporting.assemble import assemble, with_verdict
from actprune.reporting.schema import Report
from actprune.reporting.write import read_report, write_report
from actprune.theory import fit
from actprune.timed import plan as make_plan
from actprune.verifying.verify import verify

PLAN = "plan.json"
Progress = Callable[[str], None]


def run(
    recipe: Recipe,
    out: Path,
    *,
    plan: Plan | None = None,
    progress: Progress = lambda stage: None,
) -> Report:
    """Carry a recipe through every stage and put everything into the new folder `out`.

    Args:
        plan: cut by this plan, made earlier for the same model and data, instead of planning;
            its own seed then decides what is held out.
        progress: called with a few words at each step.

    Raises:
        ActpruneError: for a mistake in what the recipe names; nothing is then left in `out`.
        BudgetError: if a target cannot be reached.
    """
    if recipe.export is not None:
        check_packages(recipe.export)
    with new_folder(out) as folder:
        named = recipe.data or own_data(recipe.model)
        progress("loading the model")
        loaded = load_model(recipe.model, recipe.weights)
        dense = loaded.model
        data = load_data(named, loaded)
        heldout = None if recipe.heldout is None else load_data(recipe.heldout, loaded)
        if heldout is not None:
            _check_unread(heldout, {_origin(data)})
        leave_out = heldout is None if plan is None else plan.data.heldout
        seen = collect(
            dense,
            data,
            rule=recipe.profile.rule,
            gram=recipe.profile.gram,
            leave_out=leave_out,
            samples=recipe.profile.samples,
            batch_size=recipe.profile.batch_size,
            seed=recipe.profile.seed if plan is None else plan.data.seed,
            spec=loaded.spec,
            progress=_counted(progress, "profiling"),
        )
        progress("fitting the theory")
        theory = fit(seen)
        if plan is None:
            check = None if recipe.check is None else load_data(recipe.check, loaded)
            plan = _plan(dense, seen, recipe, data, check, progress)
        progress("pruning")
        start = time.perf_counter()
        small = prune(dense, plan, batches=data, progress=lambda c: progress(f"refitting {c}"))
        seconds = time.perf_counter() - start
        healed = None
        if recipe.heal is not None:
            healed = heal(
                small,
                dense,
                data,
                settings=recipe.heal,
                plan=plan,
                seed=plan.data.seed,
                progress=lambda state: progress(f"healing: {state}"),
            )
        others = {
            (b.criterion, b.compensate): _baseline(
                dense, seen, plan, b.criterion, Compensation(kind=b.compensate), data, progress
            )
            for b in recipe.baselines
        }
        verdict = verify(
            dense,
            small,
            plan,
            heldout or _third(data, plan),
            loss=plan.loss,
            level=recipe.verify.level,
            seed=plan.data.seed,
            baselines=others,
            healed=healed.model if healed else None,
            progress=_counted(progress, "verifying"),
        )
        report = assemble(
            seen, theory, plan, verdict, prune_seconds=seconds, healed=healed, heal=recipe.heal
        )
        final = healed.model if healed else small
        if recipe.export is not None:
            outcome = _exported(final, recipe.export, folder, data, progress)
            report = report.model_copy(update={"export": outcome})
        progress("writing the report")
        save_pruned(final, dense, plan, folder)
        if healed is not None:
            save_weights(small, folder / BEFORE_HEALING)
        write_atomically(folder / PLAN, plan.to_json())
        write_report(report, folder)
    return report


def verify_folder(
    folder: Path,
    data: str | None = None,
    *,
    heldout: str | None = None,
    model: str | None = None,
    weights: Path | None = None,
    progress: Progress = lambda stage: None,
) -> Report:
    """Measure a saved cut again, and write its report anew.

    Args:
        folder: written by `run`.
        data: as given to `run`: only its held-out third is read; other data are read whole. A zoo
            model brings its own.
        heldout: data to read whole.
        model, weights: the dense model, where it is not from the zoo or Hugging Face.

    Raises:
        ActpruneError: if the folder is not complete, or the data are those of the calibration.
    """
    before = read_report(folder)
    plan = _read_plan(folder / PLAN)
    spec = model or plan.model.spec
    if model is None and not spec.startswith(("zoo:", "hf:")):
        raise ActpruneError(
            f"{folder}: pruned from {spec!r}; name the dense model with --model, since a file "
            f"never decides what code is run."
        )
    named = heldout or data or own_data(spec)
    progress("loading the models")
    loaded = load_model(spec, weights)

    def saved(weights: Path | None = None) -> nn.Module:
        return load(folder, lambda: copy.deepcopy(loaded.model), weights)

    healed = None if before.recovery is None else saved()
    small = saved() if before.recovery is None else saved(folder / BEFORE_HEALING)
    if heldout is not None:
        source: Source = load_data(heldout, loaded)
        _check_unread(source, {origin for origin, _, _ in plan.data.origins})
    else:
        source = _third(load_data(named, loaded), plan)
    verdict = verify(
        loaded.model,
        small,
        plan,
        source,
        loss=plan.loss,
        level=before.measured.level,
        seed=plan.data.seed,
        healed=healed,
        progress=_counted(progress, "verifying"),
    )
    report = with_verdict(before, verdict)
    write_report(report, folder)
    return report


def _plan(
    dense: nn.Module,
    seen: Profile,
    recipe: Recipe,
    data: Source,
    check: Source | None,
    progress: Progress,
) -> Plan:
    asked = recipe.prune
    return make_plan(
        dense,
        seen,
        asked.targets,
        **asked.selection,
        box=asked.box,
        batches=data,
        check=check,
        loss=recipe.verify.loss,
        level=recipe.verify.level,
        probes=recipe.verify.probes,
        progress=lambda stage: progress(f"planning: {stage}"),
    )


def _baseline(
    dense: nn.Module,
    seen: Profile,
    plan: Plan,
    criterion: str,
    compensation: Compensation,
    data: Source,
    progress: Progress,
) -> nn.Module:
    progress(f"baseline: {criterion}, {compensation.kind}")
    other = alike(dense, seen, plan, criterion=criterion, compensation=compensation, batches=data)
    return prune(dense, other, batches=data)


def _exported(
    small: nn.Module, kind: Kind, folder: Path, data: Source, progress: Progress
) -> ExportOutcome:
    """A failure is told in the report: the cut is made and verified, and stays."""
    try:
        return ExportOutcome.of(
            export(small, folder / f"model.{kind}", data, kind=kind, progress=progress)
        )
    except ActpruneError as e:
        return ExportOutcome(kind=kind, file=None, reason=str(e).replace(f"{folder}/", ""))


def _third(data: Source, plan: Plan) -> Source:
    """The held-out third of the calibration data, or all of any other data."""
    if _origin(data) not in {origin for origin, _, _ in plan.data.origins}:
        return data
    if not plan.data.heldout:
        raise ActpruneError(
            f"{data.spec}: these data calibrated the cut and no third of them was held out; "
            f"verify on others with --heldout."
        )

    def keep(ids: Tensor) -> Tensor:
        return is_heldout(ids, plan.data.seed)

    return data.where(keep)


def _origin(data: Source) -> str:
    first = next(iter(data.batches(1)), None)
    if first is None:
        raise ActpruneError(f"{data.spec}: the data are empty; give at least one sample.")
    return fingerprint(first)


def _check_unread(heldout: Source, calibration: set[str]) -> None:
    if _origin(heldout) in calibration:
        raise ActpruneError(
            f"{heldout.spec}: given as held-out data, but these are the calibration data; give "
            f"others, or none to have a third of the calibration data left out."
        )


def _read_plan(path: Path) -> Plan:
    try:
        return Plan.from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as e:
        raise ActpruneError(f"{path}: cannot be read ({e}).") from e


def _counted(progress: Progress, what: str) -> Callable[[int], None]:
    seen = 0

    def count(samples: int) -> None:
        nonlocal seen
        seen += samples
        progress(f"{what}: {seen:,} samples")

    return count
