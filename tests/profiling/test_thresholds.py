from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.ops.histogram import edges
from actprune.profiling.collect import profile
from actprune.profiling.counting.ledger import Ledger
from actprune.profiling.merge import merge
from actprune.profiling.result import QUARTERS, Profile
from actprune.profiling.rules import Rule
from actprune.profiling.subtract import subtract
from actprune.profiling.thresholds import (
    at_threshold,
    exact_thresholds,
    nearest_exact,
    relative_thresholds,
    rethresholded,
)
from actprune.sites.site import Site, Slot
from actprune.theory.summary import fit

EDGES = edges().tolist()


def under(p: Profile, threshold: float) -> Profile:
    """What `like` needs to profile at an absolute threshold."""
    rule = Rule(kind="magnitude", threshold=threshold)
    return replace(p, sites=tuple(replace(s, rule=rule) for s in p.sites))


@pytest.fixture
def tokens() -> Tensor:
    """150 samples of 5 positions; with the model below, values that lie on edges, and others."""
    return torch.randn(150, 5, 4, generator=torch.Generator().manual_seed(0)) * 2


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))


def quarters(counts_B: np.ndarray) -> list[int]:
    return counts_B.reshape(QUARTERS, -1, *counts_B.shape[1:]).sum(1).tolist()


@pytest.mark.parametrize("edge", [2.0**-3, 0.25, 0.375, 0.5, 0.75, 1.0, 1.5, 4.0])
@pytest.mark.parametrize("whole", [False, True])
def test_counts_below_an_edge_are_those_of_a_direct_profile(
    model: nn.Module, tokens: Tensor, edge: float, whole: bool
) -> None:
    if whole:  # many values on edges
        tokens = tokens.round() / 4
        for p in model.parameters():
            p.data = (p.data * 4).round() / 4
    seen = profile(model, tokens, histogram=True, batch_size=40)
    threshold = math.nextafter(edge, 0)
    direct = profile(model, tokens, like=under(seen, threshold))

    got = rethresholded(seen, threshold)

    for s, d in zip(got.sites, direct.sites, strict=True):
        assert s.rule == d.rule
        assert s.samples.tolist() == quarters(d.samples)
        assert s.positions.tolist() == quarters(d.positions)
        assert s.samples_active.tolist() == quarters(d.samples_active)
        assert s.positions_active.tolist() == quarters(d.positions_active)
        assert s.rate.tolist() == d.rate.tolist()


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.25, 0.3, 0.6, 1.0, 3.7, 1e9, math.inf, -1.0])
def test_counts_between_edges_lie_in_their_bracket(
    model: nn.Module, tokens: Tensor, threshold: float
) -> None:
    seen = profile(model, tokens, histogram=True)
    direct = profile(model, tokens, like=under(seen, threshold))
    for got, d in zip(at_threshold(seen, threshold), direct.sites, strict=True):
        assert got.threshold == threshold
        for name in ("samples_active", "positions_active"):
            low, high = getattr(got, name)
            count = np.array(quarters(getattr(d, name)))
            assert (low <= count).all()
            assert (count <= high).all()
        if threshold in (1e9, math.inf, -1.0):
            assert got.exact


def test_the_bracket_is_as_wide_as_the_threshold_s_bin(model: nn.Module, tokens: Tensor) -> None:
    seen = profile(model, tokens, histogram=True)
    below, above = (at_threshold(seen, math.nextafter(e, 0)) for e in (0.5, 0.75))
    for got, lo, hi in zip(at_threshold(seen, 0.6), below, above, strict=True):
        assert np.array_equal(got.positions_active[1], lo.positions_active[0])
        assert np.array_equal(got.positions_active[0], hi.positions_active[0])
        assert not got.exact


def test_sites_may_have_thresholds_of_their_own(model: nn.Module, tokens: Tensor) -> None:
    seen = profile(model, tokens, histogram=True)
    half, one = (math.nextafter(e, 0) for e in (0.5, 1.0))
    both = rethresholded(seen, {"2": one, "0": half})
    assert [(s.site.name, s.rule.threshold) for s in both.sites] == [("0", half), ("2", one)]
    (only,) = at_threshold(seen, {"2": one})
    assert only.site.name == "2"


def test_histograms_add_up_and_come_apart(model: nn.Module, tokens: Tensor) -> None:
    source = Arrays.of(tokens)
    whole = profile(model, tokens, histogram=True, rule="magnitude:0.5")
    a, b = (
        profile(
            model, source.where(lambda i, k=k: i % 3 == 0 if k else i % 3 > 0),
            histogram=True, like=whole,
        )
        for k in (0, 1)
    )  # fmt: skip
    rest = subtract(merge(a, b), b)
    for x, y, z, w in zip(merge(a, b).sites, rest.sites, a.sites, whole.sites, strict=True):
        for name in ("histogram_positions", "histogram_samples"):
            assert np.array_equal(getattr(x, name), getattr(w, name))
            assert np.array_equal(getattr(y, name), getattr(z, name))
            assert getattr(x, name).dtype == np.int64
        assert w.histogram_positions is not None
        assert w.histogram_samples is not None
        assert w.histogram_positions.sum((1, 2)).tolist() == [
            n * w.units for n in quarters(w.positions)
        ]
        assert w.histogram_samples.sum((1, 2)).tolist() == [
            n * w.units for n in quarters(w.samples)
        ]
    with pytest.raises(ActpruneError, match="must agree in statistics"):
        merge(a, profile(model, tokens[:3], like=whole))


