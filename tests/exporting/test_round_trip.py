"""Every MLP and CNN: cut, save, load in another process, fine-tune, export; the same logits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cuts import Cut, outputs
from safetensors.torch import load_file, save_file
from torch import Tensor

import actprune
from actprune.errors import ActpruneError
from actprune.exporting.result import LIMIT

ELSEWHERE = """
import json, sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("actprune", "torch_pruning"):
            raise ImportError(f"{name} is not to be had here")


import torch
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)
torch.set_grad_enabled(False)
sys.meta_path.insert(0, Blocked())
folders = json.loads(sys.argv[1])  # spec -> folder
x = {spec: load_file(f"{folder}/x.safetensors")["x"] for spec, folder in folders.items()}
found = {spec: {} for spec in folders}
for spec, folder in folders.items():
    module = torch.export.load(f"{folder}/model.pt2").module()
    found[spec].update(pt2=module(x[spec]), pt2_one=module(x[spec][:1]))
assert not [m for m in sys.modules if m.startswith("actprune")]
sys.meta_path.pop(0)
import actprune
from actprune.loading.model import build_model

for spec, folder in folders.items():
    factory = None if spec.startswith("zoo:") else lambda: build_model(spec)
    model = actprune.load(folder, factory=factory)
    assert not model.training
    found[spec]["loaded"] = model(x[spec])
    save_file(found[spec], f"{folder}/y.safetensors")
"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums split over threads would differ in their last bits between processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def elsewhere(cuts: dict[str, Cut]) -> dict[str, dict[str, Tensor]]:
    """Logits by spec from a fresh process: of model.pt2, before actprune can be imported, and of
    the folder as loaded."""
    for cut in cuts.values():
        save_file({"x": cut.x.contiguous()}, cut.folder / "x.safetensors")
        actprune.export(cut.small, cut.folder / "model.pt2", [cut.x])
    folders = json.dumps({spec: str(cut.folder) for spec, cut in cuts.items()})
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, folders], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {spec: load_file(cut.folder / "y.safetensors") for spec, cut in cuts.items()}


def test_a_fresh_process_loads_equal_logits(
    cut: Cut, elsewhere: dict[str, dict[str, Tensor]]
) -> None:
    # the same kernels on the same bits, on one thread
    assert torch.equal(elsewhere[cut.spec]["loaded"], cut.logits())
    assert not torch.equal(cut.logits(), outputs(cut.dense, cut.x))
    dense, small = (sum(p.numel() for p in m.parameters()) for m in (cut.dense, cut.small))
    assert small < dense


def test_pt2_agrees_where_actprune_cannot_be_imported(
    cut: Cut, elsewhere: dict[str, dict[str, Tensor]]
) -> None:
    found = elsewhere[cut.spec]
    assert float((found["pt2"] - cut.logits()).abs().max()) <= LIMIT
    assert float((found["pt2_one"] - outputs(cut.small, cut.x[:1])).abs().max()) <= LIMIT


def test_it_loads_with_the_users_own_fine_tuned_weights(cut: Cut, tmp_path: Path) -> None:
    tuned = actprune.load(cut.folder, factory=cut.factory).train()
    optimizer = torch.optim.SGD(tuned.parameters(), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        tuned(cut.x).square().mean().backward()
        optimizer.step()
    tuned.eval()
    own = tmp_path / "tuned.safetensors"
    save_file({k: v.contiguous() for k, v in tuned.state_dict().items()}, own)
    loaded = actprune.load(cut.folder, factory=cut.factory, weights=own)
    assert torch.equal(outputs(loaded, cut.x), outputs(tuned, cut.x))
    assert not torch.equal(outputs(loaded, cut.x), cut.logits())


def test_onnx_agrees_to_one_in_ten_thousand(cut: Cut, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    made = actprune.export(cut.small, tmp_path / "model.onnx", [cut.x])
    session = onnxruntime.InferenceSession(made.path, providers=["CPUExecutionProvider"])
    (name,) = (i.name for i in session.get_inputs())
    for n in (1, 7, 40):  # 7: a size that export did not check
        (y,) = session.run(None, {name: cut.x[:n].numpy()})
        assert float((torch.from_numpy(y) - outputs(cut.small, cut.x[:n])).abs().max()) <= LIMIT
    assert made.batch_sizes == (1, 40)
    assert made.difference <= LIMIT
    assert made.bytes == made.path.stat().st_size


def test_a_network_of_the_users_own_needs_its_factory(cut: Cut) -> None:
    if cut.factory is None:
        actprune.load(cut.folder)
        return
    with pytest.raises(ActpruneError, match="pass factory=, the function that builds"):
        actprune.load(cut.folder)
