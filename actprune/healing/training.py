"""The loop: steps, looks, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import isfinite

from actprune.errors import ActpruneError
from actprune.healing.checkpoint import Course
from actprune.healing.result import Look, Stopped
from actprune.healing.schedule import rate
from actprune.healing.settings import HealSettings
from actprune.healing.stepping import Lesson
from actprune.healing.student import learn


def train(
    lesson: Lesson,
    course: Course,
    keep: Callable[[], None],
    progress: Callable[[str], None],
) -> tuple[Stopped, str]:
    """Step and look from where `course` stands to the end; how it ended, and why in words.

    `keep` is called after every look that found a loss.

    Raises:
        ActpruneError: if the loss is not finite before the first step.
    """
    settings = lesson.objective.settings
    begun = time.perf_counter() - course.seconds
    if not course.curve:
        first = lesson.look()
        if not isfinite(first):
            raise ActpruneError(
                "The pruned model's loss on the select part is not finite, so it cannot be healed; "
                "cut less, or refit."
            )
        course.saw(Look(step=0, rate=0.0, train=None, select=first), lesson.model)
    total = 0.0
    while course.step < settings.steps and course.stale < settings.patience:
        since = course.step - course.curve[-1].step
        learn(lesson.model, settings.batchnorm)
        loss, taken = lesson.step(course.step)
        if not isfinite(loss):
            course.seconds = time.perf_counter() - begun
            return "diverged", _diverged("training loss or gradient", loss, course.step, settings)
        course.step += 1
        course.skipped += not taken
        total += loss
        best = min(x.select for x in course.curve)
        progress(f"step {course.step:,} of {settings.steps:,}, best loss so far {best:.4g}")
        if (since + 1) % settings.look_every and course.step < settings.steps:
            continue
        if settings.batchnorm == "update":
            lesson.average_buffers()
        seen = lesson.look()
        course.seconds = time.perf_counter() - begun
        if not isfinite(seen):
            return "diverged", _diverged("loss on the select part", seen, course.step - 1, settings)
        at = rate(course.step - 1, settings)
        course.saw(
            Look(step=course.step, rate=at, train=total / (since + 1), select=seen), lesson.model
        )
        total = 0.0
        keep()
    early = course.step < settings.steps
    return ("early", _early(course)) if early else ("finished", _finished(course))


def _finished(course: Course) -> str:
    return f"all {course.step:,} steps taken; {_kept(course)}"


def _early(course: Course) -> str:
    return (
        f"stopped after {course.step:,} steps, {course.stale} looks without a new best; "
        + _kept(course)
    )


def _kept(course: Course) -> str:
    best = course.curve[0].select, min(x.select for x in course.curve)
    said = f"loss on the select part {best[0]:.4g} to {best[1]:.4g}, at step {course.best_step:,}"
    if course.best_step == 0:
        said = "no look was better than before healing, so the weights are those from before"
    if course.skipped:
        said += f"; {course.skipped:,} steps overflowed float16 and were skipped"
    return said


def _diverged(what: str, value: float, step: int, settings: HealSettings) -> str:
    return (
        f"the {what} was {value} in step {step + 1:,}, so the model is as before healing; lower lr "
        f"({settings.lr:g}), or heal in float32"
    )
