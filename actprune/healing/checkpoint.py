"""An unfinished healing as one sealed safetensors file that it can go on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from actprune.errors import ActpruneError
from actprune.healing.result import Look
from actprune.healing.student import (
    from_array,
    optimizer_state,
    set_optimizer_state,
    set_weights,
    to_array,
    weights,
)
from actprune.profiling.sealed import read_sealed, write_sealed

SCHEMA = 1
KIND = "healing checkpoint"
REMEDY = "remove the file and heal from the start"


@dataclass(slots=True, kw_only=True, eq=False)
class Course:
    """Where a healing stands between two looks; the one mutable thing of the loop."""

    step: int = 0  # taken
    curve: list[Look] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_step: int = 0
    stale: int = 0  # looks since the best
    skipped: int = 0  # steps whose gradients overflowed half precision
    seconds: float = 0.0

    def saw(self, look: Look, model: nn.Module) -> None:
        """Take a look down, and keep the weights if they are the best so far."""
        better = not self.curve or look.select < min(x.select for x in self.curve)
        self.curve.append(look)
        self.stale = 0 if better else self.stale + 1
        if better:
            self.best, self.best_step = weights(model), look.step


def save_course(
    course: Course,
    path: Path,
    asked: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> None:
    """Write where healing stands to `path`, all of it or nothing."""
    tensors = {
        **{f"model.{k}": v for k, v in weights(model).items()},
        **{f"best.{k}": v for k, v in course.best.items()},
        **{f"adam.{k}": v for k, v in optimizer_state(optimizer).items()},
    }
    header = {
        "schema": SCHEMA,
        "asked": dict(asked),
        "curve": [x.model_dump() for x in course.curve],
        "scaler": scaler.state_dict(),  # numbers alone
        **{k: getattr(course, k) for k in ("step", "best_step", "stale", "skipped", "seconds")},
    }
    write_sealed(path, KIND, header, {k: to_array(v) for k, v in tensors.items()})


def restore_course(
    path: Path,
    asked: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> Course:
    """Put model, optimizer and scaler where the run that wrote `path` had them.

    Raises:
        ActpruneError: if the file is damaged, or that run healed anything else, or otherwise.
    """

    def build(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Course:
        for name in asked:
            if header["asked"].get(name) != asked[name]:
                raise ActpruneError(
                    f"{path}: begun with another {name}: {header['asked'].get(name)!r}, got "
                    f"{asked[name]!r}; resume with the same, or {REMEDY}."
                )
        known = weights(model)
        (group,) = optimizer.param_groups

        def own(prefix: str) -> dict[str, np.ndarray]:
            return {k.removeprefix(prefix): x for k, x in arrays.items() if k.startswith(prefix)}

        def like(key: str) -> Tensor:
            index, _, name = key.partition(".")
            return torch.zeros(()) if name == "step" else group["params"][int(index)]

        best = {k: from_array(x, known[k]) for k, x in own("best.").items()}
        set_weights(model, {k: from_array(x, known[k]) for k, x in own("model.").items()})
        set_optimizer_state(optimizer, {k: from_array(x, like(k)) for k, x in own("adam.").items()})
        scaler.load_state_dict(header["scaler"])
        numbers = ("step", "best_step", "stale", "skipped")
        return Course(
            curve=[Look.model_validate(x) for x in header["curve"]],
            best=best,
            seconds=float(header["seconds"]),
            **{k: int(header[k]) for k in numbers},
        )

    return read_sealed(path, KIND, SCHEMA, build, remedy=REMEDY)
