from __future__ import annotations

import pytest
import torch

from actprune.profiling.layout import by_unit
from actprune.sites.site import Site, Slot


def site(units: int, offset: int, repeat: int) -> Site:
    slots = (
        Slot(module="p", role="producer"),
        Slot(module="c", role="consumer", offset=offset, repeat=repeat),
    )
    return Site(name="p", kind="conv", units=units, slots=slots)


@pytest.mark.parametrize("offset", [0, 2])
def test_a_convolutions_input_gives_its_pixels(offset: int) -> None:
    x = torch.randn(3, 7, 2, 5)
    got = by_unit(site(4, offset, 1), x, conv_consumer=True)
    assert got.shape == (3, 4, 10)
    for u in range(4):
        assert torch.equal(got[:, u], x[:, offset + u].reshape(3, 10))


@pytest.mark.parametrize("offset", [0, 3])
@pytest.mark.parametrize("tokens", [(), (5,), (2, 3)])
def test_a_linear_input_gives_its_tokens(offset: int, tokens: tuple[int, ...]) -> None:
    x = torch.randn(2, *tokens, 9)
    got = by_unit(site(4, offset, 1), x, conv_consumer=False)
    for u in range(4):
        assert torch.equal(got[:, u], x[..., offset + u].reshape(2, -1))


@pytest.mark.parametrize("offset", [0, 6])
@pytest.mark.parametrize("tokens", [(), (5,)])
def test_flattened_channels_give_their_pixels(offset: int, tokens: tuple[int, ...]) -> None:
    x = torch.randn(2, *tokens, 6 + 4 * 3)
    slot = site(4, offset, 3)
    got = by_unit(slot, x, conv_consumer=False)
    for u in range(4):
        own = x[..., slot.consumer.index([u])]
        assert torch.equal(got[:, u], own.reshape(2, -1))
