from __future__ import annotations

from pathlib import Path

import pytest
import torch

from actprune.data.source import Source
from actprune.errors import ActpruneError
from actprune.loading.data import load_data

CODE = """
import torch
from torch.utils.data import DataLoader, TensorDataset
from actprune.data.source import Arrays

x, y = torch.arange(6.0).view(6, 1), torch.arange(6)
batches = [(x[:4], y[:4]), (x[4:], y[4:])]
tensor = x
once = iter(batches)
named = Arrays.of(x, labels=y, spec="mine")
unnamed = Arrays.of(x, labels=y)
dataset = TensorDataset(x, y)
pair = (x, y)
batch = {"input": x}
text = "abc"
number = 3

def function():
    return batches

def generator():
    yield from batches

def loader():
    return DataLoader(TensorDataset(x, y), batch_size=4)

class Reading:
    def __iter__(self):
        return iter(batches)

def fails():
    yield batches[0]
    raise OSError("disk gone")

def bad_batch():
    yield "what"
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)


def read(source: Source) -> tuple[list[int], list[int]]:
    """All inputs and all ids, in order."""
    batches = list(source.batches())
    inputs = torch.cat([b.args[0] for b in batches]).flatten().int().tolist()
    return inputs, torch.cat([b.ids for b in batches]).tolist()


def error(spec: str) -> str:
    with pytest.raises(ActpruneError) as e:
        load_data(spec)
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize(
    "name",
    ["batches", "tensor", "unnamed", "function", "generator", "loader", "Reading"],
)
def test_every_form_can_be_read_twice_and_bears_the_users_name(name: str) -> None:
    source = load_data(f"d.py:{name}")
    assert source.spec == f"d.py:{name}"
    wanted = ([0, 1, 2, 3, 4, 5],) * 2
    assert read(source) == read(source) == wanted
    assert read(source.where(lambda ids: ids % 2 == 1)) == ([1, 3, 5],) * 2


@pytest.mark.usefixtures("code")
def test_a_source_keeps_the_name_it_was_given() -> None:
    assert load_data("d.py:named").spec == "mine"


@pytest.mark.usefixtures("code")
def test_what_can_be_read_once_is_told_the_second_time() -> None:
    source = load_data("d.py:once")
    assert read(source)[1] == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ActpruneError, match=r"^d\.py:once: the data are needed more than once"):
        read(source)


@pytest.mark.usefixtures("code")
def test_a_failure_while_reading_is_one_line() -> None:
    with pytest.raises(ActpruneError) as e:
        read(load_data("d.py:fails"))
    assert str(e.value) == (
        "d.py:fails: reading its batches failed at d.py, line 33: OSError: disk gone"
    )
    with pytest.raises(ActpruneError, match="A batch must be a tensor"):
        read(load_data("d.py:bad_batch"))


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "pair",
            "got one tuple, expected an iterable of batches; put it into a list to make it one "
            "batch, or give actprune.data.source.Arrays.of(x, labels=y).",
        ),
        (
            "batch",
            "got one dict, expected an iterable of batches; put it into a list to make it one "
            "batch, or give actprune.data.source.Arrays.of(x, labels=y).",
        ),
        (
            "dataset",
            "got a dataset (TensorDataset) of single samples, expected batches; give "
            "torch.utils.data.DataLoader(dataset, batch_size=128).",
        ),
        ("text", "expected an iterable of batches (tensor, tuple or dict), got str."),
        ("number", "expected an iterable of batches (tensor, tuple or dict), got int."),
    ],
)
def test_what_is_no_data(name: str, message: str) -> None:
    assert error(f"d.py:{name}") == f"d.py:{name}: {message}"


def test_zoo_data_have_a_name_and_no_seed() -> None:
    source = load_data("zoo:digits-mlp")
    assert source.spec == "zoo:digits-mlp"
    assert sum(len(b) for b in source.batches()) == 899
    assert error("zoo:digits-mlp@1") == (
        "zoo:digits-mlp@1: a zoo model has the same data whatever its training seed; "
        "write 'zoo:digits-mlp'."
    )
    assert "did you mean 'zoo:mnist-cnn'?" in error("zoo:mnist")


@pytest.mark.parametrize(
    ("spec", "remedy"),
    [
        ("a/b.npz", "; did you mean 'npz:a/b.npz'?"),
        ("b.txt", "; did you mean 'text:b.txt'?"),
        ("npy:b.npz", "; did you mean 'npz:b.npz'?"),
        ("digits-mlp", "; did you mean 'zoo:digits-mlp'?"),
        ("d.py", "; say which object of the file: 'd.py:NAME'."),
        ("w.pt", "."),
    ],
)
def test_an_unknown_form_gets_its_likely_remedy(spec: str, remedy: str) -> None:
    assert error(spec) == (
        f"{spec}: not data this program knows; write npz:..., zoo:..., text:..., FILE.py:NAME or "
        f"PACKAGE.MODULE:NAME{remedy}"
    )
