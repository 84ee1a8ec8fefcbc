"""A healing that was stopped goes on and ends in the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from heal_models import Net, assert_same_bits, data, dense, narrow, quick

from actprune.errors import ActpruneError
from actprune.healing.heal import heal
from actprune.healing.result import Healed


def run(path: Path | None = None, stop: int | None = None, **options: Any) -> Healed:
    settings = quick(steps=40, every=5, batchnorm="update", **options.pop("settings", {}))
    taken = 0

    def count(_: str) -> None:
        nonlocal taken
        taken += 1
        if taken == stop:
            raise KeyboardInterrupt

    dtype = options.pop("dtype", torch.float32)
    small, whole, source = narrow(dropout=0.3).to(dtype), dense().to(dtype), data(200)
    if dtype != torch.float32:
        source.inputs[0].data = source.inputs[0].to(dtype)
    return heal(small, whole, source, settings=settings, checkpoint=path, progress=count, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stops", [(7,), (13, 9), (39,)])
def test_resumed_runs_end_in_the_same_bits(
    tmp_path: Path, stops: tuple[int, ...], dtype: torch.dtype
) -> None:
    whole = run(dtype=dtype)
    path = tmp_path / "half"
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            run(path, stop, resume=True, dtype=dtype)
        assert path.exists() == (stop >= 5)
    resumed = run(path, resume=True, dtype=dtype)
    assert resumed.curve == whole.curve
    assert (resumed.best_step, resumed.steps) == (whole.best_step, whole.steps)
    assert_same_bits(resumed.model, whole.model)
    assert resumed.seconds > 0
    done = run(path, resume=True, dtype=dtype)  # nothing is left to do
    assert done.curve == whole.curve
    assert_same_bits(done.model, whole.model)
    assert [p.name for p in tmp_path.iterdir()] == ["half"]


def test_another_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "half"
    run(path)
    with pytest.raises(ActpruneError, match="an earlier run has left its work here"):
        run(path)
    with pytest.raises(ActpruneError, match="begun with another seed: 0, got 1; resume with the"):
        run(path, resume=True, seed=1)
    with pytest.raises(ActpruneError, match="begun with another settings"):
        run(path, resume=True, settings={"lr": 0.02})
    other: Net = narrow(dropout=0.3)
    other.c.bias.data += 1
    with pytest.raises(ActpruneError, match="begun with another model"):
        heal(other, dense(), data(200), checkpoint=path, resume=True)
    with pytest.raises(ActpruneError, match="resume needs a checkpoint"):
        run(resume=True)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "half"
    run(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ActpruneError, match=r"damaged .* remove the file and heal from the start"):
        run(path, resume=True)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ActpruneError, match="not a readable healing checkpoint, or cut short"):
        run(path, resume=True)
