from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch

from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.loading.data import load_data
from actprune.loading.model import build_model, load_model
from actprune.loading.resolve import resolve
from actprune.profiling.store import load_profile

CIFAR = str(Path(__file__).parents[2] / "benchmarks" / "cifar.py")
MISSING = [
    name
    for name in ("resnet20-12fca82f.th", "test.npz", "train_10k.npz")
    if not (resolve(f"{CIFAR}:assets").value() / "cifar10" / name).is_file()
]
needs_assets = pytest.mark.skipif(bool(MISSING), reason=f"no assets here: {', '.join(MISSING)}")


def test_the_shortcut_subsamples_and_pads_with_zeros() -> None:
    block = resolve(f"{CIFAR}:CifarBlock").value(2, 4, 2).eval()
    torch.nn.init.zeros_(block.bn2.weight)  # leaves the shortcut alone
    x = torch.arange(1.0, 33.0).view(1, 2, 4, 4)
    y = block(x)
    assert y.shape == (1, 4, 2, 2)
    assert y[0, 0].eq(0).all()
    assert y[0, 3].eq(0).all()
    assert y[0, 1].tolist() == [[1, 3], [9, 11]]
    assert y[0, 2].tolist() == [[17, 19], [25, 27]]


def test_names_and_size_are_those_of_the_paper() -> None:
    model = build_model(f"{CIFAR}:resnet20_net")
    assert sum(p.numel() for p in model.parameters()) == 269_722  # "0.27M"
    names = {n.rpartition(".")[0] for n, _ in model.named_parameters()}
    blocks = [f"layer{s}.{i}.{m}" for s in (1, 2, 3) for i in range(3) for m in MODULES]
    assert names == {"conv1", "bn1", "linear", *blocks}


MODULES = ("conv1", "bn1", "conv2", "bn2")


@needs_assets
def test_resnet20_is_right_on_91_6_percent_of_the_first_500_images() -> None:
    model = load_model(f"{CIFAR}:resnet20").model
    data = resolve(f"{CIFAR}:test").value(0, 500)
    assert data.spec == "cifar10-test[0:500]"
    with torch.no_grad():
        right = sum(int((b.run(model).argmax(1) == b.labels).sum()) for b in data.batches())
    assert right == pytest.approx(458, abs=1)  # 9,173 of all 10,000; 1 for other arithmetic


@needs_assets
def test_resnet56_takes_its_weights_on_the_command_line(tmp_path: Path) -> None:
    weights = resolve(f"{CIFAR}:assets").value() / "cifar10" / "resnet56-4bfd9763.th"
    if not weights.is_file():
        pytest.skip(f"no assets here: {weights.name}")
    (script,) = entry_points(group="console_scripts", name="actprune")
    out = tmp_path / "P.safetensors"
    with pytest.raises(SystemExit) as e:
        script.load()(["profile", f"{CIFAR}:resnet56_net", "--weights", str(weights), "--data",
                       f"{CIFAR}:train", "--samples", "96", "-o", str(out)])  # fmt: skip
    assert not e.value.code
    kinds = [s.site.kind for s in load_profile(out).sites]
    assert (kinds.count("conv"), kinds.count("residual")) == (27, 1)  # inside blocks; the stream


@needs_assets
def test_training_images_are_a_seeded_nested_choice() -> None:
    train = resolve(f"{CIFAR}:train").value
    small, large, other = train(8), train(16), train(8, seed=1)
    assert (small.spec, other.spec) == ("cifar10-train[8]", "cifar10-train[8]@1")
    assert torch.equal(small.inputs[0], large.inputs[0][:8])
    assert not torch.equal(small.inputs[0], other.inputs[0])
    assert small.inputs[0].shape == (8, 3, 32, 32)
    default = load_data(f"{CIFAR}:train")
    assert isinstance(default, Arrays)
    assert (default.spec, len(default.ids)) == ("cifar10-train[2048]", 2048)
    # normalized: about zero mean and unit variance over images, as the constants intend
    assert default.inputs[0].mean().abs() < 0.3
    assert 0.8 < default.inputs[0].std() < 1.3


@needs_assets
def test_choices_out_of_range_are_refused() -> None:
    with pytest.raises(ActpruneError, match=r"^train: n must satisfy 1 <= n <= 10000, got 0\.$"):
        resolve(f"{CIFAR}:train").value(0)
    with pytest.raises(ActpruneError, match=r"^test: must satisfy .* got 5 and 5\.$"):
        resolve(f"{CIFAR}:test").value(5, 5)


def test_missing_assets_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTPRUNE_ASSETS", str(tmp_path))
    with pytest.raises(ActpruneError) as e:
        load_model(f"{CIFAR}:resnet56")
    assert str(e.value) == (
        f"{tmp_path}/cifar10/resnet56-4bfd9763.th: no such file; "
        f"set ACTPRUNE_ASSETS to the folder of assets."
    )
