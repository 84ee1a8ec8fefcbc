"""The mean change of the loss between two outputs, from samples: a value and its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.running.loss import Loss

TEMPERATURES = tuple(2.0 ** (k / 4) for k in range(-3, 9))  # tried on the dense outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over the population with its two-sided interval, and the samples it rests on."""

    point: float
    low: float
    high: float
    samples: int


class LossChange:
    """Per-sample loss changes, batch by batch, and what they say of the population's mean.

    With labels y and outputs that are logits, most of the noise of a mean cross-entropy change is
    in which label each sample happened to have. Its expectation over the labels has far less: with
    p the dense softmax at the temperature that suits the samples best (Guo et al. 2017, 1706.04599)

        d~ = sum_y p(y) (loss'(y) - loss(y))   and   r = d - d~,

    the mean of d~ errs by what p is wrong (the mean of r), the mean of d does not. The estimate is
    mean d~ + s mean r with s = max(0, 1 - se(r)^2 / (mean r)^2), the positive-part shrinkage of
    James and Stein (1961): r counts as far as it stands out of its noise (ours). The interval is
    Student's around it with the standard error of the mean of d: the estimate's own is mostly
    smaller, but small samples miss the rare large changes, and with the narrower one, or with a
    percentile, studentized or skewness-corrected bootstrap, intervals covered too seldom.
    """

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._changes: list[Tensor] = []  # d, [S] each
        self._nats: list[Tensor] = []  # loss of the dense outputs at each temperature, [S, T]
        self._expected: list[Tensor] = []  # d~ at each temperature, [S, T]

    def add(self, dense: Tensor, out: Tensor, labels: Tensor | None) -> None:
        """Count samples with outputs `dense` before and `out` after, [S, ..., C] or [S, ...]."""
        loss, over_labels = self._loss, self._loss.over_labels
        before = loss.per_sample(dense, dense, labels)
        self._changes.append((loss.per_sample(out, dense, labels) - before).cpu())
        if over_labels is None:
            return
        nats, expected = [], []
        for t in TEMPERATURES:
            nats.append(loss.per_sample(dense.double() / t, dense, labels))
            expected.append(over_labels(out, dense, t) - over_labels(dense, dense, t))
        self._nats.append(torch.stack(nats, 1).cpu())
        self._expected.append(torch.stack(expected, 1).cpu())

    def estimate(self, level: float) -> Estimate:
        """The mean change with its interval of `level`; raises ActpruneError below 2 samples."""
        d = _joined(self._changes)
        n = len(d)
        if n < 2:
            raise ActpruneError(
                f"A forecast needs at least 2 samples that nothing else has read, got {n}; "
                f"give more data."
            )
        point, error = float(d.mean()), _error(d)
        if self._expected:
            expected = _joined(self._expected)[:, int(_joined(self._nats).mean(0).argmin())]
            rest = d - expected
            bias = float(rest.mean())
            kept = max(0.0, 1 - (_error(rest) / bias) ** 2) if bias else 0.0
            point = float(expected.mean()) + kept * bias
        half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * error
        return Estimate(point=point, low=point - half, high=point + half, samples=n)


def _joined(parts: list[Tensor]) -> np.ndarray:
    return torch.cat(parts).numpy() if parts else np.zeros(0)


def _error(values: np.ndarray) -> float:
    """Standard error of the mean of values, shape (n,), n >= 2."""
    return float(values.std(ddof=1)) / len(values) ** 0.5
