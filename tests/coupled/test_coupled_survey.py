"""Which units belong together is found, and what cannot be cut is refused with a reason."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch_pruning as tp
from coupled_models import NETS, Block, Mobile, Padded, ResNet, build, conv, images
from torch import Tensor, nn

from actprune.data.batch import as_batch
from actprune.pruning.surgery import shrink
from actprune.refit.masks import without_compensation
from actprune.sites.cut import Cut
from actprune.sites.find import Survey, survey
from actprune.sites.site import Site, Slot


def look(model: nn.Module) -> Survey:
    dtype = next(model.parameters()).dtype
    return survey(model.eval(), as_batch(images(4).to(dtype), 0))


def site(found: Survey, name: str) -> Site:
    (one,) = (s for s in found.sites if s.name == name)
    return one


def slots(found: Survey, name: str) -> list[tuple[str, str, int]]:
    return [(s.module, s.role, s.offset) for s in site(found, name).slots]


def reasons(found: Survey) -> dict[str, str]:
    return {r.layer: r.reason for r in found.refusals}


def kinds(found: Survey) -> dict[str, str]:
    assert all(s.obstacle is None for s in found.sites)
    return {s.name: s.kind for s in found.sites}


def test_a_depthwise_convolution_lies_within_a_site() -> None:
    found = look(build("depthwise"))
    assert kinds(found) == {"stem": "conv", "point": "residual", "up": "conv"}
    assert slots(found, "stem") == [
        ("stem", "producer", 0), ("n0", "norm", 0), ("down", "grouped", 0), ("n1", "norm", 0),
        ("point", "consumer", 0),
    ]  # fmt: skip
    assert site(found, "up").norms_after == ("n5",)
    assert reasons(found)["down"] == "its channels are cut with the units of site stem"


def test_the_stream_of_a_mean_and_a_convolution_has_two_consumers() -> None:
    stream = site(look(build("depthwise")), "point")
    assert [s.module for s in stream.producers] == ["point", "project"]
    assert [s.module for s in stream.consumers] == ["up", "head"]
    assert stream.readers == "up and head"


def test_consumers_of_one_tensor_are_watched_once() -> None:
    one = site(look(build("several readers")), "a")
    assert one.kind == "conv"
    assert [(s.module, s.tensor) for s in one.consumers] == [("b", 0), ("c", 0), ("d", 1)]
    assert [s.module for s in one.watched] == ["b", "d"]


def test_a_block_of_concatenations_has_a_site_for_each_layer() -> None:
    found = look(build("dense block"))
    assert kinds(found) == dict.fromkeys(("stem", "convs.0", "convs.1", "convs.2"), "conv")
    assert [(s.module, s.offset) for s in site(found, "convs.0").consumers] == [
        ("convs.1", 6), ("convs.2", 6), ("head", 6),
    ]  # fmt: skip


def test_a_stage_of_a_resnet_is_one_site_whose_shortcut_is_a_producer() -> None:
    found = look(ResNet())
    stage = site(found, "layer2.0.downsample.0")
    assert stage.kind == "residual"
    assert [s.module for s in stage.producers] == [
        "layer2.0.downsample.0", "layer2.0.conv2", "layer2.1.conv2",
    ]  # fmt: skip
    assert [s.module for s in stage.consumers] == ["layer2.1.conv1", "fc"]
    first = site(found, "conv1")
    readers = {s.module: s.tensor for s in first.consumers}
    assert readers["layer2.0.conv1"] == readers["layer2.0.downsample.0"]  # one tensor, two layers
    assert len(first.watched) == len(first.consumers) - 1
    assert first.consumer.norms_after == ("layer1.0.bn1",)
    together = "it makes the units of site conv1 together with that layer"
    assert reasons(found)["layer1.1.conv2"] == together


def test_padded_channels_carry_a_stream_on_with_an_offset() -> None:
    found = look(Padded())
    assert slots(found, "stem")[:3] == [
        ("stem", "producer", 0), ("b", "producer", 0), ("d", "producer", 1),
    ]  # fmt: skip
    assert [(s.module, s.offset) for s in site(found, "stem").consumers] == [
        ("a", 0), ("c", 0), ("head", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_the_cost_of_a_cut_is_what_torch_pruning_counts_on_the_cut_model(name: str) -> None:
    """Its counter adds a product for each bias and normalized value: differences are of layers."""
    model = build(name)
    found = look(model)
    removed = {s.name: list(range(0, s.units, 2)) for s in found.sites}
    cut = Cut.removing(found.sites, removed)
    small = copy.deepcopy(model)
    shrink(small, found.sites, cut, without_compensation(small, found.sites, cut))
    x = images(1)

    cost = found.census.cost(found.sites, cut)

    assert cost.params == sum(p.numel() for p in small.parameters())
    assert cost.macs == pytest.approx(counted(small, x), rel=1e-12)  # of integers below 2^53
    assert found.census.dense.macs == counted(model, x)


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def counted(model: nn.Module, x: Tensor) -> float:
    """Multiply-accumulates of convolutions and linear layers, by torch-pruning's counter."""
    bare = copy.deepcopy(model)
    for name, module in list(bare.named_modules()):
        if isinstance(module, (nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.AdaptiveAvgPool2d)):
            parent, _, leaf = name.rpartition(".")
            plain = Mean() if isinstance(module, nn.AdaptiveAvgPool2d) else nn.Identity()
            setattr(bare.get_submodule(parent), leaf, plain)
        elif isinstance(module, (nn.Linear, nn.Conv2d)):
            module.register_parameter("bias", None)
    return tp.utils.count_ops_and_params(bare, x)[0]


