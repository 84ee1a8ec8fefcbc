"""Profile, plan, prune, save and load with units that several layers make, carry or read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from coupled_models import NETS, build, data, images
from torch import Tensor, nn

from actprune.data.batch import as_batch
from actprune.data.source import Arrays
from actprune.planning.plan import plan
from actprune.planning.result import Plan
from actprune.profiling.collect import profile
from actprune.profiling.counting.ledger import Ledger
from actprune.profiling.counting.observe import observe
from actprune.profiling.result import Profile
from actprune.profiling.rules import Rule
from actprune.profiling.store import load_profile, save_profile
from actprune.pruning.masked import masked
from actprune.pruning.prune import prune
from actprune.pruning.saved import rebuild, save_pruned
from actprune.refit.settings import Compensation
from actprune.running.hooks import watching_inputs
from actprune.sites.find import survey


def planned(name: str, kind: str, criterion: str = "residual", granularity: str = "patch") -> Plan:
    model = build(name)
    settings = Compensation.model_validate({"kind": kind, "granularity": granularity})
    return plan(
        model, profile(model, data()), "units=60%", criterion=criterion,
        compensation=settings, batches=data(), probes=False,
    )  # fmt: skip


def outputs(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(images())


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("kind", ["none", "refit"])
def test_the_small_model_computes_what_the_masked_one_does(name: str, kind: str) -> None:
    model, made = build(name), planned(name, kind)
    assert all(len(p.kept) < p.site.units for p in made.sites)
    small = prune(model, made, batches=data())
    with masked(model, made, batches=data()) as same:
        inside = outputs(same)
    # float64: the same terms of order 1 to 10 without the zeros, some hundred of them
    torch.testing.assert_close(outputs(small), inside, rtol=1e-11, atol=1e-11)
    # and the mask does something: a hundred times what passes for equal
    assert (inside - outputs(model)).abs().max() > 1e-9
    assert sum(p.numel() for p in small.parameters()) == made.after.params


@pytest.mark.parametrize("kind", ["mean", "refit"])
@pytest.mark.parametrize("name", ["several readers", "resnet", "resnext"])
def test_other_compensations_agree_with_their_masks(name: str, kind: str) -> None:
    model, made = build(name), planned(name, kind, "effect", "channel")
    small = prune(model, made, batches=data())
    with masked(model, made, batches=data()) as same:
        # float64, as above
        torch.testing.assert_close(outputs(small), outputs(same), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "name", ["depthwise", "resnext", "dense block", "resnet", "padded shortcut"]
)
def test_a_refit_comes_closer_than_none(name: str) -> None:
    model = build(name)
    gaps = {}
    for kind in ("none", "refit"):
        small = prune(model, planned(name, kind), batches=data())
        gaps[kind] = float((outputs(small) - outputs(model)).square().mean())
    assert gaps["refit"] < gaps["none"]


@pytest.mark.parametrize("name", NETS)
def test_a_pruned_model_loads_with_equal_outputs(name: str, tmp_path: Path) -> None:
    model, made = build(name), planned(name, "refit")
    made = Plan.from_json(made.to_json())
    small = prune(model, made, batches=data())
    save_pruned(small, model, made, tmp_path)
    again = rebuild(tmp_path, NETS[name]).double().eval()
    assert torch.equal(rebuild(tmp_path, lambda: build(name))(images()), outputs(small))
    assert {n: p.shape for n, p in again.named_parameters()} == {
        n: p.shape for n, p in small.named_parameters()
    }


def test_dead_channels_of_a_stream_go_without_a_trace() -> None:
    """Planted: at two of a stage's channels every layer adds a large negative number, so that the
    nonlinearity behind the sum is zero there."""
    model = build("resnet")
    dead = [1, 4]
    with torch.no_grad():
        for name in ("bn1", "layer1.0.bn2", "layer1.1.bn2"):
            norm = model.get_submodule(name)
            norm.get_parameter("weight")[dead] = 0.0
            norm.get_parameter("bias")[dead] = -5.0
    before = outputs(model)
    made = plan(model, profile(model, data()), "lossless", batches=data(), probes=False)
    (stream,) = (p for p in made.sites if p.site.name == "conv1")
    assert set(stream.removed) >= set(dead)
    assert stream.site.kind == "residual"
    # float64: the terms left out are zeros, so only the order of the sums may differ
    torch.testing.assert_close(
        outputs(prune(model, made, batches=data())), before, rtol=1e-12, atol=1e-12
    )


def by_hand(name: str, readers: list[tuple[str, int]], units: int) -> Tensor:
    """What the readers see of the units one after the other, [S, U, P]."""
    model, seen = build(name), {}
    with watching_inputs(model, [n for n, _ in readers], lambda n, a: seen.update({n: a.clone()})):
        outputs(model)
    return torch.cat(
        [seen[n][:, at : at + units].reshape(150, units, -1) for n, at in readers], dim=2
    )


@pytest.mark.parametrize(
    ("name", "site", "readers"),
    [
        ("several readers", "a", [("b", 0), ("d", 0)]),  # `c` reads the tensor that `b` reads
        ("concatenation", "b", [("c", 5), ("head", 5)]),
        ("resnet", "layer2.0.downsample.0", [("layer2.1.conv1", 0), ("fc", 0)]),
        ("padded shortcut", "stem", [("a", 0), ("c", 0), ("head", 1)]),
    ],
)
def test_a_unit_is_active_where_any_consumer_sees_it_so(
    name: str, site: str, readers: list[tuple[str, int]]
) -> None:
    model = build(name)
    stats = profile(model, data(), rule="positive", gram=True).site(site)
    a_SUP = by_hand(name, readers, stats.units)
    assert stats.positions.sum() == a_SUP.shape[0] * a_SUP.shape[2]
    assert (stats.samples_active.sum(0) == (a_SUP > 0).any(2).sum(0).numpy()).all()
    assert (stats.positions_active.sum(0) == (a_SUP > 0).sum((0, 2)).numpy()).all()
    assert stats.gram is not None
    gram = torch.einsum("sup,svp->uv", a_SUP, a_SUP)
    # float64 sums of some thousand terms, in another order
    torch.testing.assert_close(torch.from_numpy(stats.gram.sum(0)), gram, rtol=1e-10, atol=1e-10)


def test_a_profile_of_coupled_sites_is_read_back(tmp_path: Path) -> None:
    seen = profile(build("resnet"), data())
    save_profile(seen, tmp_path / "p")
    again: Profile = load_profile(tmp_path / "p")
    assert [s.site for s in again.sites] == [s.site for s in seen.sites]


@pytest.mark.parametrize("kind", ["mean", "refit"])
@pytest.mark.parametrize("name", ["several readers", "resnet", "resnext"])
def test_a_profile_can_stand_in_for_the_data(name: str, kind: str) -> None:
    model = build(name)
    seen = profile(model, data(), gram=True)
    settings = Compensation.model_validate({"kind": kind})
    made = plan(model, seen, "units=60%", criterion="residual", compensation=settings)
    small = prune(model, made, seen)
    with masked(model, made, seen) as same:
        # float64, as above
        torch.testing.assert_close(outputs(small), outputs(same), rtol=1e-11, atol=1e-11)
    bare = made.model_copy(update={"compensation": Compensation(kind="none")})
    gaps = [
        float((outputs(m) - outputs(model)).square().mean()) for m in (small, prune(model, bare))
    ]
    assert gaps[0] < gaps[1]


def test_the_documents_of_a_window_are_told_apart_for_every_reader() -> None:
    """Of packed documents, a site read twice has two values at each position."""

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.into(x)
            return self.a(h.relu()) + self.b((-h).relu())

    torch.manual_seed(0)
    model, x = Tokens().eval(), torch.randn(40, 4)
    lengths = [3, 5, 2, 6, 4] * 2
    documents = torch.repeat_interleave(torch.arange(10), torch.tensor(lengths))
    batch = as_batch(x.reshape(4, 10, 4), 0)
    (site,) = survey(model, batch).sites
    assert len(site.watched) == 2
    rule = Rule(kind="positive", threshold=0.0)
    ledger = Ledger([site], {site.name: rule}, with_gram=False, device=torch.device("cpu"))
    packed = replace(batch, documents=documents.reshape(4, 10))
    ledger.open(packed)
    with torch.no_grad():
        observe(model, packed, [site], ledger.see)
    ledger.close(0)
    (stats,) = ledger.freeze()
    h_RU = model.into(x).detach()
    active = torch.zeros(10, 6, dtype=torch.bool)
    active.index_put_((documents,), h_RU > 0, accumulate=True)
    active.index_put_((documents,), h_RU < 0, accumulate=True)
    assert stats.positions.sum() == 2 * 40
    assert (stats.samples_active.sum(0) == active.sum(0).numpy()).all()


def test_a_plan_can_leave_the_streams_alone() -> None:
    model = build("resnet")
    made = plan(
        model, profile(model, data()), "units=50%", ignore=["conv1", "*downsample*"],
        batches=data(), probes=False,
    )  # fmt: skip
    assert {p.site.kind for p in made.sites} == {"conv"}


def test_labels_are_only_needed_for_a_loss() -> None:
    model = build("depthwise")
    made = plan(model, profile(model, Arrays.of(images())), "units=50%", criterion="rare",
                compensation=Compensation(kind="none"))  # fmt: skip
    assert prune(model, made)(images()).shape == (150, 3)
