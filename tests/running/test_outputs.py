from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.running.outputs import every_tensor, primary

A, B = torch.ones(2, 3), torch.zeros(2)
INTEGERS = torch.arange(3)


@dataclass
class Output:
    logits: Tensor
    hidden: Any = None


@pytest.mark.parametrize(
    "output",
    [
        A,
        (A, B),
        [INTEGERS, A, B],
        (None, A),
        {"logits": A, "loss": B},
        OrderedDict(loss=B, logits=A),
        {"out": A, "aux": B},
        {"logits": None, "out": A},
        Output(logits=A),
    ],
)
def test_the_logits_or_else_the_first_floating_tensor_is_the_output(output: Any) -> None:
    assert primary(output) is A


@pytest.mark.parametrize(
    ("output", "got"),
    [(INTEGERS, "torch.int64"), ({"a": 1}, "dict"), ((), "tuple"), (None, "NoneType")],
)
def test_an_output_without_a_floating_tensor_is_refused(output: Any, got: str) -> None:
    with pytest.raises(ActpruneError, match=f"hold a floating-point tensor, got {got}; wrap the"):
        primary(output)


def test_every_floating_tensor_of_a_nested_output_is_found() -> None:
    output = {"a": A, "b": [INTEGERS, (B, None)], "c": {"d": A}}
    found = list(every_tensor(output))
    assert [x.data_ptr() for x in found] == [A.data_ptr(), B.data_ptr(), A.data_ptr()]
    assert list(every_tensor(3)) == []
