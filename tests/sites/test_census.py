from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from site_models import (
    IMAGES,
    TOKENS,
    VECTORS,
    concatenated,
    encoder,
    flattened_cnn,
    mlp,
    normed_cnn,
    residual,
)
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from actprune.data.batch import as_batch
from actprune.pruning.surgery import add_biases, shrink
from actprune.refit.masks import without_compensation
from actprune.running.state import undisturbed
from actprune.sites.census import Cost, static_cost, take_census
from actprune.sites.cut import Cut
from actprune.sites.find import Survey, survey

MODELS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "mlp": (mlp, VECTORS),
    "normed cnn": (normed_cnn, IMAGES),
    "flattened cnn": (flattened_cnn, IMAGES),
    "residual": (residual, IMAGES),
    "concatenated": (concatenated, IMAGES),
    "transformer layer": (encoder, TOKENS),
    "double precision": (lambda: flattened_cnn().double(), IMAGES.double()),
}


def measured(model: nn.Module, x: Tensor) -> Cost:
    """The cost of a model as it stands: counted on its own tensors and in one real pass."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the counter does not know the fused kernels
    plain = sdpa_kernel(SDPBackend.MATH)
    with torch.no_grad(), plain, FlopCounterMode(display=False) as counter:
        copy.deepcopy(model).eval()(x)
    torch.backends.mha.set_fastpath_enabled(before)
    return Cost(
        params=sum(p.numel() for p in model.parameters()),
        macs=counter.get_total_flops() / 2 / len(x),
        bytes=sum(t.numel() * t.element_size() for t in model.state_dict().values()),
    )


def cuts(found: Survey) -> list[dict[str, list[int]]]:
    """Nothing; each site alone; all sites, by one, by half and to the last unit."""
    sites = found.sites
    alone = [{s.name: [0]} for s in sites]
    half = {s.name: list(range(0, s.units, 2)) for s in sites}
    last = {s.name: list(range(1, s.units)) for s in sites}
    return [{}, *alone, {s.name: [s.units - 1] for s in sites}, half, last]


def pruned(model: nn.Module, found: Survey, cut: Cut, *, adds_bias: bool) -> nn.Module:
    small = copy.deepcopy(model)
    if adds_bias:
        consumers = [c for s in found.sites if cut.removes(s) for c in s.consumers]
        add_biases(small, [c.module for c in consumers if not c.norms_after])
    shrink(small, found.sites, cut, without_compensation(small, found.sites, cut))
    return small


@pytest.mark.parametrize("adds_bias", [False, True])
@pytest.mark.parametrize(("build", "x"), MODELS.values(), ids=MODELS.keys())
def test_the_cost_of_a_cut_is_that_of_the_pruned_model(
    build: Callable[[], nn.Module], x: Tensor, adds_bias: bool
) -> None:
    model = build()
    found = survey(model, as_batch(x, 0))
    assert found.sites
    for removed in cuts(found):
        cut = Cut.removing(found.sites, removed)
        small = pruned(model, found, cut, adds_bias=adds_bias)

        cost, real = found.census.cost(found.sites, cut, adds_bias=adds_bias), measured(small, x)

        assert (cost.params, cost.bytes) == (real.params, real.bytes)
        # MACs are integers below 2^53; the census multiplies fractions of them, a rounding each
        # for at most 2 x 4 layers
        eps = torch.finfo(torch.float64).eps
        assert cost.macs == pytest.approx(real.macs, rel=8 * 4 * eps)


@pytest.mark.parametrize(("build", "x"), MODELS.values(), ids=MODELS.keys())
def test_the_dense_cost_is_the_measured_one_at_any_batch_size(
    build: Callable[[], nn.Module], x: Tensor
) -> None:
    model = build()
    for n in (1, 3, 4):
        assert survey(model, as_batch(x[:n], 0)).census.dense == measured(model, x)


def test_bytes_follow_the_types_of_the_tensors() -> None:
    model = flattened_cnn()
    model.get_submodule("8").bfloat16()  # runs nowhere: only counted
    saved = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    assert static_cost(model).bytes == saved


def test_an_added_bias_has_its_weights_type() -> None:
    model = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
    found = survey(model, as_batch(VECTORS.double(), 0))
    cut = Cut.removing(found.sites, {"0": [0]})
    with_bias, without = (found.census.cost(found.sites, cut, adds_bias=b) for b in (True, False))
    assert (with_bias.params - without.params, with_bias.bytes - without.bytes) == (3, 24)


def test_tied_tensors_count_once_and_unsaved_buffers_not_at_all() -> None:
    model = nn.Module()
    model.a, model.b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    model.b.weight = model.a.weight
    model.register_buffer("saved", torch.zeros(5))
    model.register_buffer("cache", torch.zeros(100), persistent=False)
    assert static_cost(model) == Cost(params=9, macs=0.0, bytes=4 * (9 + 5))


def test_a_census_leaves_no_hooks_when_the_model_fails() -> None:
    model = mlp()
    with pytest.raises(RuntimeError), undisturbed(model):
        take_census(model, as_batch(IMAGES, 0), ["0", "2"])
    assert not any(m._forward_hooks for m in model.modules())


def test_the_census_holds_the_layers_of_the_sites_only() -> None:
    model = residual()
    model.add_module("tail", nn.Linear(4, 2))
    model.run = lambda m, x, run=model.run: m.tail(run(m, x).softmax(-1))  # pyright: ignore
    census = survey(model, as_batch(IMAGES, 0)).census
    assert sorted(census.layers) == ["conv1", "conv2", "head", "norm1", "norm2", "stem"]
