"""A pruned model on disk loads elsewhere, and nothing damaged is taken for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import actprune
from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.planning.plan import plan
from actprune.profiling.collect import profile
from actprune.pruning.prune import prune
from actprune.pruning.saved import read_manifest, save_pruned
from actprune.zoo import ZOO


class Net(nn.Module):
    """A tied pair, a normalized site and a consumer without a bias."""

    def __init__(self, width: int = 12, depth: int = 1) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
        self.b.weight = self.a.weight
        self.c, self.n = nn.Linear(6, width), nn.BatchNorm1d(width)
        self.d = nn.Linear(width, 3, bias=False)
        self.rest = nn.ModuleList(nn.Linear(3, 3) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        x = self.d(self.n(self.c(self.b(self.a(x).relu()))).relu())
        for layer in self.rest:
            x = x + layer(x)  # a stream: only `c` can be cut
        return x


class Other(Net):
    pass


def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


def samples() -> Tensor:
    return torch.randn(120, 6, generator=torch.Generator().manual_seed(0))


def saved(folder: Path, dense: nn.Module, x: Tensor, spec: str) -> nn.Module:
    data = Arrays.of(x)
    seen = profile(dense, data, spec=spec)
    made = plan(dense, seen, "units=40%", batches=data, probes=False)
    small = prune(dense, made, batches=data)
    folder.mkdir(exist_ok=True)
    save_pruned(small, dense, made, folder)
    return small


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    saved(tmp_path / "out", net(), samples(), "net.py:net")
    return tmp_path / "out"


@torch.no_grad()
def outputs(model: nn.Module) -> Tensor:
    return model(samples())


def test_the_files_are_tensors_and_json(folder: Path) -> None:
    assert {f.name for f in folder.iterdir()} == {"actprune.json", "model.safetensors"}
    manifest = json.loads((folder / "actprune.json").read_text())
    assert manifest["schema"] == 1
    assert (manifest["model"]["spec"], manifest["architecture"]) == ("net.py:net", "Net")
    assert [s["site"]["name"] for s in manifest["sites"]] == ["c"]
    assert len(manifest["sites"][0]["kept"]) == 4
    assert manifest["new_biases"] == ["d"]
    assert read_manifest(folder).model_dump(mode="json", by_alias=True) == manifest
    state = load_file(folder / "model.safetensors")
    assert state["d.weight"].shape == (3, 4)
    assert "b.weight" not in state  # tied to a.weight


def test_it_loads_with_its_factory_and_ties_again(folder: Path) -> None:
    made = saved(folder, net(), samples(), "net.py:net")
    loaded = actprune.load(folder, factory=Net)  # other random weights
    assert not loaded.training
    assert torch.equal(outputs(loaded), outputs(made))
    assert loaded.get_parameter("a.weight") is loaded.get_parameter("b.weight")
    assert actprune.load(str(folder), factory=net).state_dict().keys() == made.state_dict().keys()


def test_ones_own_weights_can_be_loaded_instead(folder: Path, tmp_path: Path) -> None:
    tuned = actprune.load(folder, factory=Net).train()
    optimizer = torch.optim.SGD(tuned.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        tuned(samples()).square().mean().backward()
        optimizer.step()
    tuned.eval()
    state = {k: v.clone() for k, v in tuned.state_dict().items()}
    save_file(state, tmp_path / "tuned.safetensors")
    loaded = actprune.load(folder, factory=Net, weights=tmp_path / "tuned.safetensors")
    assert torch.equal(outputs(loaded), outputs(tuned))
    assert not torch.equal(outputs(loaded), outputs(actprune.load(folder, factory=Net)))


FRESH = """
import sys, torch, actprune
torch.set_num_threads(1)
folder, factory, x, out = sys.argv[1:]
if factory:
    sys.path.insert(0, factory)
    import net
    model = actprune.load(folder, factory=net.make)
else:
    model = actprune.load(folder)
with torch.no_grad():
    torch.save(model(torch.load(x)), out)
"""

USERS = """
from torch import nn


def make():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 36, 16), nn.GELU(), nn.Linear(16, 4),
    )
