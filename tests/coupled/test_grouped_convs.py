"""Grouped convolutions lose whole groups: what a unit is then, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from coupled_models import build, conv, data, images
from torch import Tensor, nn

from actprune.auditing.audit import audit
from actprune.data.batch import as_batch
from actprune.planning.criteria import CRITERIA
from actprune.planning.evidence import gather
from actprune.planning.plan import plan
from actprune.planning.pricing import prices
from actprune.profiling.collect import profile
from actprune.profiling.live.profiler import Profiler
from actprune.pruning.prune import prune
from actprune.pruning.surgery import shrink
from actprune.refit.masks import without_compensation
from actprune.refit.settings import Compensation
from actprune.running.hooks import watching_inputs
from actprune.running.substitute import substituted
from actprune.sites.cut import Cut
from actprune.sites.find import Survey, survey
from actprune.verifying.verify import verify

MAIN = {"resnext": "blocks.1.a", "groups of several widths": "a"}  # in units of 4 channels


def look(model: nn.Module) -> Survey:
    dtype = next(model.parameters()).dtype
    return survey(model.eval(), as_batch(images(4).to(dtype), 0))


def reasons(found: Survey) -> dict[str, str]:
    return {r.layer: r.reason for r in found.refusals}


def shapes(model: nn.Module, name: str) -> list[tuple[str, str, int, int]]:
    (site,) = (s for s in look(model).sites if s.name == name)
    return [(s.module, s.role, s.offset, s.repeat) for s in site.slots]


def test_a_unit_is_a_group() -> None:
    model = build("resnext")
    assert shapes(model, "blocks.0.a") == [
        ("blocks.0.a", "producer", 0, 2), ("blocks.0.n0", "norm", 0, 2),
        ("blocks.0.b", "grouped", 0, 2), ("blocks.0.n1", "norm", 0, 2),
        ("blocks.0.c", "consumer", 0, 2),
    ]  # fmt: skip
    found = look(model)
    assert {s.name: (s.units, s.producer.repeat) for s in found.sites} == {
        "stem": (6, 1), "blocks.0.a": (6, 2), "blocks.0.c": (8, 1), "blocks.1.a": (4, 4),
        "blocks.2.a": (4, 4),
    }  # fmt: skip
    assert reasons(found)["blocks.0.b"] == "its channels are cut with the units of site blocks.0.a"


def test_groups_of_several_widths_make_one_unit_of_all_that_they_join() -> None:
    """`second` reads 6 channels of `first` at a time, which are 2 groups of 2 channels of `a`."""
    model = build("groups of several widths")
    assert sorted(shapes(model, "a")) == sorted([
        ("a", "producer", 0, 4), ("first", "grouped", 0, 6), ("n", "norm", 0, 6),
        ("second", "grouped", 0, 4), ("other", "grouped", 0, 2), ("point", "consumer", 0, 2),
        ("head", "consumer", 0, 4 * 36),
    ])  # fmt: skip
    assert sorted(shapes(model, "b")) == sorted([
        ("b", "producer", 0, 4), ("first", "grouped", 18, 6), ("n", "norm", 18, 6),
        ("second", "grouped", 12, 4), ("head", "consumer", 12 * 36, 4 * 36),
    ])  # fmt: skip
    assert reasons(look(model))["first"] == "its channels are cut with the units of sites a and b"


class OnStream(nn.Module):
    """A grouped convolution that reads a stream, another that adds to it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.read, self.point = conv(2, 12), conv(12, 12, groups=6), conv(12, 12, 1)
        self.add, self.head = conv(12, 12, groups=4), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.point(self.read(x).relu())
        x = x + self.add(x.relu())
        return self.head(x.relu().mean((2, 3)))


def test_a_stream_goes_in_the_groups_of_all_that_read_or_add_to_it() -> None:
    """Groups of 2 and of 3 channels: units of 6."""
    torch.manual_seed(0)
    found = look(OnStream())
    (site,) = found.sites
    assert (site.kind, site.units, site.producer.repeat) == ("residual", 2, 6)
    assert [s.module for s in site.producers] == ["stem", "point"]
    assert {s.module for s in site.slots if s.role == "grouped"} == {"read", "add"}


