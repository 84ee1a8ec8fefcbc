"""The mean loss change of a population, from samples of it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.planning.loss_change import Estimate, LossChange
from actprune.running.loss import LOSSES

CROSS = LOSSES["cross_entropy"]


def drawn(n: int, seed: int, temperature: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Dense outputs, changed ones, and labels that follow softmax(dense / temperature)."""
    gen = torch.Generator().manual_seed(seed)
    dense = 3 * torch.randn(n, 5, generator=gen, dtype=torch.float64)
    out = dense + 0.3 * torch.randn(n, 5, generator=gen, dtype=torch.float64)
    labels = (dense / temperature).softmax(1).multinomial(1, generator=gen).squeeze(1)
    return dense, out, labels


def estimate(dense: Tensor, out: Tensor, labels: Tensor | None, parts: int = 1) -> Estimate:
    change = LossChange(CROSS)
    for i in torch.arange(len(dense)).chunk(parts):
        change.add(dense[i], out[i], None if labels is None else labels[i])
    return change.estimate(0.9)


def mean_change(dense: Tensor, out: Tensor, labels: Tensor) -> float:
    return float((CROSS.per_sample(out, dense, labels) - CROSS.per_sample(dense, dense, labels))
                 .mean())  # fmt: skip


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_averaging_over_labels_takes_most_of_their_noise_away(temperature: float) -> None:
    truth = mean_change(*drawn(400_000, 10**6, temperature))
    plain, ours, covered = [], [], 0
    for seed in range(200):
        sample = drawn(300, seed, temperature)
        found = estimate(*sample)
        ours.append(found.point - truth)
        plain.append(mean_change(*sample) - truth)
        covered += found.low <= truth <= found.high
    # the expectation alone would leave about a tenth of the variance; the shrunk rest comes on top,
    # E[(max(0, 1 - 1/z^2) z)^2] = .45 of its own for a standard normal z (numerically)
    assert np.square(ours).mean() < 0.7 * np.square(plain).mean()
    assert covered >= 180 - 3 * (200 * 0.9 * 0.1) ** 0.5


def test_what_the_model_believes_wrongly_of_its_labels_is_corrected() -> None:
    dense, out, _ = drawn(20_000, 3)
    wrong = torch.zeros(len(dense), dtype=torch.int64)  # as no temperature would have it
    found = estimate(dense, out + torch.tensor([1.0, 0, 0, 0, 0]), wrong)
    measured = mean_change(dense, out + torch.tensor([1.0, 0, 0, 0, 0]), wrong)
    # the bias is hundreds of standard errors, so all but 1e-4 of it is kept
    assert found.point == pytest.approx(measured, rel=1e-3)


def test_the_batches_do_not_matter_and_a_model_left_alone_changes_nothing() -> None:
    dense, out, labels = drawn(90, 0)
    whole, parts = estimate(dense, out, labels), estimate(dense, out, labels, parts=4)
    assert (whole.point, whole.low, whole.high) == pytest.approx(
        (parts.point, parts.low, parts.high)
    )
    same = estimate(dense, dense, labels)
    assert (same.point, same.low, same.high, same.samples) == (0.0, 0.0, 0.0, 90)


@pytest.mark.parametrize("name", ["mse", "kl"])
def test_other_losses_give_students_interval_of_the_mean(name: str) -> None:
    dense, out, _ = drawn(40, 1)
    target = torch.zeros_like(dense)
    change = LossChange(LOSSES[name])
    change.add(dense, out, target if name == "mse" else None)
    found = change.estimate(0.8)
    per_sample = LOSSES[name].per_sample
    d = (per_sample(out, dense, target) - per_sample(dense, dense, target)).numpy()
    t = scipy.stats.ttest_1samp(d, 0).confidence_interval(0.8)
    assert (found.point, found.low, found.high) == pytest.approx((d.mean(), t.low, t.high))


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_samples_say_nothing_of_the_others(n: int) -> None:
    change = LossChange(CROSS)
    if n:
        change.add(*drawn(n, 0))
    with pytest.raises(ActpruneError) as e:
        change.estimate(0.9)
    assert str(e.value) == (
        f"A forecast needs at least 2 samples that nothing else has read, got {n}; give more data."
    )
