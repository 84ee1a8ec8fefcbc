"""Without CUDA the Triton kernels run in Triton's interpreter, which must be asked for before
Triton is first imported (torch's FLOP counter imports it)."""

import os
from collections.abc import Iterator

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session")
def native_kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The compiled kernels, in a folder of the tests' own; skips where they cannot be made."""
    from actprune.ops import native as compiling
    from actprune.ops.stats import native

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        compiling.library.cache_clear()
        if not native.available():
            pytest.skip("no C compiler that works")
        yield
    compiling.library.cache_clear()
