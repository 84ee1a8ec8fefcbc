"""Which samples are read where not all are, and the error of a mean over samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from actprune.data.batch import Batch
from actprune.data.split import block_of


def some(batches: Sequence[Batch], most: int, seed: int) -> list[Batch]:
    """At most `most` samples, drawn by the seed whatever the batch size, in the order of reading;
    classes may lie in blocks."""
    total = sum(len(b) for b in batches)
    if total <= most:
        return list(batches)
    drawn = np.zeros(total, dtype=bool)
    drawn[np.random.default_rng(seed).permutation(total)[:most]] = True
    chosen, start = [], 0
    for batch in batches:
        mask = torch.from_numpy(drawn[start : start + len(batch)])
        start += len(batch)
        if mask.any():
            chosen.append(batch.select(mask))
    return chosen


def ids_of(batches: Sequence[Batch]) -> np.ndarray:
    """The samples' ids, or those of their documents: int64 [n]."""
    return np.concatenate([b.ids.cpu().numpy() for b in batches])


def half_of(batch: Batch, seed: int) -> Tensor:
    """int64 [S], 0 or 1: a half by id, so that windows of one document stay together."""
    return block_of(batch.ids, seed) % 2


def mean_and_error(values: np.ndarray, ids: np.ndarray) -> tuple[float, float | None]:
    """The mean of values [n] and its standard error; None from a single id.

    Samples of one id (windows of a document) count as one cluster: with C clusters of sums t_c and
    sizes n_c, the error is sqrt(C / (C - 1) sum (t_c - n_c m)^2) / n, which is s / sqrt(n) where
    all ids differ. Cochran (1977), Sampling Techniques, equation 2.39, for a ratio of totals.
    """
    mean = float(values.mean())
    _, cluster = np.unique(ids, return_inverse=True)
    gaps = np.bincount(cluster, weights=values - mean)
    c = len(gaps)
    if c < 2:
        return mean, None
    return mean, float(np.sqrt(c / (c - 1) * np.square(gaps).sum()) / len(values))
