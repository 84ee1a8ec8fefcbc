"""Count the FLOPs of forward passes, the same on every device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, TypeAlias

import torch
from torch.utils.flop_counter import FlopCounterMode

from actprune.running.fastpath import module_by_module

Shape: TypeAlias = tuple[int, ...]


@contextmanager
def counting_flops() -> Iterator[FlopCounterMode]:
    """Count the FLOPs of the block's forward passes, those of transformer layers too.

    Beside what torch.utils.flop_counter knows, two kernels count: the CPU's fused attention, as the
    two matrix products that the other devices' are counted as (all T x T scores, masked or not),
    and the grouped product of experts.
    """
    aten = torch.ops.aten
    known: dict[Any, Any] = {aten._scaled_dot_product_flash_attention_for_cpu: _attention}
    if hasattr(aten, "_grouped_mm"):  # since torch 2.8
        known[aten._grouped_mm] = _grouped
    with module_by_module(), FlopCounterMode(display=False, custom_mapping=known) as counter:
        yield counter


def _attention(q_BHTD: Shape, k_BGSD: Shape, v_BGSE: Shape, *_: Any, **__: Any) -> int:
    """Two for every product in q k^T and in (weights) v; groups of heads may share k and v."""
    return 2 * prod(q_BHTD[:-1]) * k_BGSD[-2] * (q_BHTD[-1] + v_BGSE[-1])


def _grouped(a: Shape, b: Shape, *_: Any, **__: Any) -> int:
    """Two for every product of a [(E,) M, K] and b [(E,) K, N], each row or column in one group."""
    groups = a[0] if len(a) == len(b) == 3 else 1
    return 2 * groups * a[-2] * a[-1] * b[-1]