class Beside(nn.Module):
    """A concatenation of `a` and `b` channels in groups of 2."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.a, self.b = conv(2, a), conv(2, b)
        self.g, self.c = conv(a + b, a + b, groups=(a + b) // 2), conv(a + b, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.g(torch.cat([self.a(x), self.b(x)], 1).relu()).relu())


class Shuffled(nn.Module):
    """ShuffleNet's shuffle between two grouped convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.g, self.h = conv(2, 8, 1), conv(8, 8, groups=4), conv(8, 8, groups=2)
        self.c = conv(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.g(self.a(x).relu())
        y = y.unflatten(1, (4, 2)).transpose(1, 2).flatten(1, 2)
        return self.c(self.h(y).relu())


REFUSED: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "a group between two producers": (
        lambda: Beside(3, 5), "a", "g is a grouped convolution (4 groups that read 2 channels each "
        "and make 2), and its units are only a part of some groups",
    ),
    "no two units left": (
        lambda: nn.Sequential(conv(2, 6), conv(6, 6, groups=3), conv(6, 6, groups=2), conv(6, 3)),
        "0", "all its 6 outputs hang together through the groups of 1 and 2",
    ),
    "shuffled": (Shuffled, "a", "its units reach the output by another way than c"),
    "on the images": (
        lambda: nn.Sequential(conv(2, 4, groups=2), conv(4, 3)),
        "0", "it is a grouped convolution, whose groups are cut with its inputs",
    ),
    "padded by reflection": (
        lambda: nn.Sequential(
            conv(2, 4), conv(4, 4, groups=2, padding_mode="reflect"), conv(4, 3)
        ),
        "0", "1 pads by 'reflect'; only 'zeros' is supported",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "layer", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_says_why(make: Callable[[], nn.Module], layer: str, why: str) -> None:
    torch.manual_seed(0)
    found = look(make())
    assert layer not in {s.name for s in found.sites}
    assert reasons(found)[layer] == why


def test_whole_groups_between_two_producers_are_cut() -> None:
    torch.manual_seed(0)
    found = look(Beside(4, 6))
    assert {s.name: s.units for s in found.sites} == {"a": 2, "b": 3}


@pytest.mark.parametrize("name", MAIN)
@pytest.mark.parametrize("seed", range(3))
def test_any_cut_leaves_what_zeroing_the_readers_does(name: str, seed: int) -> None:
    model = build(name)
    found = look(model)
    random = torch.Generator().manual_seed(seed)
    removed = {
        s.name: torch.randperm(s.units, generator=random)[: 1 + seed * (s.units - 2) // 2].tolist()
        for s in found.sites
    }
    cut = Cut.removing(found.sites, removed)
    maps = without_compensation(model, found.sites, cut)
    small = copy.deepcopy(model)
    shrink(small, found.sites, cut, maps)
    with torch.no_grad(), substituted(model, maps):
        expected = model(images())
    # float64: the same terms of order 1 to 10 without the zeros, some hundred of them
    torch.testing.assert_close(small(images()), expected, rtol=1e-11, atol=1e-11)
    for layer in small.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.shape[:2] == (layer.out_channels, layer.in_channels // layer.groups)
    # the formula that allocation goes by, against the model that is left
    gone = torch.tensor([len(removed[s.name]) for s in found.sites]).numpy()
    price = prices(found.census, found.sites)
    assert price["params"].at(gone) == sum(p.numel() for p in small.parameters())
    left = look(small).census
    # sums of integers below 2^53, but for the division by the number of samples
    assert price["macs"].at(gone) == pytest.approx(left.macs, rel=1e-12)


@pytest.mark.parametrize("name", MAIN)
def test_a_unit_is_active_where_any_of_its_channels_is(name: str) -> None:
    model, site = build(name), MAIN[name]
    stats = profile(model, data(), rule="positive").site(site)
    readers = {"resnext": ["blocks.1.c"], "groups of several widths": ["point", "head"]}[name]
    seen: dict[str, Tensor] = {}
    with torch.no_grad(), watching_inputs(model, readers, lambda n, x: seen.update({n: x.clone()})):
        model(images())
    at = {"head": 12 * 36}  # of the entries there, the other site's come behind
    parts = [x[:, : at.get(n)].reshape(len(x), stats.units, -1) for n, x in seen.items()]
    active_SUP = torch.cat(parts, 2) > 0
    assert (stats.samples_active.sum(0) == active_SUP.any(2).sum(0).numpy()).all()
    assert (stats.positions_active.sum(0) == active_SUP.sum((0, 2)).numpy()).all()
    assert stats.positions.sum() == active_SUP.shape[0] * active_SUP.shape[2]
    with Profiler(model, rule="positive") as watch, torch.no_grad():
        for x in images().split(64):
            model(x)
    live = watch.profile.site(site)
    assert (live.samples_active.sum(0) == stats.samples_active.sum(0)).all()


def test_every_criterion_ranks_groups() -> None:
    model = build("groups of several widths")
    seen = profile(model, data())
    evidence = gather(
        model, seen, [s.site for s in seen.sites], list(data().batches(50)), seed=0
    )["a"]  # fmt: skip
    for rank in CRITERIA.values():
        found = rank(evidence)
        assert sorted(found.order) == [0, 1, 2]
        assert (found.harm >= 0).all()


def test_units_are_rounded_kept_and_dropped_by_groups() -> None:
    model = build("resnext")
    seen = profile(model, data())
    made = plan(
        model, seen, "macs=70%", keep=["blocks.0.a:0"], drop=["blocks.0.a:3", "blocks.1.a:2"],
        round_to=2, batches=data(), probes=False,
    )  # fmt: skip
    kept = {p.site.name: p.kept for p in made.sites}
    assert 0 in kept["blocks.0.a"]
    assert 3 not in kept["blocks.0.a"]
    assert 2 not in kept["blocks.1.a"]
    assert all(len(p.kept) % 2 == 0 for p in made.sites)
    small = prune(model, made, batches=data())
    convs = {n: m for n, m in small.named_modules() if isinstance(m, nn.Conv2d)}
    for name, each in (("blocks.0", 2), ("blocks.1", 4), ("blocks.2", 4)):
        groups = len(kept[f"{name}.a"])
        b = convs[f"{name}.b"]
        assert (b.groups, b.in_channels, b.out_channels) == (groups, each * groups, each * groups)
        assert convs[f"{name}.a"].out_channels == convs[f"{name}.c"].in_channels == each * groups
    assert made.after.macs <= 0.7 * made.before.macs


def test_dead_groups_go_without_a_trace_and_are_proved() -> None:
    """Planted: the normalization behind a grouped convolution keeps a group below zero."""
    model = build("resnext")
    with torch.no_grad():
        norm = model.get_submodule("blocks.0.n1")
        norm.get_parameter("weight")[4:6] = 0.0
        norm.get_parameter("bias")[4:6] = -1.0
    made = plan(model, profile(model, data()), "lossless=proved", batches=data(), probes=False)
    assert {p.site.name: p.removed for p in made.sites if p.removed} == {"blocks.0.a": (2,)}
    # float64: the terms left out are zeros, so only the order of the sums may differ
    torch.testing.assert_close(
        prune(model, made, batches=data())(images()), model(images()), rtol=1e-12, atol=1e-12
    )


def test_the_whole_way_with_a_forecast_a_verdict_and_an_audit() -> None:
    model = build("resnext")
    fitted = data().where(lambda ids: ids < 100)
    made = plan(model, profile(model, fitted), "macs=70%", allocate="global", batches=fitted)
    assert made.forecast is not None
    small = prune(model, made, batches=fitted)
    verdict = verify(model, small, made, data().where(lambda ids: ids >= 100))
    assert verdict.before.macs == made.before.macs
    assert verdict.after.macs == made.after.macs <= 0.7 * made.before.macs
    assert verdict.after.params == made.after.params
    found = audit(model, data(), against=small, measures=["order", "substitution"])
    for audited, cut in ((found.model, False), (found.against, True)):
        assert audited is not None
        units = {o.site: o.units for o in audited.order or ()}
        assert {"blocks.0.a", "blocks.1.a"} <= units.keys()
        for p in made.sites:  # a unit's channels are held together
            if p.site.name in units:
                assert units[p.site.name] == (len(p.kept) if cut else p.site.units)


def test_compensation_without_data_takes_the_place_of_groups() -> None:
    model = build("resnext")
    seen = profile(model, data(), gram=True)
    gaps: dict[str, float] = {}
    for kind in ("none", "mean", "refit"):
        settings = Compensation.model_validate({"kind": kind})
        made = plan(model, seen, "units=70%", criterion="effect", compensation=settings)
        with torch.no_grad():
            gap = prune(model, made, seen)(images()) - model(images())
        gaps[kind] = float(gap.square().mean())
    assert gaps["mean"] < gaps["none"]
    assert gaps["refit"] < gaps["none"]
