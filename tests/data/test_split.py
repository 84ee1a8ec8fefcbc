from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from actprune.data.split import BLOCKS, Part, block_of, heldout, in_parts, splitmix64

N = 100_000
IDS = torch.arange(N)
SEEDS = [0, 1, 12345, -7, 2**63]


def testsplitmix64_gives_the_published_sequence() -> None:
    # the sequential generator adds its constant to the state and mixes; `splitmix64` maps a state
    # to the output that follows it, so state k is the seed plus k constants. Published outputs for
    # seed 1234567: Rosetta Code, "Pseudo-random numbers/Splitmix64"
    golden, seed = 0x9E3779B97F4A7C15, 1234567
    states = np.array([(seed + k * golden) % 2**64 for k in range(5)], dtype=np.uint64)
    assert splitmix64(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_samples_part_depends_on_its_id_and_the_seed_alone(seed: int) -> None:
    ids = torch.randperm(N, generator=torch.Generator().manual_seed(1))[:5000]
    for decide in (heldout, block_of):
        whole = decide(IDS, seed)
        assert torch.equal(decide(ids, seed), whole[ids])  # another order
        pieces = torch.cat([decide(p, seed) for p in IDS[:5000].split(7)])
        assert torch.equal(pieces, whole[:5000])  # other batches
        assert torch.equal(decide(IDS, seed), whole)  # another time


def test_the_split_stays_what_it_was() -> None:
    # saved profiles and held-out thirds rely on it for ever
    assert heldout(torch.arange(12), 0).int().tolist() == [0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0]
    assert block_of(torch.arange(8), 0).tolist() == [16, 12, 16, 5, 28, 6, 8, 16]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_third_is_held_out(seed: int) -> None:
    share = heldout(IDS, seed).double().mean().item()
    assert abs(share - 1 / 3) <= 4.5 * (1 / 3 * 2 / 3 / N) ** 0.5  # binomial, p = 7e-6 a seed


def chi_square(counts: torch.Tensor) -> float:
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("seed", SEEDS)
def test_blocks_are_uniform_and_independent_of_the_held_out_third(seed: int) -> None:
    blocks, out = block_of(IDS, seed), heldout(IDS, seed)
    bound = chi2.isf(1e-6, BLOCKS - 1)  # four tests a seed
    for chosen in (torch.ones_like(out), out, ~out):
        assert chi_square(torch.bincount(blocks[chosen], minlength=BLOCKS).double()) < bound
    # homogeneity of the two rows: held out or not, by block
    table = np.array([torch.bincount(blocks[m], minlength=BLOCKS).numpy() for m in (out, ~out)])
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    assert ((table - expected) ** 2 / expected).sum() < bound


def test_neighbouring_ids_and_seeds_are_independent() -> None:
    # the number of agreements is binomial; 4.5 standard errors
    both = 1 / 9 + 4 / 9
    limit = 4.5 * (both * (1 - both) / N) ** 0.5
    a = heldout(IDS, 0)
    assert abs((a == heldout(IDS + 1, 0)).double().mean().item() - both) <= limit
    assert abs((a == heldout(IDS, 1)).double().mean().item() - both) <= limit
    limit = 4.5 * (1 / BLOCKS * (1 - 1 / BLOCKS) / N) ** 0.5
    same = (block_of(IDS, 0) == block_of(IDS, 1)).double().mean().item()
    assert abs(same - 1 / BLOCKS) <= limit


@given(st.integers(0, 2**62), st.integers(-(2**63), 2**63 - 1))
def test_every_sample_lies_in_exactly_one_part(first: int, seed: int) -> None:
    ids = torch.arange(first, first + 50)
    inside = torch.stack([in_parts(ids, seed, part) for part in Part])
    assert (inside.sum(0) == 1).all()
    assert in_parts(ids, seed, *Part).all()
    assert not in_parts(ids, seed).any()


def test_the_parts_are_the_blocks_they_name() -> None:
    assert sorted(b for part in Part for b in part.value) == list(range(BLOCKS))
    blocks = block_of(IDS[:2000], 3)
    for part in Part:
        expected = torch.tensor([int(b) in part.value for b in blocks])
        assert torch.equal(in_parts(IDS[:2000], 3, part), expected)
