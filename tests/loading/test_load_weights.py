from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from actprune.errors import ActpruneError
from actprune.loading.weights import load_weights
from actprune.running.hashing import model_hash


def net(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def save(path: Path, content: Any) -> Path:
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


def error(model: nn.Module, path: Path) -> str:
    before = model_hash(model)
    with pytest.raises(ActpruneError) as e:
        load_weights(model, path)
    assert "\n" not in str(e.value)
    assert model_hash(model) == before
    return str(e.value)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth", "w.th"])
def test_every_format_gives_the_same_weights_and_no_notes(tmp_path: Path, name: str) -> None:
    model, other = net(0), net(1)
    path = save(tmp_path / name, other.state_dict())
    assert load_weights(model, path) == ()
    assert model_hash(model) == model_hash(other)


@pytest.mark.parametrize("prefixes", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_wrappers_and_prefixes_are_taken_off_and_said(tmp_path: Path, prefixes: str) -> None:
    state = {prefixes + k: v for k, v in net(1).state_dict().items()}
    path = save(tmp_path / "w.pt", {"epoch": 3, "model": {"state_dict": state}})
    model = net(0)
    notes = load_weights(model, path)
    assert model_hash(model) == model_hash(net(1))
    assert notes[:2] == (
        "w.pt: read the weights under 'model'.",
        "w.pt: read the weights under 'state_dict'.",
    )
    assert notes[2] == f"w.pt: dropped '{prefixes.split('.')[0]}.' from the start of all names."
    assert len(notes) == 2 + prefixes.count(".")


def test_a_prefix_that_is_the_models_own_name_stays(tmp_path: Path) -> None:
    model = nn.Sequential()
    model.add_module("module", nn.Linear(1, 1))
    path = save(tmp_path / "w.pt", {k: v + 1 for k, v in model.state_dict().items()})
    assert load_weights(model, path) == ()


def test_step_counters_and_second_names_may_be_missing(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(4, 2)
            self.norm = nn.BatchNorm1d(2)
            self.head = nn.Linear(2, 4, bias=False)
            self.head.weight = self.embed.weight

    model = Tied()
    state = {
        k: torch.ones_like(v)
        for k, v in model.state_dict().items()
        if k not in ("head.weight", "norm.num_batches_tracked")
    }
    assert load_weights(model, save(tmp_path / "w.safetensors", state)) == ()
    assert model.head.weight.eq(1).all()


def test_other_dtypes_are_converted_and_said(tmp_path: Path) -> None:
    model = net()
    state = {k: v.half() if v.is_floating_point() else v for k, v in net(1).state_dict().items()}
    assert load_weights(model, save(tmp_path / "w.pt", state)) == (
        "w.pt: converted 8 tensors from float16 to the model's float32.",
    )
    assert next(model.parameters()).dtype == torch.float32


def test_what_does_not_fit_is_one_line_and_changes_nothing(tmp_path: Path) -> None:
    state = dict(net(1).state_dict())
    del state["0.bias"]
    state["extra"] = torch.zeros(1)
    state["3.weight"] = torch.zeros(4, 8)
    path = save(tmp_path / "w.pt", state)
    assert error(net(), path) == (
        f"{path}: does not fit the model: missing 0.bias; unexpected extra; "
        f"3.weight is (4, 8) in the file and (3, 8) in the model. "
        f"Give the weights of this architecture."
    )


def test_long_lists_are_cut(tmp_path: Path) -> None:
    path = save(tmp_path / "w.pt", {"0.weight": torch.zeros(2, 1, 3, 3)})
    assert "missing 0.bias, 1.weight, 1.bias, 1.running_mean and 3 more. Give" in error(net(), path)


def test_weights_of_another_architecture_are_told_apart(tmp_path: Path) -> None:
    path = save(tmp_path / "w.pt", {"conv1.weight": torch.zeros(1), "fc.bias": torch.zeros(1)})
    assert error(nn.Linear(1, 1), path) == (
        f"{path}: none of its names occurs in the model; the file has conv1.weight, fc.bias, the "
        f"model weight, bias. Give the weights of this architecture."
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected a state dict (names and tensors), got list."),
        (torch.zeros(2), "expected a state dict (names and tensors), got Tensor."),
        (
            {"epoch": 3, "net": {"w": torch.zeros(1)}},
            "no tensors at the top or under 'state_dict', 'model', 'model_state_dict'; it holds "
            "epoch, net. Save model.state_dict() on its own.",
        ),
        (
            nn.Linear(1, 1),
            "holds a Python object (torch.nn.modules.linear.Linear) and not only tensors, so it is "
            "not read; save model.state_dict() instead.",
        ),
    ],
)
def test_files_that_hold_something_else(tmp_path: Path, content: Any, message: str) -> None:
    path = save(tmp_path / "w.pt", content)
    assert error(net(), path) == f"{path}: {message}"


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
def test_no_code_is_run(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "w.pt"
    content = {"state_dict": {"weight": torch.zeros(1, 1)}, "bomb": Bomb(tmp_path / "boom")}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    assert "holds a Python object" in error(nn.Linear(1, 1), path)
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"nonsense that is no file of weights", b"PK\x03\x04"])
def test_damaged_files(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert "damaged" in error(net(), path)


def test_a_file_that_was_cut(tmp_path: Path) -> None:
    for name in ("w.pt", "w.safetensors"):
        path = save(tmp_path / name, net().state_dict())
        path.write_bytes(path.read_bytes()[:-100])
        assert "damaged" in error(net(), path)


def test_missing_files_and_other_formats(tmp_path: Path) -> None:
    save(tmp_path / "weights.pt", {})
    assert error(net(), tmp_path / "weight.pt") == (
        f"{tmp_path}/weight.pt: no such weights file; did you mean {tmp_path}/weights.pt?"
    )
    (tmp_path / "w.bin").touch()
    assert error(net(), tmp_path / "w.bin") == (
        f"{tmp_path}/w.bin: weights must be one of .safetensors, .pt, .pth, .th."
    )


def test_a_failing_hook_of_the_model_is_told(tmp_path: Path) -> None:
    class Picky(nn.Linear):
        def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
            raise KeyError("not these")

    path = save(tmp_path / "w.pt", {"weight": torch.zeros(1, 1), "bias": torch.zeros(1)})
    assert error(Picky(1, 1), path) == (
        f"{path}: the model does not take these weights: KeyError: 'not these'"
    )


def test_extra_state_goes_through(tmp_path: Path) -> None:
    class Extra(nn.Linear):
        def get_extra_state(self) -> dict[str, Tensor | int]:
            return {"steps": 3}

        def set_extra_state(self, state: Any) -> None:
            self.steps = state["steps"]

    model = Extra(1, 1)
    load_weights(model, save(tmp_path / "w.pt", model.state_dict()))
    assert model.steps == 3
