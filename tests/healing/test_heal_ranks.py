"""Two processes heal one model, started once for all tests; heal_rank_worker.py is theirs."""

from __future__ import annotations

from pathlib import Path

import heal_rank_worker
import pytest
import torch
from heal_models import narrow, state_of
from safetensors.torch import load_file
from two_ranks import RANKS, needs_gloo, run

pytestmark = needs_gloo


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the two processes have left."""
    folder = tmp_path_factory.mktemp("heal-ranks")
    run(heal_rank_worker, folder)
    return folder


def of(folder: Path, case: str) -> list[dict[str, torch.Tensor]]:
    return [load_file(folder / f"{case}.{rank}.safetensors") for rank in range(RANKS)]


@pytest.mark.parametrize("case", ["together", "whole", "resumed"])
def test_all_ranks_return_the_same_bits(folder: Path, case: str) -> None:
    first, second = of(folder, case)
    for name in first:
        if name != "norm.num_batches_tracked":
            assert torch.equal(first[name], second[name]), name


def test_two_ranks_are_one_process_with_twice_the_batch(folder: Path) -> None:
    expected = state_of(heal_rank_worker.alone(16).model)
    start = state_of(narrow().double())
    # Gradients are sums over 16 samples and at most 24 units of terms of order 1 to 10, in another
    # order: off by delta <= 16 x 24 x 10 x 2^-53 < 5e-13. AdamW divides by sqrt(v) + 1e-8, so a
    # step differs by at most rate x delta / 1e-8. That takes v = 0 for every weight in every step,
    # which leaves room for what the differences of one step do to the next.
    tolerance = heal_rank_worker.STEPS * heal_rank_worker.RATE * 5e-13 / 1e-8
    for got in of(folder, "together"):
        for name, value in expected.items():
            torch.testing.assert_close(got[name], value, rtol=0, atol=tolerance)
    moved = max(float((expected[n] - start[n]).abs().max()) for n in expected)
    assert moved > heal_rank_worker.RATE > 1_000 * tolerance


def test_a_run_that_was_stopped_ends_in_the_same_bits(folder: Path) -> None:
    for resumed, whole in zip(of(folder, "resumed"), of(folder, "whole"), strict=True):
        for name in whole:
            assert torch.equal(resumed[name], whole[name]), name


def test_mistakes_end_all_ranks(folder: Path) -> None:
    said = [(folder / f"another rate.{r}.txt").read_text() for r in range(RANKS)]
    assert said[0] == said[1]
    assert said[0].startswith("TeamError: Rank 1 does not heal with the same settings as rank 0")
    crashed = [(folder / f"a crash.{r}.txt").read_text() for r in range(RANKS)]
    assert crashed == ["TeamError: Rank 1: OSError: the disk is gone", "OSError: the disk is gone"]