class Ending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = conv(2, 6), Block(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.stem(x))


class OnImages(nn.Module):
    """A stream that the images themselves are part of."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(2, 2), conv(2, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.b((x + self.a(x)).relu())


class Aside(nn.Module):
    """A stream that also leaves the model by a second output."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(2, 6), conv(6, 6), conv(6, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.a(x)
        h = h + self.b(h.relu())
        return self.c(h), h


REFUSED: dict[str, tuple[Any, str, str]] = {
    "the stream is the output": (Ending, "stem", "its units are the model's output"),
    "a second output": (Aside, "a", "its units reach the output by another way than b and c"),
    "images in the stream": (OnImages, "a", "the model's code fixes their number"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "layer", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_stays_refused_says_why(make: Any, layer: str, why: str) -> None:
    torch.manual_seed(0)
    found = look(make())
    assert layer not in {s.name for s in found.sites}
    assert why in reasons(found)[layer]


def test_a_site_from_when_there_was_one_consumer_is_read() -> None:
    old = {
        "name": "a", "kind": "conv", "units": 3, "norms_after": ["n"], "obstacle": None,
        "flat": False,
        "slots": [
            {"module": "a", "role": "producer", "offset": 0, "repeat": 1},
            {"module": "b", "role": "consumer", "offset": 0, "repeat": 1},
        ],
    }  # fmt: skip
    read = Site.model_validate(old)
    assert read.norms_after == ("n",)
    assert read == Site(
        name="a", kind="conv", units=3,
        slots=(
            Slot(module="a", role="producer"),
            Slot(module="b", role="consumer", norms_after=("n",)),
        ),
    )  # fmt: skip
    assert Site.model_validate_json(read.model_dump_json()) == read


def test_groups_and_sizes_are_restated() -> None:
    torch.manual_seed(0)
    model = Mobile().double().eval()
    found = look(model)
    cut = Cut.removing(found.sites, {"stem": [1], "up": [0, 3]})
    shrink(model, found.sites, cut, {})
    down, deep = model.down, model.deep
    assert (down.groups, down.in_channels, down.out_channels) == (5, 5, 5)
    assert (deep.groups, deep.in_channels, deep.out_channels) == (8, 8, 8)
    model(images(2))
