from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.loading.data import load_data

X = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "d.npz"


def load(path: Path, **arrays: Any) -> Arrays:
    np.savez(path, **arrays)
    source = load_data(f"npz:{path}")
    assert isinstance(source, Arrays)
    return source


def error(path: Path, **arrays: Any) -> str:
    """The message without its start, which must be the spec."""
    if arrays:
        np.savez(path, **arrays)
    with pytest.raises(ActpruneError) as e:
        load_data(f"npz:{path}")
    message = str(e.value)
    assert "\n" not in message
    assert message.startswith(f"npz:{path}: ")
    return message.removeprefix(f"npz:{path}: ")


def test_inputs_labels_and_spec(path: Path) -> None:
    source = load(path, x=X, x1=X[:, :1], y=np.array([0, 1, 2]))
    (batch,) = source.batches()
    assert source.spec == f"npz:{path}"
    assert [a.tolist() for a in batch.args] == [X.tolist(), X[:, :1].tolist()]
    assert batch.labels is not None
    assert (batch.labels.tolist(), batch.labels.dtype) == ([0, 1, 2], torch.int64)


def test_ten_further_inputs_come_in_the_order_of_their_numbers(path: Path) -> None:
    more = {f"x{i}": np.full(3, i) for i in range(10, 0, -1)}
    source = load(path, **more, x=X)
    assert [int(x[0]) for x in source.inputs[1:]] == list(range(1, 11))
    assert source.labels is None


@pytest.mark.parametrize(
    ("given", "got"),
    [
        ("float64", torch.float32),
        ("float16", torch.float32),
        (">f4", torch.float32),
        ("uint8", torch.int64),
        ("int32", torch.int64),
        ("uint64", torch.int64),
        ("bool", torch.bool),
    ],
)
def test_numbers_are_converted_to_what_models_take(path: Path, given: str, got: Any) -> None:
    source = load(path, x=np.array([[0], [1]]).astype(given))
    assert source.inputs[0].dtype == got
    assert source.inputs[0].tolist() == [[0], [1]]


def test_targets_and_bool_labels(path: Path) -> None:
    targets = load(path, x=X, y=np.ones((3, 4))).labels
    assert targets is not None
    assert (targets.dtype, targets.shape) == (torch.float32, (3, 4))
    labels = load(path, x=X, y=np.array([True, False, True])).labels
    assert labels is not None
    assert labels.dtype == torch.int64


def test_masks_may_hold_infinities(path: Path) -> None:
    assert load(path, x=X, x1=np.full((3, 1), -np.inf)).inputs[1].isneginf().all()


def test_arrays_that_cannot_be_used(path: Path) -> None:
    assert error(path, images=X, y=X) == (
        "no array named 'x' (the model's input), got images, y; "
        "save it with numpy.savez(file, x=..., y=...)."
    )
    assert error(path, x=X, x2=X) == (
        "further inputs must be x1, x2, ... without a gap, got x, x2."
    )
    assert error(path, x=X, labels=X) == (
        "unknown array 'labels', known are x, x1, ..., y; did you mean 'y'?"
    )
    assert error(path, x=X, Y=X) == "unknown array 'Y', known are x, x1, ..., y; did you mean 'y'?"
    assert error(path, x=X, w=X) == "unknown array 'w', known are x, x1, ..., y; leave it out."
    assert error(path, x=X[:0]) == "'x' is empty, shape (0, 2); give samples."
    assert error(path, x=np.float32(3)) == "'x' must have the sample as its first axis, got 0 axes."
    assert error(path, x=X, y=np.arange(4)) == (
        "all arrays must have the same number of samples, got 3 in x, 4 in y."
    )
    for bad in (X.astype(complex), X.astype(str), np.array([2**63], dtype=np.uint64)):
        assert error(path, x=bad) == (
            f"'x' must be float32 (integers where the model embeds them), got {bad.dtype}."
        )


def test_numbers_that_are_none_are_located(path: Path) -> None:
    x = np.zeros((9, 2, 2))
    x[[4, 7], 1, 0] = np.nan
    assert error(path, x=x) == (
        "'x' has NaN in sample 4, the first of 2 such samples; leave them out."
    )
    assert error(path, x=np.array([0.0, 1e300])) == (
        "'x' has an infinity in sample 1, the first of 1 such samples; leave them out."
    )
    assert error(path, x=X, x1=np.array([0, np.nan, 0])).startswith("'x1' has NaN in sample 1,")
    assert error(path, x=X, y=np.array([0, 0, np.inf])).startswith("'y' has an infinity in sample")


def test_files_that_are_no_npz(path: Path) -> None:
    nothing = "not an .npz file, or a damaged one; write it with numpy.savez(file, x=..., y=...)."
    with path.open("wb") as f:
        np.save(f, X)
    assert error(path) == nothing
    path.write_bytes(pickle.dumps({"x": X}))
    assert error(path) == nothing
    path.write_bytes(b"")
    assert error(path) == nothing
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("x", b"text")
    assert error(path) == "'x' is not an array; write it with numpy.savez."


def test_a_damaged_array_is_told(path: Path) -> None:
    np.savez(path, x=np.zeros(1000))
    content = bytearray(path.read_bytes())
    content[4000] ^= 1
    path.write_bytes(content)
    assert error(path) == (
        "cannot be read, it may be damaged: BadZipFile: Bad CRC-32 for file 'x.npy'"
    )


def test_objects_are_not_unpickled(path: Path) -> None:
    assert error(path, x=np.array([{}, []], dtype=object)) == (
        "'x' holds Python objects, which would have to be unpickled and are not read; "
        "save it as an array of numbers."
    )


def test_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "data.npz").touch()
    with pytest.raises(ActpruneError) as e:
        load_data(f"npz:{tmp_path}/dat.npz")
    assert str(e.value) == (
        f"{tmp_path}/dat.npz: no such data file; did you mean {tmp_path}/data.npz?"
    )
