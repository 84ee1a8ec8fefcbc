"""A short distillation of the pruned model from the dense one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

from actprune.data.batch import Batch
from actprune.data.source import Source, fingerprint
from actprune.errors import ActpruneError
from actprune.files import remove_undone
from actprune.healing.checkpoint import Course, restore_course, save_course
from actprune.healing.objective import Objective, look, objective_for
from actprune.healing.pool import pools
from actprune.healing.result import Healed
from actprune.healing.settings import HealSettings
from actprune.healing.stepping import Augment, Lesson, halved, precision
from actprune.healing.student import same_modes, set_weights, trainable
from actprune.healing.training import train
from actprune.planning.result import Plan
from actprune.profiling.ranks.sharing import odd_one
from actprune.profiling.ranks.team import joined
from actprune.profiling.safety.locking import locked
from actprune.running.hashing import model_hash
from actprune.running.loss import check_classes
from actprune.running.state import device_of, undisturbed
from actprune.running.wrapped import at_hand, unwrapped


def heal(
    small: nn.Module,
    dense: nn.Module,
    batches: Source | Iterable[Any],
    *,
    settings: HealSettings | None = None,
    plan: Plan | None = None,
    seed: int = 0,
    checkpoint: Path | str | None = None,
    resume: bool = False,
    augment: Augment | None = None,
    progress: Callable[[str], None] = lambda state: None,
) -> Healed:
    """Train a copy of `small` for some steps to give the outputs of `dense`.

    AdamW, a rise and a cosine of the learning rate, clipped gradients; the dense model runs beside
    it in evaluation mode. The fit part of the samples trains. The select part is looked at now and
    then: it stops the training and decides whose weights are kept, those before healing included.
    The check part and held-out samples are never read. A forecast made on the check part is of the
    model before healing, and stays valid for it; nothing is forecast about the healed one.

    Order, dropout and `augment` draw from `seed` and the step's number alone, so the same call ends
    in the same bits on the same device, number of threads and versions, resumed or not. The dense
    model, `small` and the random state are left as they were.

    Where torch.distributed is initialized, as under torchrun, all ranks call this alike; each
    trains on `settings.batch` samples of its own a step, gradients are averaged, the first rank
    writes the checkpoint and all return the same weights. If no layer looks at a whole batch, that
    is one process with the batches of all, up to rounding and the draws of dropout.

    Args:
        small: the pruned model, with the same outputs as `dense`; in its wrapper or not.
        dense: the model that it was pruned from.
        batches: the calibration data; samples of one shape, with labels if these have a weight.
        settings: see `HealSettings`.
        plan: the plan of the cut, whose parts and held-out third then hold; without one, `seed`
            decides the parts of all samples.
        checkpoint: a file that keeps the state at every look; it must not exist yet, unless
            `resume` is set.
        resume: go on from `checkpoint`; from the start where there is none.
        augment: changes each training batch, for both models alike, drawing from torch's
            generators.
        progress: called with a few words after each step.

    Returns:
        The healed copy and its course. Where the loss stops being finite, `stopped` is "diverged",
        `reason` says so, and the model is `small` as it was.

    Raises:
        ActpruneError: if there are no samples in a part, the models do not fit each other, the
            plan or the labels, or the checkpoint is another run's or in use.
    """
    settings = settings or HealSettings()
    small, dense = at_hand(small), unwrapped(dense)
    if plan is not None and model_hash(dense) != plan.model.hash:
        raise ActpruneError("The plan is for another model than the dense one given to heal.")
    if resume and checkpoint is None:
        raise ActpruneError("resume needs a checkpoint; give its path.")
    fit, select = pools(batches, plan, seed)
    device = device_of(small)
    dtype = precision(settings.precision, device)
    model = copy.deepcopy(small)
    parameters = trainable(model)
    with joined("together") as team, ExitStack() as stack:
        stack.enter_context(undisturbed(dense))
        objective = _objective(model, dense, fit, select, settings, dtype)
        asked = {
            "seed": seed,
            "model (its hash)": model_hash(small),
            "dense model (its hash)": model_hash(dense),
            "data (first sample's hash)": fingerprint(fit),
            "samples": [len(fit), len(select)],
            "settings": settings.model_dump(mode="json"),
            "augment": augment is not None,
            "number of processes": team.size,
        }
        if odd := odd_one(team, **{k: str(v) for k, v in asked.items()}):
            team.refuse(
                f"Rank {odd[0]} does not heal with the same {odd[1]} as rank 0; call heal with the "
                f"same on every rank."
            )
        scaled = device.type == "cuda" and dtype == torch.float16
        lesson = Lesson(
            model=model,
            dense=dense,
            parameters=parameters,
            optimizer=torch.optim.AdamW(
                parameters, lr=settings.lr, weight_decay=settings.weight_decay
            ),
            scaler=torch.amp.GradScaler(device.type, enabled=scaled),
            objective=objective,
            fit=fit,
            select=select,
            dtype=dtype,
            seed=seed,
            team=team,
            augment=augment,
        )
        path = None if checkpoint is None else Path(checkpoint)
        course = Course()
        if path is not None:
            if team.rank == 0:
                stack.enter_context(locked(path))
                remove_undone(path)
            if path.exists() and not resume:
                raise ActpruneError(
                    f"{path}: an earlier run has left its work here; go on from it with resume, or "
                    f"remove the file."
                )
            if path.exists():
                course = restore_course(path, asked, model, lesson.optimizer, lesson.scaler)
            team.agree()

        def keep() -> None:
            if path is not None and team.rank == 0:
                save_course(course, path, asked, model, lesson.optimizer, lesson.scaler)
            team.agree()

        stopped, reason = train(lesson, course, keep, progress)
        if stopped == "diverged":
            model, course.best_step = copy.deepcopy(small), 0
        else:
            set_weights(model, course.best)
        same_modes(model, small)
        for parameter in model.parameters():
            parameter.grad = None
    return Healed(
        model=model,
        curve=tuple(course.curve),
        best_step=course.best_step,
        steps=course.step,
        stopped=stopped,
        reason=reason,
        seconds=course.seconds,
    )


def _objective(
    model: nn.Module,
    dense: nn.Module,
    fit: Batch,
    select: Batch,
    settings: HealSettings,
    dtype: torch.dtype,
) -> Objective:
    """What suits both models' outputs on a few samples, with every label checked."""
    few = fit.select(torch.arange(min(len(fit), settings.batch)))
    moved = few.to(device_of(model))
    with undisturbed(model), halved(model, dtype):
        small_seen = look(model, moved, settings.hidden)
        dense_seen = look(dense, few.to(device_of(dense)), settings.hidden)
    objective = objective_for(small_seen, dense_seen, few.labels, settings)
    if objective.labelled == "cross_entropy":
        for pool in (fit, select):
            if pool.labels is None:
                raise ActpruneError(
                    "Some batches have labels and some have none; give all or none."
                )
            check_classes(pool.labels, dense_seen.output.shape[-1])
    return objective
