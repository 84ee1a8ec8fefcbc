from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from actprune.data.batch import as_batch
from actprune.errors import ActpruneError
from actprune.running.forward import in_one_line, run_checked


class Raising(nn.Module):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error


BATCH = as_batch(torch.zeros(2, 3), 0)


def test_a_run_that_works_gives_the_output() -> None:
    assert torch.equal(run_checked(nn.ReLU(), BATCH), torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("bad shape\nlong story"), r"gave RuntimeError: bad shape\. Give inputs"),
        (RuntimeError(), r"gave RuntimeError\. Give inputs"),
        (AssertionError("3 != 4"), "gave AssertionError: 3 != 4"),
        (KeyError("mask"), "gave KeyError: 'mask'"),
    ],
)
def test_whatever_the_model_raises_becomes_one_line(error: Exception, said: str) -> None:
    expected = rf"The model cannot run on batch 7: inputs of shape \[\(2, 3\)\] .*{said}"
    with pytest.raises(ActpruneError, match=expected) as caught:
        run_checked(Raising(error), BATCH, "batch 7")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_our_own_errors_and_interrupts_pass_through() -> None:
    with pytest.raises(ActpruneError, match=r"^ours$"):
        run_checked(Raising(ActpruneError("ours")), BATCH)
    with pytest.raises(KeyboardInterrupt):
        run_checked(Raising(KeyboardInterrupt()), BATCH)


def test_a_long_message_is_cut() -> None:
    assert len(in_one_line(ValueError("x" * 500))) == 160