"""


def in_a_new_process(folder: Path, factory: str, x: Tensor) -> Tensor:
    torch.save(x, folder / "x.pt")
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(folder), factory,
         str(folder / "x.pt"), str(folder / "y.pt")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "y.pt")


@pytest.mark.parametrize("name", ["digits-mlp", "digits-cnn"])
def test_a_zoo_model_loads_alone_in_a_new_process(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    dense = ZOO[name].build().eval()  # untrained will do
    (batch,) = ZOO[name].data().batches(10_000)
    x = batch.args[0][:300]
    small = saved(tmp_path, dense, x, f"zoo:{name}")
    with torch.no_grad():
        # the same float32 sums of order 1, perhaps on another number of threads
        torch.testing.assert_close(in_a_new_process(tmp_path, "", x), small(x), rtol=0, atol=1e-6)


def test_a_users_model_loads_with_its_factory_in_a_new_process(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "net.py").write_text(USERS)
    namespace: dict = {}
    exec(USERS, namespace)
    torch.manual_seed(0)
    dense = namespace["make"]().eval()
    x = torch.randn(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    small = saved(tmp_path / "out", dense, x, "net.py:make")
    with torch.no_grad():
        found = in_a_new_process(tmp_path / "out", str(code), x)
        torch.testing.assert_close(found, small(x), rtol=0, atol=1e-6)  # as above


def test_tensors_that_are_views_of_one_another_can_be_saved(tmp_path: Path) -> None:
    class Viewing(Net):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("first", self.a.weight.detach()[0])

    torch.manual_seed(0)
    small = saved(tmp_path / "v", Viewing().eval(), samples(), "net.py:view")
    loaded = actprune.load(tmp_path / "v", factory=Viewing)
    assert torch.equal(outputs(loaded), outputs(small))


def refusal(folder: Path, factory: Callable | None = Net, **options) -> str:
    with pytest.raises(ActpruneError) as e:
        actprune.load(folder, factory=factory, **options)
    assert "\n" not in str(e.value)
    return str(e.value)


def test_a_factory_is_asked_for_and_never_run_from_the_file(folder: Path) -> None:
    assert refusal(folder, None) == (
        f"{folder}: pruned from 'net.py:net', which is not run from a file; pass factory=, the "
        "function that builds the dense model."
    )


def test_another_architecture_is_refused(folder: Path) -> None:
    assert refusal(folder, Other) == (
        f"{folder}: saved from a Net, but the factory returns a Other; pass the factory of the "
        "dense model."
    )
    assert "but the factory returns a int" in refusal(folder, lambda: 3)
    weights = folder / "model.safetensors"
    wide = refusal(folder, lambda: Net(width=13))
    assert wide.startswith(f"{weights}: c.bias has shape (4,), the pruned model needs (5,).") or (
        wide.startswith(f"{weights}: c.weight has shape (4, 6), the pruned model needs (5, 6).")
    )
    deep = refusal(folder, lambda: Net(depth=2))
    assert deep == (
        f"{weights}: tensors do not fit the pruned model; missing ['rest.1.weight', "
        "'rest.1.bias'], unexpected []."
    )
    shallow = refusal(folder, lambda: Net(depth=0))
    assert "missing [], unexpected ['rest.0.bias', 'rest.0.weight']." in shallow
    narrow = refusal(folder, lambda: Net(width=5))
    assert "the pruned model needs" in narrow


def test_a_model_of_the_same_name_without_the_layers_is_refused(folder: Path) -> None:
    other = type("Net", (nn.Module,), {})
    message = refusal(folder, other)
    assert message.startswith(
        f"{folder}: the factory's model does not have the layers that were pruned (AttributeError: "
    )


def _change(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def test_a_damaged_manifest_is_refused(folder: Path) -> None:
    path = folder / "actprune.json"
    whole = path.read_bytes()
    for old, new, said in (
        (b'"sites"', b'"sights"', "not a valid manifest: sites: Field required."),
        (b'"schema": 1', b'"schema": 7', "not a valid manifest: schema: Input should be 1."),
        (whole[100:], b"", "not a valid manifest: document: Invalid JSON: "),
        (whole[:1], b"\xff\xfe", "not a valid manifest: document: Invalid JSON: "),
        (b'"new_biases": [', b'"new_biases": ["x",', "the factory's model does not have the"),
        (b'"module": "c"', b'"module": "q"', "the factory's model does not have the layers"),
    ):
        path.write_bytes(whole)
        _change(path, old, new)
        assert said in refusal(folder)
    path.unlink()
    assert refusal(folder) == (
        f"{path}: cannot be read (No such file or directory); give a folder written by `actprune "
        "prune`."
    )


def test_tampered_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    changed = (
        f"{path}: not the file that was saved with actprune.json; pass your own weights with "
        "weights=."
    )
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert refusal(folder) == changed
    path.write_bytes(whole[:200])
    assert refusal(folder) == changed
    cut_short = refusal(folder, weights=path)
    assert cut_short.startswith(f"{path}: not a readable safetensors file (")
    path.unlink()
    assert refusal(folder).startswith(f"{path}: not a readable safetensors file ([Errno 2]")


def test_weights_of_another_shape_are_refused(folder: Path, tmp_path: Path) -> None:
    save_file(dict(net().state_dict(), **{"b.weight": torch.zeros(6, 6)}), tmp_path / "dense.st")
    message = refusal(folder, weights=tmp_path / "dense.st")
    assert "the pruned model needs" in message
    state = load_file(folder / "model.safetensors")
    del state["n.running_mean"]
    save_file({**state, "extra": torch.zeros(1)}, tmp_path / "odd.st")
    assert refusal(folder, weights=tmp_path / "odd.st") == (
        f"{tmp_path / 'odd.st'}: tensors do not fit the pruned model; missing "
        "['n.running_mean'], unexpected ['extra']."
    )
