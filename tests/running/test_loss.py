from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.running.loss import (
    LOSSES,
    accuracy,
    agreement,
    choose_loss,
    cross_entropy,
    kl_from_dense,
    relative_difference,
    second_order,
    squared_difference,
    squared_error,
)

GEN = torch.Generator().manual_seed(0)


def logits(*p: float) -> Tensor:
    return torch.tensor([p], dtype=torch.float64).log() + 3.0  # softmax ignores the shift


def test_cross_entropy_by_hand() -> None:
    out = torch.cat([logits(0.5, 0.25, 0.25), logits(0.1, 0.1, 0.8)])
    loss = cross_entropy(out, out, torch.tensor([0, 2]))
    assert loss.tolist() == pytest.approx([math.log(2), -math.log(0.8)])


def test_cross_entropy_is_the_mean_over_a_samples_positions() -> None:
    out = torch.stack([torch.cat([logits(0.5, 0.5), logits(0.25, 0.75)])])  # [1, 2, 2]
    loss = cross_entropy(out, out, torch.tensor([[1, 0]]))
    assert loss.tolist() == pytest.approx([(math.log(2) + math.log(4)) / 2])


def test_kl_by_hand() -> None:
    dense, out = logits(0.5, 0.5), logits(0.25, 0.75)
    by_hand = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert kl_from_dense(out, dense, None).tolist() == pytest.approx([by_hand])
    assert kl_from_dense(dense, dense, None).tolist() == [0.0]


def test_squared_losses_by_hand() -> None:
    out, dense = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 4.0], [1.0, 3.0]])
    assert squared_difference(out, dense, None).tolist() == [2.0, 5.0]
    assert squared_error(out, dense, dense).tolist() == [2.0, 5.0]
    flat = torch.tensor([[1.0], [2.0]])
    assert squared_error(flat, flat, torch.tensor([3.0, 2.0])).tolist() == [4.0, 0.0]
    assert relative_difference(4.0).per_sample(out, dense, None).tolist() == [0.5, 1.25]


def test_metrics_by_hand() -> None:
    out = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    labels = torch.tensor([[1, 1], [1, 1]])
    assert accuracy(out, out, labels).tolist() == [0.5, 1.0]
    assert agreement(out, out.flip(-1), None).tolist() == [0.0, 0.0]
    assert agreement(out, out, None).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_losses_are_float64_one_a_sample(dtype: torch.dtype) -> None:
    out = torch.randn(4, 3, generator=GEN).to(dtype)
    for loss in LOSSES.values():
        labels = out if loss.kind.startswith("mean") else torch.zeros(4, dtype=torch.int64)
        value = loss.per_sample(out, out, labels)
        assert value.dtype == torch.float64
        assert value.shape == (4,)


CLASSES, POSITIONS = torch.randn(4, 3, generator=GEN), torch.randn(4, 5, 3, generator=GEN)
NUMBERS = torch.randn(4, 1, generator=GEN)


@pytest.mark.parametrize(
    ("outputs", "labels", "kind"),
    [
        (CLASSES, torch.tensor([0, 1, 2, 0]), "cross_entropy (nats)"),
        (POSITIONS, torch.zeros(4, 5, dtype=torch.int32), "cross_entropy (nats)"),
        (CLASSES, torch.randn(4, 3), "mean squared error"),
        (NUMBERS, torch.randn(4), "mean squared error"),
        (CLASSES, None, "KL(dense || pruned) of the outputs (nats), no labels"),
        (
            NUMBERS,
            None,
            "mean squared difference / variance of the dense output, no labels",
        ),
        (
            NUMBERS[:, 0],
            None,
            "mean squared difference / variance of the dense output, no labels",
        ),
    ],
)
def test_the_loss_that_suits_the_data_is_chosen(
    outputs: Tensor, labels: Tensor | None, kind: str
) -> None:
    loss = choose_loss(None, outputs, labels)
    assert loss.kind == kind
    assert loss.labelled == (labels is not None)


