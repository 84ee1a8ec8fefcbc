from __future__ import annotations

import torch

from actprune.running.fastpath import module_by_module


def test_blocks_may_end_in_any_order() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    first, second = module_by_module(), module_by_module()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not torch.backends.mha.get_fastpath_enabled()
    second.__exit__(None, None, None)
    assert torch.backends.mha.get_fastpath_enabled() == before
