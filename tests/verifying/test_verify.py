"""Measured on data that nothing else has read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import beta
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.planning.plan import plan
from actprune.planning.result import Plan
from actprune.profiling.collect import profile
from actprune.pruning.prune import prune
from actprune.refit.settings import Compensation
from actprune.running.hashing import model_hash
from actprune.verifying.bootstrap import bootstrap_mean
from actprune.verifying.verify import moves_removed_units, verify

NONE = Compensation(kind="none")


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3)
    )


def data(labels: str = "classes", n: int = 400, seed: int = 0, spec: str = "mine") -> Arrays:
    gen = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, 4, generator=gen), torch.randn(n, 3, generator=gen)
    chosen = {"classes": y.argmax(1), "values": y, "none": None}[labels]
    return Arrays.of(x, labels=chosen, spec=spec)


def cut(labels: str = "classes", **options) -> tuple[nn.Module, nn.Module, Plan]:
    model, source = net().eval(), data(labels)
    made = plan(model, profile(model, source), "units=50%", batches=source, probes=False, **options)
    return model, prune(model, made, batches=source), made


def test_every_number_is_what_it_says() -> None:
    model, small, made = cut()
    heldout = data(seed=1, n=200, spec="later")
    found = verify(model, small, made, heldout, level=0.8, seed=4)
    x, y = heldout.inputs[0], heldout.labels
    assert y is not None
    with torch.no_grad():
        before, after = model(x).double(), small(x).double()
    losses = [nn.functional.cross_entropy(z, y, reduction="none") for z in (before, after)]
    # float32 outputs of order 1: losses to 1e-6
    assert found.before.loss == pytest.approx(losses[0].mean().item(), abs=1e-6)
    assert found.after.loss == pytest.approx(losses[1].mean().item(), abs=1e-6)
    change = (losses[1] - losses[0]).numpy()
    assert found.measured.loss_delta == pytest.approx(change.mean(), abs=2e-6)
    interval = bootstrap_mean(change, level=0.8, seed=4)
    assert (found.measured.low, found.measured.high) == pytest.approx(interval, abs=2e-6)
    assert (found.measured.level, found.measured.samples) == (0.8, 200)
    for side, z in ((found.before, before), (found.after, after)):
        right = (z.argmax(1) == y).double().mean().item()
        assert side.metrics == {"accuracy": pytest.approx(right)}
    for side, m in ((found.before, model), (found.after, small)):
        assert side.params == sum(p.numel() for p in m.parameters())
        assert side.bytes == sum(t.numel() * t.element_size() for t in m.state_dict().values())
    assert found.after.macs == 4 * 8 + 8 * 3
    assert found.before.macs == 4 * 16 + 16 * 3
    assert (found.heldout, found.heldout_samples) == ("later", 200)
    assert (found.loss_kind, found.labelled) == ("cross_entropy (nats)", True)
    assert found.before.latency_ms > 0
    assert found.after.latency_ms > 0
    assert (found.latency_batch, found.latency_threads) == (64, torch.get_num_threads())
    timed = found.latency
    assert (timed.before_ms, timed.after_ms) == (found.before.latency_ms, found.after.latency_ms)
    assert (timed.batch, timed.threads) == (found.latency_batch, found.latency_threads)
    assert (timed.layout, timed.device) == ("contiguous", "cpu")
    assert 0 < timed.ratio_p20 <= timed.ratio <= timed.ratio_p80
    assert (found.device, found.ok) == ("cpu", found.outcome != "fail")


@pytest.mark.parametrize(
    ("labels", "kind", "metrics"),
    [
        ("none", "KL(dense || pruned) of the outputs (nats), no labels", {"agreement"}),
        ("values", "mean squared error", set()),
    ],
)
def test_other_data_have_another_loss_and_it_is_named(
    labels: str, kind: str, metrics: set[str]
) -> None:
    model, small, made = cut(labels)
    assert made.loss_kind == kind
    heldout = data(labels, seed=1)
    found = verify(model, small, made, heldout)
    assert (found.loss_kind, found.labelled) == (kind, labels != "none")
    assert set(found.after.metrics) == metrics
    with torch.no_grad():
        before, after = model(heldout.inputs[0]).double(), small(heldout.inputs[0]).double()
    if labels == "none":
        p, q = before.log_softmax(1), after.log_softmax(1)
        assert found.before.loss == 0
        divergence = (p.exp() * (p - q)).sum(1).mean().item()
        assert found.after.loss == pytest.approx(divergence, abs=1e-6)
        same = (before.argmax(1) == after.argmax(1)).double().mean().item()
        assert found.after.metrics["agreement"] == pytest.approx(same)
        assert found.before.metrics["agreement"] == 1
    else:
        assert heldout.labels is not None
        error = (after - heldout.labels).square().mean().item()
        assert found.after.loss == pytest.approx(error, abs=1e-6)


def test_the_loss_is_the_plans_unless_another_is_asked_for() -> None:
    model, small, made = cut(loss="kl")
    found = verify(model, small, made, data(seed=1))
    assert found.loss_kind == made.loss_kind
    assert not found.labelled
    other = verify(model, small, made, data(seed=1), loss="cross_entropy")
    assert other.loss_kind == "cross_entropy (nats)"
    assert other.outcome == "outside"
    assert "cannot be held against" in other.reason


def test_a_cut_as_forecast_passes_and_a_broken_model_fails() -> None:
    model, small, made = cut()
    # the same distribution: a 90 % interval of both errors; fixed seeds
    assert verify(model, small, made, data(seed=1, n=1000)).outcome == "pass"
    with torch.no_grad():
        small.get_parameter("4.weight").mul_(-5)
    found = verify(model, small, made, data(seed=1, n=1000))
    assert found.outcome == "fail"
    assert not found.ok


def test_baselines_are_scored_on_the_same_samples() -> None:
    model, small, made = cut()
    found = verify(
        model, small, made, data(seed=1), baselines={("rare", "none"): small, ("x", "mean"): model}
    )
    first, second = found.baselines
    assert (first.criterion, first.compensate) == ("rare", "none")
    assert (first.loss, first.metrics) == (found.after.loss, found.after.metrics)
    assert (second.loss, second.metrics) == (found.before.loss, found.before.metrics)


def test_models_come_back_as_they_were() -> None:
    model, small, made = cut()
    model.train()
    small.train()
    hashes = model_hash(model), model_hash(small)
    state = torch.get_rng_state()
    verify(model, small, made, data(seed=1))
    assert (model_hash(model), model_hash(small)) == hashes
    assert all(m.training for m in (*model.modules(), *small.modules()))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


def firing() -> tuple[nn.Sequential, Plan]:
    """Units x0, x0 - 1, 2 + x1 (always 2 while x1 = 0) and -x0 - 9 (dead), after a ReLU."""
    model = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 2)).eval()
    with torch.no_grad():
        model[0].weight.copy_(  # pyright: ignore
            torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 1.0]])
        )
        model[0].bias.copy_(torch.tensor([0.0, -1.0, 2.0, -9.0, 50.0]))  # pyright: ignore
    x = torch.zeros(40, 2)
    x[:, 0] = torch.linspace(-4, 4, 40)
    made = plan(
        model, profile(model, [x]), "units=20%", criterion="rare", compensation=NONE,
        drop=["0:1", "0:2", "0:3"], keep=["0:4"],
    )  # fmt: skip
    return model, made


ROWS = torch.tensor(
    [
        [-1.0, 0.0],  # nothing fires, the constant stays 2
        [0.5, 0.0],  # unit 0 fires
        [2.0, 0.0],  # units 0 and 1 fire
        [-1.0, 0.25],  # the constant moves up
        [-1.0, -0.25],  # and down
        [-10.0, 0.0],  # the dead unit fires
        [-9.0, 0.0],  # it just does not
    ]
)


def test_the_certificate_counts_inputs_that_move_a_removed_unit() -> None:
    model, made = firing()
    assert made.sites[0].kept == (4,)
    assert made.sites[0].constants == (None, None, 2.0, 0.0)
    batch = Batch(args=(ROWS,), kwargs={}, labels=None, ids=torch.arange(7))
    with torch.no_grad():
        moved, _ = moves_removed_units(model, made.sites, batch)
    assert moved.tolist() == [False, True, True, True, True, True, False]
    found = verify(model, prune(model, made), made, Arrays.of(ROWS))
    assert found.certificate.units == 4
    assert found.certificate.inputs_affected == pytest.approx(5 / 7)
    # Clopper and Pearson: the 95 % quantile of Beta(5 + 1, 7 - 5)
    assert found.certificate.upper == pytest.approx(beta.ppf(0.95, 6, 2))
    assert found.certificate.level == 0.95


def test_the_certificate_uses_the_sites_own_rule() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).eval(), torch.randn(80, 3)
    seen = profile(model, [x], rule="magnitude:0.5")
    made = plan(model, seen, "units=50%", criterion="rare", compensation=NONE)
    later = torch.randn(60, 3)
    with torch.no_grad():
        a = model[:2](later)[:, list(made.sites[0].removed)]
    expected = (a.abs() > made.sites[0].rule.threshold).any(1)
    assert 0 < expected.double().mean() < 1
    assert not torch.equal(expected, (a > made.sites[0].rule.threshold).any(1))
    found = verify(model, prune(model, made), made, Arrays.of(later))
    assert found.certificate.inputs_affected == pytest.approx(expected.double().mean().item())


def test_positions_count_once_a_sample() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1)).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 1.0]).reshape(2, 1, 1, 1))  # pyright: ignore
        model[0].bias.copy_(torch.tensor([0.0, 9.0]))  # pyright: ignore
    x = torch.zeros(3, 1, 2, 2)
    x[:, 0, 0, 0] = torch.tensor([1.0, 2.0, -1.0])
    seen = profile(model, [x])
    made = plan(model, seen, "units=50%", criterion="rare", compensation=NONE, drop=["0:0"])
    batch = Batch(args=(x,), kwargs={}, labels=None, ids=torch.arange(3))
    with torch.no_grad():
        assert moves_removed_units(model, made.sites, batch)[0].tolist() == [True, True, False]


def test_nothing_removed_affects_no_input() -> None:
    model = net().eval()
    made = plan(model, profile(model, data()), "units=100%", criterion="rare", compensation=NONE)
    found = verify(model, prune(model, made), made, data(seed=1))
    assert (found.outcome, found.reason) == ("pass", "nothing to remove: the model is as it was")
    assert (found.certificate.units, found.certificate.inputs_affected) == (0, 0)
    assert (found.measured.loss_delta, found.measured.low, found.measured.high) == (0, 0, 0)


def test_the_batch_size_does_not_matter() -> None:
    model, small, made = cut()
    heldout = data(seed=1)
    whole = verify(model, small, made, heldout)
    y = heldout.labels
    assert y is not None
    parts = list(zip(heldout.inputs[0].split(37), y.split(37), strict=True))
    pieces = verify(model, small, made, parts)
    assert pieces.certificate == whole.certificate
    # float32 forward passes of another shape
    assert pieces.measured.loss_delta == pytest.approx(whole.measured.loss_delta, abs=1e-6)
    assert np.isclose(pieces.measured.high, whole.measured.high, atol=1e-6)


def refusal(heldout, model: nn.Module | None = None) -> str:
    dense, small, made = cut()
    with pytest.raises(ActpruneError) as e:
        verify(model or dense, small, made, heldout)
    assert "\n" not in str(e.value)
    return str(e.value)


def relabelled(y: Tensor) -> Arrays:
    return Arrays.of(data(seed=1, n=len(y)).inputs[0], labels=y)


def test_what_cannot_be_measured_is_refused() -> None:
    assert refusal([]) == "loader: no held-out sample; give data to verify on."
    assert refusal(data(seed=1).where(lambda ids: ids < 0)) == (
        "mine: no held-out sample; give data to verify on."
    )
    assert refusal(relabelled(torch.tensor([0, 1, 3]))) == (
        "Class labels must lie in 0 to 2 for outputs with 3 classes, got 0 to 3."
    )
    assert refusal(relabelled(torch.zeros(3, 2, dtype=torch.int64))) == (
        "Class labels must have the outputs' shape without its last axis, got labels (3, 2) for "
        "outputs (3, 3)."
    )
    other = net().eval()
    with torch.no_grad():
        other[0].bias.add_(1)  # pyright: ignore
    assert refusal(data(seed=1), other) == (
        "The plan is for another model than the dense one given to verify."
    )