def test_the_theory_reads_other_thresholds(model: nn.Module, tokens: Tensor) -> None:
    seen = profile(model, tokens, histogram=True)
    threshold = nearest_exact(0.5)
    theory = fit(rethresholded(seen, threshold))
    direct = fit(profile(model, tokens, like=under(seen, threshold)))
    for got, expected in zip(theory.sites, direct.sites, strict=True):
        assert (got.free, got.always_on, got.samples) == (
            expected.free, expected.always_on, expected.samples,
        )  # fmt: skip
        assert got.rate.value == pytest.approx(expected.rate.value, rel=1e-12)
        assert got.rate.stderr is not None
        assert got.certificate.value is None


def test_the_nearest_exact_threshold_is_within_half_a_bin() -> None:
    exact = exact_thresholds()
    assert len(exact) == len(EDGES)
    assert all(t < e and np.float32(t) == e for t, e in zip(exact, EDGES, strict=True))
    for t in (1e-5, 0.1, 1.0, 1.2, 1.23, 1.3, 700.0):
        # neighbours are 1.5 or 4/3 apart
        assert abs(math.log(nearest_exact(t) / t)) <= math.log(1.5) / 2 + 1e-12
    assert nearest_exact(1e-9) == exact[0]
    assert nearest_exact(1e9) == exact[-1]


def test_relative_thresholds_are_of_each_site_s_rms(model: nn.Module, tokens: Tensor) -> None:
    seen = profile(model, tokens, histogram=True)
    found = relative_thresholds(seen, 0.5)
    first = torch.relu(model[0](tokens)).double()  # pyright: ignore[reportIndexIssue]
    assert found["0"] == nearest_exact(0.5 * first.square().mean().sqrt().item())
    assert rethresholded(seen, found).sites[0].rule.threshold == found["0"]
    silent = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    for p in silent.parameters():
        p.data.zero_()
    assert relative_thresholds(profile(silent, tokens, histogram=True), 0.5) == {
        "0": exact_thresholds()[0]
    }
    for bad in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ActpruneError, match="must be a positive number"):
            relative_thresholds(seen, bad)


def test_what_cannot_be_told_is_refused(model: nn.Module, tokens: Tensor) -> None:
    seen = profile(model, tokens, histogram=True)
    with pytest.raises(ActpruneError, match=r"Site '0': .* exact threshold 0\.49\d+ or 0\.74\d+"):
        rethresholded(seen, 0.6)
    with pytest.raises(ActpruneError, match="no site 'absent' to set a threshold for"):
        at_threshold(seen, {"absent": 1.0})
    with pytest.raises(ActpruneError, match="must be a number"):
        at_threshold(seen, math.nan)
    plain = profile(model, tokens)
    assert plain.identity.statistics == ("counts", "moments")
    assert plain.sites[0].histogram_positions is None
    with pytest.raises(ActpruneError, match="profile with --stats histogram"):
        at_threshold(plain, 1.0)


def test_packed_documents_count_one_largest_activation_each() -> None:
    """A document that spans windows is one sample."""
    slots = (Slot(module="a", role="producer"), Slot(module="b", role="consumer"))
    one = Site(name="a", kind="linear", units=1, slots=slots)
    ledger = Ledger(
        [one], {"a": Rule(kind="positive", threshold=0.0)}, with_gram=False, with_histogram=True,
        device=torch.device("cpu"),
    )  # fmt: skip
    documents = torch.tensor([[0, 0, 1], [1, 1, 2]])
    values = torch.tensor([[[1.0, 8.0, 2.0]], [[4.0, 1.0, 0.5]]])  # [windows, unit, positions]
    for index in range(2):
        rows = slice(index, index + 1)
        ids = documents[rows, 0]
        ledger.open(Batch(args=(), kwargs={}, labels=None, ids=ids, documents=documents[rows]))
        ledger.see("a", values[rows])
        ledger.close(index)
    (got,) = ledger.freeze()
    assert got.histogram_positions is not None
    assert got.histogram_samples is not None
    bin_of = {v: sum(e <= v for e in EDGES) for v in (0.5, 1.0, 2.0, 4.0, 8.0)}
    positions, peaks = (h.sum((0, 1)) for h in (got.histogram_positions, got.histogram_samples))
    assert {int(b): int(positions[b]) for b in positions.nonzero()[0]} == {
        bin_of[0.5]: 1, bin_of[1.0]: 2, bin_of[2.0]: 1, bin_of[4.0]: 1, bin_of[8.0]: 1,
    }  # fmt: skip
    assert {int(b): int(peaks[b]) for b in peaks.nonzero()[0]} == {
        bin_of[0.5]: 1, bin_of[4.0]: 1, bin_of[8.0]: 1,
    }  # fmt: skip