def test_a_loss_can_be_named() -> None:
    assert choose_loss("kl", CLASSES, torch.tensor([0, 1, 2, 0])) is LOSSES["kl"]
    difference = choose_loss("difference", CLASSES, None)
    variance = CLASSES.double().var(0, correction=0).mean()
    got = difference.per_sample(CLASSES + 1, CLASSES, None)
    assert got.tolist() == pytest.approx([1 / variance.item()] * 4, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "outputs", "labels", "message"),
    [
        ("mae", CLASSES, None, "one of cross_entropy, mse, kl, difference, got 'mae'"),
        ("mse", CLASSES, None, "Loss 'mse' needs labels, and the data have none"),
        (None, CLASSES, torch.tensor([0, 1, 3, 0]), "lie in 0 to 2 .* 3 classes, got 0 to 3"),
        (None, CLASSES, torch.tensor([0, -1, 2, 0]), "got -1 to 2"),
        (None, CLASSES, torch.zeros(4, 5).long(), r"got labels \(4, 5\) for outputs \(4, 3\)"),
        (None, NUMBERS[:, 0], torch.zeros(4).long(), r"got labels \(4,\) for outputs \(4,\)"),
        ("cross_entropy", CLASSES, torch.rand(4), "labels must be integers, got torch.float32"),
        (None, CLASSES, torch.rand(4), r"got targets \(4,\) for outputs \(4, 3\)"),
        (None, CLASSES, torch.rand(3, 4), r"got targets \(3, 4\) for outputs \(4, 3\)"),
        (None, torch.ones(4, 1), None, "output does not vary over the data"),
        ("difference", torch.full((4, 1), torch.nan), None, "output does not vary"),
    ],
)
def test_what_does_not_fit_is_refused(
    name: str | None, outputs: Tensor, labels: Tensor | None, message: str
) -> None:
    with pytest.raises(ActpruneError, match=message):
        choose_loss(name, outputs, labels)


def softmax_parts(out: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Gradient [S, C] and Hessian [S, C, C] of the loss in logits, with p = softmax(out)."""
    p = torch.softmax(out, -1)
    one_hot = p if labels is None else torch.eye(out.shape[-1], dtype=out.dtype)[labels]
    return p - one_hot, torch.diag_embed(p) - p[:, :, None] * p[:, None, :]


@pytest.mark.parametrize("name", ["cross_entropy", "kl"])
def test_the_second_order_change_of_softmax_losses_has_its_closed_form(name: str) -> None:
    gen = torch.Generator().manual_seed(1)
    out = 2 * torch.randn(6, 5, generator=gen, dtype=torch.float64)
    t = torch.randn(6, 5, generator=gen, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 4, 0]) if name == "cross_entropy" else None
    g, h = softmax_parts(out, labels)
    expected = (g * t).sum(-1) + torch.einsum("si,sij,sj->s", t, h, t) / 2

    got = second_order(LOSSES[name], out, t, labels)

    # float64 sums of 5 x 5 terms of order 1 to 10, by two routes
    torch.testing.assert_close(got, expected, rtol=0, atol=1e3 * torch.finfo(torch.float64).eps)


@pytest.mark.parametrize("name", ["cross_entropy", "mse", "kl", "difference"])
def test_the_second_order_change_is_that_of_autograds_hessian(name: str) -> None:
    gen = torch.Generator().manual_seed(2)
    out = torch.randn(3, 2, 4, generator=gen, dtype=torch.float64)
    t = torch.randn(3, 2, 4, generator=gen, dtype=torch.float64)
    labels: Tensor | None = None
    if name == "cross_entropy":
        labels = torch.tensor([[0, 1], [2, 3], [1, 1]])
    elif name == "mse":
        labels = torch.randn(3, 2, 4, generator=gen, dtype=torch.float64)
    loss = choose_loss(name, out, labels)

    got = second_order(loss, out, t, labels)

    for s in range(3):

        def one(f: Tensor, s: int = s) -> Tensor:
            own = None if labels is None else labels[s : s + 1]
            return loss.per_sample(f[None], out[s : s + 1], own)[0]

        g = torch.func.grad(one)(out[s]).flatten()
        h = torch.func.hessian(one)(out[s]).reshape(8, 8)
        v = t[s].flatten()
        # float64 sums of 8 x 8 terms of order 1 to 10, by two routes
        expected = (g @ v + v @ h @ v / 2).item()
        assert got[s].item() == pytest.approx(expected, abs=1e3 * torch.finfo(torch.float64).eps)


def test_the_second_order_change_needs_no_gradient_mode_and_takes_low_precision() -> None:
    out, t = CLASSES.bfloat16(), 0.1 * torch.randn(4, 3)
    with torch.no_grad():
        got = second_order(LOSSES["kl"], out, t, None)
    assert got.dtype == torch.float64
    assert (got > 0).all()  # a divergence is smallest at the dense outputs
    assert not got.requires_grad
