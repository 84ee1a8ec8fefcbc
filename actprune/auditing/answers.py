"""The answers of a classifier, and which samples it handles."""

from __future__ import annotations

import torch
from torch import Tensor

from actprune.errors import ActpruneError


def check_answers(out: Tensor, labels: Tensor | None) -> None:
    """Raises ActpruneError unless `out` [S, ..., C] holds one answer a position: its arg max."""
    if labels is not None and labels.is_floating_point():
        raise ActpruneError("the labels are numbers, not classes, so no answer can change")
    if out.ndim < 2 or out.shape[-1] < 2:
        raise ActpruneError("the output is one number a sample, so no answer can change")


def handled(out: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """The answers [S, ...] and where they are the labels; everywhere without labels."""
    answer = out.argmax(-1)
    return answer, torch.ones_like(answer, dtype=torch.bool) if labels is None else answer == labels
