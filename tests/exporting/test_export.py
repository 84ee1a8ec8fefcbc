"""What an export promises besides equal logits, and what it refuses."""

from __future__ import annotations

import importlib.util
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import actprune
from actprune.errors import ActpruneError
from actprune.exporting import onnx_file
from actprune.exporting.result import Exported


class Own(OrderedDict):
    """An output of a library's own class."""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 3), nn.BatchNorm1d(3)

    def forward(self, x: Tensor, *, shift: Tensor, scale: float = 2.0) -> Any:
        y = self.norm(self.linear(x))
        return {"logits": y * scale, "more": (y + shift, y)}


class Wrapping(Net):
    def forward(self, x: Tensor, *, shift: Tensor, scale: float = 2.0) -> Any:
        return Own(super().forward(x, shift=shift, scale=scale))


class Noisy(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + torch.rand_like(input[:, :1])


class Branching(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) if input.sum() > 0 else input


class Fixed(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) if input.shape[0] < 6 else input


class Bessel(nn.Linear):
    """Its operator has no ONNX form."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.special.bessel_j0(super().forward(input))


def mappings(n: int = 6) -> list[dict[str, Any]]:
    torch.manual_seed(1)
    return [{"x": torch.randn(n, 4), "shift": torch.randn(n, 1), "scale": 3.0}]


def refusal(call: Callable[[], Any], folder: Path) -> str:
    """The one line that is said; nothing may be left in `folder`."""
    with pytest.raises(ActpruneError) as e:
        call()
    assert not list(folder.iterdir())
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
@pytest.mark.parametrize("make", [Net, Wrapping])
def test_keyword_inputs_and_nested_outputs(kind: Any, make: type[Net], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = make().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    made = actprune.export(model, tmp_path / "m", mappings(), kind=kind)
    assert isinstance(made, Exported)
    assert (made.kind, made.samples, made.batch_sizes) == (kind, 6, (1, 6))
    assert made.difference <= made.limit == 1e-4 * max(1, made.largest)
    assert made.tensor_bytes == 4 * (12 + 3 + 4 * 3) + 8  # num_batches_tracked is one int64
    assert model.training  # nothing happened to it
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    batch = mappings(3)[0]
    model.eval()
    with torch.no_grad():
        want = model(**batch)
    wanted = [want["logits"], *want["more"]]
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(made.path)
        assert [(i.name, i.shape) for i in session.get_inputs()] == [
            ("x", ["batch", 4]),
            ("shift", ["batch", 1]),
        ]
        found = session.run(None, {k: v.numpy() for k, v in batch.items() if k != "scale"})
        assert made.opset is not None
    else:
        out = torch.export.load(made.path).module()(**batch)
        found = [out["logits"], *out["more"]] if make is Net else list(out)
        assert made.opset is None
    for x, y in zip(found, wanted, strict=True):
        # float32 sums of 4 terms of order 1
        torch.testing.assert_close(torch.as_tensor(x), y, rtol=0, atol=1e-5)


def test_a_pt2_file_holds_no_sample_and_nothing_pickled(tmp_path: Path) -> None:
    marked = torch.full((5, 4), 3.140625)
    model = nn.Linear(4, 3).eval()
    actprune.export(model, tmp_path / "m.pt2", [marked])
    needle = marked.numpy().tobytes()[:8]  # the same value twice, as in no weight
    with zipfile.ZipFile(tmp_path / "m.pt2") as file:
        for name in file.namelist():
            content = file.read(name)
            assert needle not in content, name
            assert not content.startswith(b"\x80"), name  # as pickles of protocol 2 and later do
            assert not name.endswith(".pkl")


def test_one_sample_is_enough(tmp_path: Path) -> None:
    made = actprune.export(nn.Linear(4, 3), tmp_path / "m.pt2", [torch.randn(1, 4)])
    assert (made.samples, made.batch_sizes) == (1, (1,))
    assert torch.export.load(made.path).module()(torch.randn(9, 4)).shape == (9, 3)


def test_a_file_is_replaced_only_by_one_that_was_checked(tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    path.write_text("mine")
    with pytest.raises(ActpruneError, match="not written, since its outputs differ"):
        actprune.export(Noisy(4, 3), path, [torch.randn(6, 4)])
    assert path.read_text() == "mine"
    actprune.export(nn.Linear(4, 3), path, [torch.randn(6, 4)])
    assert path.read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("model", "name", "said"),
    [
        (Noisy(4, 3), "m.pt2", "m.pt2: not written, since its outputs differ from torch's by up"),
        (Branching(4, 3), "m.pt2", "The model cannot be exported for batches of any size: "),
        (Fixed(4, 3), "m.pt2", "The model cannot be exported for batches of any size: "),
        (nn.Linear(5, 3), "m.pt2", "The model cannot run on the data: inputs of shape [(1, 4)]"),
        (nn.Linear(4, 3).half(), "m.pt2", "weight is float16: exports are checked against torch"),
        (nn.Linear(4, 3), "m.tflite", "m.tflite: not a format to export to; end the file's name"),
        (nn.Linear(4, 3), "no/m.pt2", "no/m.pt2: there is no folder "),
        (Bessel(4, 3), "m.onnx", "onnx: the model cannot be converted: "),
    ],
    ids=["noisy", "branching", "fixed", "misfit", "half", "suffix", "folder", "operator"],
)
def test_what_cannot_be_exported_is_told_in_one_line(
    model: nn.Module, name: str, said: str, tmp_path: Path
) -> None:
    if name.endswith("onnx"):
        pytest.importorskip("onnxruntime")
    data = [torch.randn(8, 4)]
    assert said in refusal(lambda: actprune.export(model, tmp_path / name, data), tmp_path)


def test_no_data_and_another_kind_are_refused(tmp_path: Path) -> None:
    model = nn.Linear(4, 3)
    line = refusal(lambda: actprune.export(model, tmp_path / "m.pt2", []), tmp_path)
    assert line == "loader: the data are empty; give at least one sample."
    kind: Any = "tflite"
    data = [torch.randn(2, 4)]
    line = refusal(lambda: actprune.export(model, tmp_path / "m.pt2", data, kind=kind), tmp_path)
    assert line.startswith("kind 'tflite': not a format to export to; ")


def test_a_missing_package_is_named_with_the_extra_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec

    def without(name: str) -> Any:
        return None if name == "onnxscript" else real(name)

    monkeypatch.setattr(onnx_file.importlib.util, "find_spec", without)
    data = [torch.randn(2, 4)]
    line = refusal(lambda: actprune.export(nn.Linear(4, 3), tmp_path / "m.onnx", data), tmp_path)
    assert line == (
        'onnx: needs the package onnxscript; install it with pip install "actprune[export]".'
    )
