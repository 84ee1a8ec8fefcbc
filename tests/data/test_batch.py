from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
import torch
from torch import nn

from actprune.data.batch import Batch, as_batch
from actprune.errors import ActpruneError

X = torch.arange(12.0).reshape(4, 3)
Y = torch.tensor([0, 1, 2, 0])


def test_a_tensor_is_one_unlabelled_input() -> None:
    batch = as_batch(X, first_id=10)

    assert batch.args == (X,)
    assert batch.labels is None
    assert batch.ids.tolist() == [10, 11, 12, 13]


@pytest.mark.parametrize("kind", [tuple, list])
def test_the_last_entry_of_a_tuple_or_list_holds_the_labels(kind: Any) -> None:
    batch = as_batch(kind([X, X + 1, Y]), first_id=0)

    assert len(batch.args) == 2
    assert batch.labels is Y


def test_a_tuple_of_one_has_no_labels() -> None:
    assert as_batch([X], first_id=0).labels is None


def test_labels_may_be_none_or_a_list_of_numbers() -> None:
    assert as_batch((X, None), first_id=0).labels is None
    labels = as_batch((X, [0, 1, 2, 0]), first_id=0).labels
    assert labels is not None
    assert labels.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("key", ["labels", "label", "y", "target"])
@pytest.mark.parametrize("kind", [dict, UserDict])
def test_a_mapping_holds_keyword_inputs_and_labels_under_a_known_name(key: str, kind: Any) -> None:
    batch = as_batch(kind({"input": X, key: Y}), first_id=0)

    assert dict(batch.kwargs) == {"input": X}
    assert batch.labels is Y


def test_a_batch_passes_through_with_its_own_ids() -> None:
    batch = as_batch(X, first_id=5)
    assert as_batch(batch, first_id=0) is batch


@pytest.mark.parametrize("raw", ["text", 3, (), {}, {"y": Y}, [None], ({"x": X}, Y)])
def test_a_batch_without_an_input_tensor_is_refused(raw: Any) -> None:
    expected = rf"A batch must be a tensor, a tuple .* got {type(raw).__name__} without"
    with pytest.raises(ActpruneError, match=expected):
        as_batch(raw, first_id=0)


def test_first_axes_that_disagree_are_named() -> None:
    with pytest.raises(ActpruneError, match=r"agree in their first axis .*got sizes \[3, 4\]"):
        as_batch((X, Y[:3]), first_id=0)
    with pytest.raises(ActpruneError, match=r"got sizes \[2, 4\]"):
        as_batch({"a": X, "b": X[:2]}, first_id=0)


def test_labels_that_are_no_array_are_refused() -> None:
    with pytest.raises(ActpruneError, match=r"Labels must be a tensor .* got str"):
        as_batch((X, "cat"), first_id=0)
    with pytest.raises(ActpruneError, match="one entry a sample, got a single number"):
        as_batch((X, torch.tensor(3)), first_id=0)


def test_selecting_takes_the_same_samples_from_everything() -> None:
    raw = {"a": X, "b": X + 100, "scale": torch.tensor(2.0), "flag": True, "labels": Y}
    part = as_batch(raw, first_id=7).select(torch.tensor([2, 0]))

    assert part.kwargs["a"].tolist() == X[[2, 0]].tolist()
    assert part.kwargs["b"].tolist() == (X + 100)[[2, 0]].tolist()
    assert part.kwargs["scale"] == 2.0  # no sample axis: left alone
    assert part.kwargs["flag"] is True
    assert part.labels is not None
    assert part.labels.tolist() == [2, 0]
    assert part.ids.tolist() == [9, 7]


def test_selecting_by_mask_is_selecting_by_index() -> None:
    batch = as_batch((X, Y), first_id=0)
    by_mask = batch.select(torch.tensor([True, False, True, False]))
    by_index = batch.select(torch.tensor([0, 2]))
    assert by_mask.ids.tolist() == by_index.ids.tolist()
    assert torch.equal(by_mask.args[0], by_index.args[0])


def test_running_hands_over_positional_and_keyword_inputs() -> None:
    class Sum(nn.Module):
        def forward(self, a: torch.Tensor, *, b: torch.Tensor) -> torch.Tensor:
            return a - b

    batch = Batch(args=(X,), kwargs={"b": X}, labels=None, ids=torch.arange(4))
    assert batch.run(Sum()).abs().sum() == 0
