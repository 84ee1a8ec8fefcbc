"""Outputs before and after a substitution, and what every sample of them scores."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.running.evaluate import changes, side_by_side
from actprune.running.loss import LOSSES
from actprune.running.scores import Scores
from actprune.running.substitute import Affine

W = torch.tensor([[1.0, 0.0], [0.0, 1.0]])


def net() -> nn.Module:
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(W)
    return nn.Sequential(layer).train()


def batches() -> list[Batch]:
    x = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]])
    y = torch.tensor([0, 1, 1])
    parts = (slice(0, 2), slice(2, 3))
    return [Batch(args=(x[p],), kwargs={}, labels=y[p], ids=torch.arange(3)[p]) for p in parts]


def test_both_outputs_come_with_their_labels_and_the_model_stays_as_it_was() -> None:
    model, seen = net(), []

    def see(dense: Tensor, out: Tensor, labels: Tensor | None) -> None:
        assert labels is not None
        seen.append((dense.tolist(), out.tolist(), labels.tolist()))

    side_by_side(model, {"0": Affine(weight=-2 * W, bias=None)}, batches(), see)
    assert seen == [
        ([[2, 0], [0, 1]], [[-4, 0], [0, -2]], [0, 1]),
        ([[3, 1]], [[-6, -2]], [1]),
    ]
    assert torch.equal(model.get_parameter("0.weight"), W)
    assert model.training


def test_scores_by_hand() -> None:
    scores = Scores(LOSSES["cross_entropy"])
    for out, labels in (([[2.0, 0.0], [0.0, 1.0]], [0, 1]), ([[3.0, 1.0]], [1])):
        o = torch.tensor(out)
        scores.add(o, o, torch.tensor(labels))
    expected = np.log1p(np.exp([-2.0, -1.0, 2.0]))  # -log softmax of the label's margin
    np.testing.assert_allclose(scores.losses, expected, rtol=1e-12)  # float64, a few roundings
    assert scores.metrics["accuracy"].tolist() == [1, 1, 0]
    assert scores.mean_metrics == {"accuracy": 2 / 3}


def test_changes_are_differences_of_scores() -> None:
    loss, maps = LOSSES["cross_entropy"], {"0": Affine(weight=-2 * W, bias=None)}
    before, after = Scores(loss), Scores(loss)

    def see(dense: Tensor, out: Tensor, labels: Tensor | None) -> None:
        before.add(dense, dense, labels)
        after.add(out, dense, labels)

    side_by_side(net(), maps, batches(), see)
    found = changes(net(), maps, batches(), loss)
    np.testing.assert_array_equal(found, after.losses - before.losses)
    assert found[0] > 0 > found[2]
