"""The input box on which a proof holds: per feature, the lowest and the highest value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from actprune.data.batch import Batch
from actprune.errors import ActpruneError

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"


class Box(BaseModel):
    """All inputs x of one sample with low <= x <= high, feature by feature.

    `low` and `high` hold one number for every feature, or a single one for all of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: str  # as the user named it: `0:1`, `data` or `npz:FILE`
    shape: tuple[int, ...]  # of one sample
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def words(self) -> str:
        """The box in a few words."""
        if len(self.low) == 1:
            return f"the box [{self.low[0]:g}, {self.high[0]:g}]"
        if self.spec == "data":
            return "the box of the calibration data's extremes"
        return f"the box {self.spec}"

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """low, high: float64 [*shape]."""
        return self._tensor(self.low), self._tensor(self.high)

    def contains(self, batch: Batch) -> Tensor:
        """bool [S]: which samples lie in the box."""
        x = only_input(batch)
        if x is None:
            raise ActpruneError(f"{self.words}: it is for models with one input of numbers.")
        low, high = (b.to(x.device) for b in self.bounds)
        x = x.double()
        return ((x >= low) & (x <= high)).flatten(1).all(1).cpu()

    def _tensor(self, values: tuple[float, ...]) -> Tensor:
        found = torch.tensor(values, dtype=torch.float64)
        return found.expand(self.shape) if len(values) == 1 else found.reshape(self.shape)


def only_input(batch: Batch) -> Tensor | None:
    """The one floating tensor that the model is given, [S, ...]; None if it is given anything
    else as well, since a box says nothing about that."""
    inputs = (*batch.args, *batch.kwargs.values())
    found = [x for x in inputs if isinstance(x, Tensor)]
    if len(found) != 1 or len(inputs) != 1 or not found[0].is_floating_point():
        return None
    return found[0]


def read_box(spec: str, batches: Sequence[Batch]) -> Box:
    """Read `LOW:HIGH` (the same for all features), `data` (the lowest and highest value of every
    feature on `batches`) or `npz:FILE` (arrays `low` and `high`, shaped as a sample or numbers).

    Raises:
        ActpruneError: if it is malformed, low is above high, a bound is not a finite number, shapes
            do not fit a sample, or the model has other inputs than one of numbers.
    """
    x = only_input(batches[0]) if batches else None
    if x is None:
        raise ActpruneError(
            "--box: a box needs the calibration data and a model with one input of numbers."
        )
    shape = tuple(x.shape[1:])
    if spec == "data":
        low, high = _extremes(batches)
    elif spec.startswith("npz:"):
        low, high = _from_file(Path(spec.removeprefix("npz:")))
    else:
        match = re.fullmatch(rf"({NUMBER}):({NUMBER})", spec, re.IGNORECASE)
        if match is None:
            raise ActpruneError(
                f"--box: written LOW:HIGH as in 0:1, data, or npz:FILE with arrays low and high, "
                f"got {spec!r}."
            )
        low, high = (np.array(float(g)) for g in match.groups())
    for name, bound in (("low", low), ("high", high)):
        if bound.ndim and bound.shape != shape:
            raise ActpruneError(
                f"--box: {name} has shape {bound.shape}, a sample has {shape}; give one number "
                f"for all features, or one for each."
            )
        if not np.isfinite(bound).all():
            raise ActpruneError(f"--box: {name} must be finite numbers, got {_first_bad(bound)}.")
    if (low > high).any():
        at = int(np.flatnonzero(np.broadcast_to(low > high, shape).reshape(-1))[0])
        a, b = (float(np.broadcast_to(v, shape).reshape(-1)[at]) for v in (low, high))
        raise ActpruneError(f"--box: low must not be above high, got {a:g} and {b:g}.")
    return Box(
        spec=spec,
        shape=shape,
        low=tuple(float(v) for v in low.reshape(-1)),
        high=tuple(float(v) for v in high.reshape(-1)),
    )


def _first_bad(bound: np.ndarray) -> float:
    return float(bound[~np.isfinite(bound)].reshape(-1)[0])


def _extremes(batches: Sequence[Batch]) -> tuple[np.ndarray, np.ndarray]:
    inputs = [x for x in map(only_input, batches) if x is not None]
    low = torch.stack([x.detach().cpu().double().amin(0) for x in inputs]).amin(0)
    high = torch.stack([x.detach().cpu().double().amax(0) for x in inputs]).amax(0)
    return low.numpy(), high.numpy()


def _from_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            low, high = (np.asarray(file[k], dtype=np.float64) for k in ("low", "high"))
    except KeyError as e:
        raise ActpruneError(f"--box: {path} must hold the arrays low and high; {e} lacks.") from e
    except (OSError, ValueError, TypeError, EOFError) as e:
        raise ActpruneError(f"--box: {path} cannot be read as an npz file of numbers.") from e
    return low, high
