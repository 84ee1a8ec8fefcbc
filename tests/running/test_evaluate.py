from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from actprune.data.batch import as_batch
from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.running.evaluate import changes, loss_for
from actprune.running.hashing import model_hash
from actprune.running.loss import LOSSES, cross_entropy
from actprune.running.substitute import Affine, linear_or_conv

GEN = torch.Generator().manual_seed(0)
X, Y = torch.randn(30, 4, generator=GEN), torch.randint(0, 3, (30,), generator=GEN)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.ReLU(), nn.Linear(6, 3)).train()


def test_the_loss_is_chosen_in_evaluation_mode_from_the_first_batch() -> None:
    model = net()
    assert loss_for(model, [as_batch((X, Y), 0)], None) is LOSSES["cross_entropy"]
    assert loss_for(model, [as_batch(X, 0)], None) is LOSSES["kl"]
    assert model.training


def test_changes_are_the_losses_with_new_weights_minus_the_losses_without() -> None:
    model = net()
    before = model_hash(model)
    maps = {"3": Affine(weight=torch.zeros(3, 6), bias=torch.tensor([0.0, 1.0, 2.0]))}
    batches = [as_batch((X[:11], Y[:11]), 0), as_batch((X[11:], Y[11:]), 11)]

    got = changes(model, maps, batches, LOSSES["cross_entropy"])

    changed = copy.deepcopy(model).eval()
    changed[3].weight.data, changed[3].bias.data = maps["3"].weight, torch.arange(3.0)
    with torch.no_grad():
        dense = model.eval()(X)
        expected = cross_entropy(changed(X), dense, Y) - cross_entropy(dense, dense, Y)
    # float32 outputs computed in batches of another size: a few roundings of numbers of order 1
    np.testing.assert_allclose(got, expected.numpy(), rtol=0, atol=64 * torch.finfo().eps)
    assert model_hash(model) == before


def test_no_change_costs_exactly_nothing() -> None:
    model = net()
    last = linear_or_conv(model, "3")
    maps = {"3": Affine(weight=last.weight, bias=last.bias)}
    for name in ("cross_entropy", "kl"):
        assert (changes(model, maps, [as_batch((X, Y), 0)], LOSSES[name]) == 0).all()


def test_no_samples_are_refused() -> None:
    with pytest.raises(ActpruneError, match="There are no samples to measure the loss on"):
        changes(net(), {}, [], LOSSES["kl"])
    with pytest.raises(ActpruneError, match="There are no samples"):
        loss_for(net(), [], None)


def test_a_wrong_label_in_a_later_batch_is_found_before_anything_is_scored() -> None:
    data = Arrays.of(torch.zeros(6, 3), labels=torch.tensor([0, 1, 0, 1, 0, 7]))
    with pytest.raises(ActpruneError, match="must lie in 0 to 1 for outputs with 2 classes, got 0"):
        loss_for(nn.Linear(3, 2), list(data.batches(2)), None)


def test_the_variance_of_the_difference_is_taken_over_all_batches() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    x = torch.tensor([[1.0], [1.0], [3.0], [5.0]])
    loss = loss_for(model, list(Arrays.of(x).batches(1)), "difference")
    # variance of 1, 1, 3, 5 over their number: 11/4; a difference of 1 scores 4/11
    assert loss.per_sample(x + 1, x, None).tolist() == pytest.approx([4 / 11] * 4)
