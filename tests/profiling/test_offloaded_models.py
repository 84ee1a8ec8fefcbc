"""Models whose weights accelerate keeps elsewhere and moves in, layer by layer, as they run."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from profile_checks import assert_same_counts
from torch import Tensor, nn

from actprune.errors import ActpruneError
from actprune.planning.plan import plan
from actprune.profiling.collect import profile
from actprune.pruning.prune import prune
from actprune.running.hashing import model_hash
from actprune.sites.census import static_cost
from actprune.verifying.verify import verify

accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")


def normed() -> nn.Module:
    """Convolutions, normalizations with and without weights, a buffer that is not saved."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 3, 1),
        nn.BatchNorm2d(3, affine=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 5),
        nn.ReLU(),
        nn.Linear(5, 2),
    )
    model.register_buffer("unsaved", torch.ones(2), persistent=False)
    return model.requires_grad_(False).eval()


Offload = Callable[[nn.Module, Path], nn.Module]

WAYS: dict[str, Offload] = {
    "cpu": lambda m, _: accelerate.cpu_offload(m),
    "cpu, buffers too": lambda m, _: accelerate.cpu_offload(m, offload_buffers=True),
    "cpu, all at once": lambda m, _: accelerate.cpu_offload(
        m, preload_module_classes=["Sequential"]
    ),
    "disk": lambda m, folder: accelerate.disk_offload(m, str(folder)),
    "disk, buffers too": lambda m, folder: accelerate.disk_offload(
        m, str(folder), offload_buffers=True
    ),
    "by a device map": lambda m, folder: accelerate.dispatch_model(
        m,
        {name: "disk" if i % 2 else "cpu" for i, (name, _) in enumerate(m.named_children())},
        main_device="cpu",
        offload_dir=str(folder),
        force_hooks=True,
    ),
}


@pytest.mark.parametrize("away", WAYS.values(), ids=WAYS.keys())
def test_an_offloaded_model_profiles_as_the_plain_one(
    away: Offload, images: Tensor, tmp_path: Path
) -> None:
    model = normed()
    plain = profile(model, images, gram=True)
    assert [s.site.name for s in plain.sites] == ["0", "3", "7"]
    offloaded = away(copy.deepcopy(model), tmp_path)
    assert any(p.is_meta for p in offloaded.parameters())
    before = [(n, p.device, p.requires_grad) for n, p in offloaded.named_parameters()]

    p = profile(offloaded, images, gram=True)

    assert_same_counts(p, plain)
    assert p.identity == plain.identity
    assert (p.census, p.refusals) == (plain.census, plain.refusals)
    after = [(n, p.device, p.requires_grad) for n, p in offloaded.named_parameters()]
    assert after == before
    assert torch.equal(offloaded(images), model(images))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_hash_is_that_of_the_weights_wherever_they_are(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    model = normed().to(dtype)
    expected = model_hash(model)
    for i, away in enumerate(WAYS.values()):
        assert model_hash(away(copy.deepcopy(model), tmp_path / str(i))) == expected


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = (nn.Linear(4, 4, bias=False) for _ in range(3))
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.middle(torch.relu(self.first(x)))))


@pytest.mark.parametrize("away", [WAYS["cpu"], WAYS["disk"]], ids=["cpu", "disk"])
def test_a_weight_of_two_layers_is_still_one_weight(
    away: Offload, vectors: Tensor, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = Tied().eval()
    plain = profile(model, vectors)
    offloaded = away(copy.deepcopy(model), tmp_path)
    offloaded(vectors)
    assert static_cost(offloaded) == static_cost(model)
    p = profile(offloaded, vectors)
    assert_same_counts(p, plain)
    assert p.refusals == plain.refusals
    assert "first shares a parameter with another layer" in {r.reason for r in p.refusals} | {
        s.site.obstacle for s in p.sites
    }


def test_plan_and_prune_want_the_weights_at_hand(mlp: nn.Module, vectors: Tensor) -> None:
    p = profile(mlp, vectors, gram=True)
    planned = plan(mlp, p, "units=50%")
    small = prune(mlp, planned, p)
    offloaded = accelerate.cpu_offload(copy.deepcopy(mlp))
    for refused in (
        lambda: plan(offloaded, p, "units=50%"),
        lambda: prune(offloaded, planned, p),
    ):
        with pytest.raises(ActpruneError, match="load it again without off-loading, the profile"):
            refused()
    assert verify(offloaded, small, planned, vectors).after.params == static_cost(small).params


def test_weights_that_are_nowhere_are_named(mlp: nn.Module, vectors: Tensor) -> None:
    with pytest.raises(ActpruneError, match=r"0\.bias is on the meta device, without values"):
        model_hash(mlp.to("meta"))
    with pytest.raises(ActpruneError, match=r"0\.weight is on the meta device, without values"):
        profile(mlp, vectors)
