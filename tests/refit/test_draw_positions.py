"""Drawn rows are rows of the whole regression."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from actprune.refit.design import inputs, outputs, positions
from actprune.refit.rows import LEAST, draw_positions


def test_few_rows_are_all_used() -> None:
    assert draw_positions(8, 100, 10, seed=0, layer="a", batch=0) is None
    assert draw_positions(8, LEAST // 8, 10, seed=0, layer="a", batch=0) is None


def test_many_rows_are_drawn_anew_for_every_layer_and_batch_and_the_same_again() -> None:
    def draw(layer: str = "a", batch: int = 0, columns: int = 10) -> list[int]:
        at = draw_positions(1024, 2048, columns, seed=0, layer=layer, batch=batch)
        assert at is not None
        return at.tolist()

    assert len(draw()) == LEAST // 2048
    assert draw() == draw()
    assert draw() == sorted(set(draw()))
    assert max(draw()) < 1024
    assert draw() != draw(batch=1)
    assert draw() != draw(layer="b")
    assert len(draw(columns=4096)) == 64 * 4096 // 2048


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (2, 3), "dilation": (3, 1), "padding": 1, "stride": 2},
        {"kernel_size": (2, 4), "padding": "same"},
        {"kernel_size": 3, "stride": (1, 3), "padding": 2},
    ],
)
def test_drawn_patches_are_rows_of_the_unfolded_ones(options: dict) -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(4, 5, **options), torch.randn(3, 4, 9, 11)
    entry, z = torch.tensor([2, 0]), layer(x)
    of_each = positions(z, layer, 3)
    assert of_each == z[0, 0].numel()
    at = torch.tensor([0, 3, of_each - 1])
    rows = (torch.arange(3)[:, None] * of_each + at).reshape(-1)
    assert torch.equal(inputs(layer, x, entry, at=at), inputs(layer, x, entry)[rows])
    assert torch.equal(outputs(z, layer, at=at), outputs(z, layer)[rows])


@pytest.mark.parametrize("shape", [(3, 7, 4), (21, 4)])
def test_drawn_tokens_are_rows_whether_or_not_samples_have_an_axis_of_their_own(
    shape: tuple[int, ...],
) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(4, 5), torch.randn(shape)
    entry, at, z = torch.arange(4), torch.tensor([1, 6]), layer(x)
    assert positions(z, layer, 3) == 7
    rows = torch.tensor([1, 6, 8, 13, 15, 20])
    assert torch.equal(inputs(layer, x, entry, at=at, samples=3), x.reshape(-1, 4)[rows])
    assert torch.equal(outputs(z, layer, at=at, samples=3), z.reshape(-1, 5)[rows])
