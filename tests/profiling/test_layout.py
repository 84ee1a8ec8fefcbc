from __future__ import annotations

import pytest
import torch

from actprune.errors import ActpruneError
from actprune.profiling.counting.layout import by_unit
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


def test_a_flat_site_is_read_sample_by_sample() -> None:
    x = torch.randn(3, 5, 4)
    flat = site(4, 0, 1).model_copy(update={"flat": True})
    got = by_unit(flat, x.flatten(0, 1), conv_consumer=False, samples=3)
    assert torch.equal(got, x.transpose(1, 2))
    with pytest.raises(ActpruneError, match="c reads 15 rows of 4 samples, not as many of each"):
        by_unit(flat, x.flatten(0, 1), conv_consumer=False, samples=4)
