from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from actprune.running.hashing import model_hash
from actprune.zoo import ZOO, cache, trained
from actprune.zoo.cache import cache_file, cache_folder
from actprune.zoo.entry import Entry


@pytest.fixture
def runs() -> list[int]:
    """The seeds that `entry` was trained with, so far."""
    return []


@pytest.fixture
def entry(runs: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Entry:
    monkeypatch.setenv("ACTPRUNE_CACHE", str(tmp_path / "cache"))

    def train(seed: int) -> nn.Module:
        runs.append(seed)
        linear = nn.Linear(2, 3)
        nn.init.constant_(linear.weight, seed + 0.5)
        nn.init.zeros_(linear.bias)
        return nn.Sequential(linear, nn.BatchNorm1d(3)).eval()

    return dataclasses.replace(
        ZOO["digits-mlp"],
        name="tiny",
        build=lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)),
        train=train,
    )


def test_a_net_is_trained_once_and_then_read_with_the_same_bits(
    entry: Entry, runs: list[int]
) -> None:
    first, second = trained(entry, 4), trained(entry, 4)
    assert runs == [4]
    assert model_hash(first) == model_hash(second)
    assert not second.training


def test_reading_leaves_the_random_state_alone(entry: Entry) -> None:
    trained(entry, 0)
    state = torch.get_rng_state()
    trained(entry, 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_seeds_versions_and_recipes_have_files_of_their_own(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {cache_file(entry, 0), cache_file(entry, 1)}
    files.add(cache_file(dataclasses.replace(entry, modules=(cache.__name__,)), 0))
    monkeypatch.setattr(torch, "__version__", "9.9")
    files.add(cache_file(entry, 0))
    assert len(files) == 4
    assert None not in files


@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "other"])
def test_a_damaged_file_is_said_and_made_anew(
    entry: Entry, runs: list[int], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = model_hash(trained(entry, 1))
    path = cache_file(entry, 1)
    assert path is not None
    content = path.read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])  # still a valid file
    other = cache._to_bytes(nn.Linear(1, 1))
    path.write_bytes({"empty": b"", "cut": content[:-8], "bit": flipped, "other": other}[damage])

    with caplog.at_level(logging.WARNING):
        again = trained(entry, 1)

    assert runs == [1, 1]
    assert model_hash(again) == whole
    assert f"{path}: damaged cache file" in caplog.text
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_written_only_means_no_cache(
    entry: Entry,
    runs: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ACTPRUNE_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        assert trained(entry, 0)(torch.zeros(1, 2)).shape == (1, 3)
    assert runs == [0, 0]
    assert "tiny will be trained again next time: not cached" in caplog.text


def test_warnings_go_to_stderr_without_any_logging_set_up(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code = """if True:
        from dataclasses import replace
        from torch import nn
        from actprune.zoo import ZOO, trained
        trained(replace(ZOO["digits-mlp"], train=lambda seed: nn.Linear(1, 1)), 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ACTPRUNE_CACHE": str(tmp_path / "file")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    assert "digits-mlp will be trained again next time" in done.stderr


def test_the_folder_is_chosen_by_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ACTPRUNE_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "actprune"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "actprune"
    monkeypatch.setenv("ACTPRUNE_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
