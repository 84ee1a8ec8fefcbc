from __future__ import annotations

import itertools
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from profile_checks import ADDITIVE, assert_same_counts
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.profiling.collect import profile
from actprune.profiling.counting import strata_sums
from actprune.profiling.counting.ledger import Ledger
from actprune.profiling.counting.stratify import strata_by
from actprune.profiling.merge import merge
from actprune.profiling.result import Profile
from actprune.profiling.rules import Rule
from actprune.profiling.store import load_profile, save_profile
from actprune.profiling.strata import reweighted, stratum
from actprune.profiling.subtract import subtract
from actprune.theory.summary import fit

LOST = ("low", "high", "first")


def parity(batch: Batch) -> list[str]:
    return ["odd" if i % 2 else "even" for i in batch.ids.tolist()]


@pytest.fixture
def labels(vectors: Tensor) -> Tensor:
    """Of 150 samples: 0 to 11, never 3; a sample's label goes with its first number."""
    gen = torch.Generator().manual_seed(5)
    drawn = torch.randint(0, 12, (len(vectors),), generator=gen)
    return torch.where(drawn == 3, (vectors[:, 0] > 0).long(), drawn)


def in_batches(x: Tensor, y: Tensor, size: int = 40) -> list[tuple[Tensor, Tensor]]:
    return list(zip(x.split(size), y.split(size), strict=True))


def assert_strata_alike(
    a: Profile, b: Profile, names: tuple[str, ...] = (*ADDITIVE, *LOST)
) -> None:
    assert [s.name for s in a.strata] == [s.name for s in b.strata]
    for p, q in zip(a.strata, b.strata, strict=True):
        for x, y in zip(p.sites, q.sites, strict=True):
            for name in names:
                assert np.array_equal(getattr(x, name), getattr(y, name)), (p.name, name)


def test_each_stratum_is_the_profile_of_its_samples_alone(
    mlp: nn.Module, vectors: Tensor, labels: Tensor
) -> None:
    seen = profile(mlp, in_batches(vectors, labels), strata="labels", rule="positive")
    assert [s.name for s in seen.strata] == [str(k) for k in range(12) if k != 3]  # 10 after 9
    assert seen.identity.statistics == ("counts", "moments", "strata by labels")
    source = Arrays.of(vectors)
    for k in range(12):
        if k == 3:
            continue
        chosen = labels == k
        alone = profile(mlp, source.where(lambda ids, c=chosen: c[ids]), rule="positive")
        got = stratum(seen, k)
        assert got.samples == alone.samples == int(chosen.sum())
        assert got.strata == ()
        for x, y in zip(got.sites, alone.sites, strict=True):
            assert (x.site, x.rule) == (y.site, y.rule)
            for name in (*ADDITIVE, "low", "high"):
                assert np.array_equal(getattr(x, name), getattr(y, name))
        assert fit(got).sites[0].free == fit(alone).sites[0].free


def test_the_profile_is_the_same_with_strata_as_without(
    mlp: nn.Module, vectors: Tensor, labels: Tensor
) -> None:
    plain = profile(mlp, vectors, rule="positive", gram=True, histogram=True)
    seen = profile(
        mlp,
        in_batches(vectors, labels),
        strata="labels",
        rule="positive",
        gram=True,
        histogram=True,
    )
    assert_same_counts(replace(seen, strata=()), plain)
    for i, s in enumerate(seen.sites):
        for name in ADDITIVE:
            parts = sum(getattr(t.sites[i], name) for t in seen.strata)
            assert np.array_equal(parts, getattr(s, name))
    assert all(x.gram is None for t in seen.strata for x in t.sites)
    assert all(x.histogram_samples is None for t in seen.strata for x in t.sites)


def test_strata_may_be_named_by_a_function(mlp: nn.Module, vectors: Tensor) -> None:
    one = profile(mlp, vectors, strata=parity, rule="positive")
    assert [(s.name, s.samples) for s in one.strata] == [("even", 75), ("odd", 75)]
    assert one.identity.statistics[-1] == "strata by parity"
    for size in (1, 7, 150):
        again = profile(mlp, vectors, strata=parity, rule="positive", batch_size=size)
        assert_strata_alike(again, one)
    kinds: list[Any] = [
        lambda b: b.ids % 2,
        lambda b: (b.ids % 2).numpy(),
        lambda b: [bool(i % 2) for i in b.ids],
        lambda b: (int(i % 2) for i in b.ids),
    ]
    for kind in kinds:
        found = profile(mlp, vectors, strata=kind, rule="positive")
        assert [s.name for s in found.strata] == ["0", "1"]


def test_strata_of_what_is_left_out_are_not_counted(
    mlp: nn.Module, vectors: Tensor, labels: Tensor
) -> None:
    seen = profile(mlp, in_batches(vectors, labels), strata="labels", leave_out=True)
    assert sum(s.samples for s in seen.strata) == seen.samples < 150


def test_strata_come_back_from_a_file(
    mlp: nn.Module, vectors: Tensor, labels: Tensor, tmp_path: Path
) -> None:
    seen = profile(mlp, in_batches(vectors, labels), strata="labels", histogram=True)
    save_profile(seen, tmp_path / "p")
    again = load_profile(tmp_path / "p")
    assert_strata_alike(again, seen)
    for x, y in zip(again.sites, seen.sites, strict=True):
        assert np.array_equal(x.histogram_samples, y.histogram_samples)  # pyright: ignore
        assert np.array_equal(x.histogram_positions, y.histogram_positions)  # pyright: ignore
    rest = subtract(merge(seen, elsewhere(seen)), elsewhere(seen))
    save_profile(rest, tmp_path / "q")
    assert_strata_alike(load_profile(tmp_path / "q"), rest)


def elsewhere(p: Profile) -> Profile:
    """The same counts, as of other data."""
    return replace(p, shards=tuple(s.model_copy(update={"source": "else"}) for s in p.shards))


def test_strata_add_up_by_name_and_come_apart(
    mlp: nn.Module, vectors: Tensor, labels: Tensor
) -> None:
    """A stratum that one shard has not met counts nothing there."""
    order = labels.sort().indices  # every shard holds other labels
    x, y = vectors[order], labels[order]
    data = Arrays.of(x, labels=y)
    cuts = [0, 40, 90, 150]
    shards = [
        profile(
            mlp, data.where(lambda i, a=a, b=b: (i >= a) & (i < b)),
            strata="labels", rule="positive",
        )
        for a, b in itertools.pairwise(cuts)
    ]  # fmt: skip
    whole = profile(mlp, data, strata="labels", rule="positive")
    assert len(shards[0].strata) < len(whole.strata)
    for shuffled in itertools.permutations(shards):
        merged = reduce(merge, shuffled)
        assert_strata_alike(merged, whole, (*ADDITIVE, "low", "high"))
        rest = subtract(merged, shuffled[-1])
        assert_strata_alike(rest, reduce(merge, shuffled[:-1]), ADDITIVE)
        assert all(getattr(s, n) is None for t in rest.strata for s in t.sites for n in LOST)
        again = merge(rest, shuffled[-1])
        assert_strata_alike(again, whole, ADDITIVE)
        assert all(getattr(s, n) is None for t in again.strata for s in t.sites for n in LOST)
    a, b = (stratum(s, s.strata[-1].name) for s in shards[:2])
    with pytest.raises(ActpruneError, match=r"must agree in statistics, got .*only stratum"):
        merge(a, b)


def test_what_was_never_part_is_not_taken_out(
    mlp: nn.Module, vectors: Tensor, labels: Tensor
) -> None:
    a = profile(mlp, in_batches(vectors[:90], labels[:90]), strata="labels", rule="positive")
    b = profile(mlp, in_batches(vectors[90:], labels[90:]), strata="labels", rule="positive")
    whole = merge(a, b)
    strange = replace(b.strata[0], name="strange")
    with pytest.raises(ActpruneError, match="no stratum 'strange', as the second has; subtract"):
        subtract(whole, replace(b, strata=(strange, *b.strata[1:])))


def test_strata_of_other_kinds_do_not_add_up(
    mlp: nn.Module, vectors: Tensor, labels: Tensor
) -> None:
    a = profile(mlp, in_batches(vectors[:90], labels[:90]), strata="labels", rule="positive")
    b = profile(mlp, in_batches(vectors[90:], labels[90:]), strata=parity, rule="positive")
    with pytest.raises(ActpruneError, match="must agree in statistics"):
        merge(a, b)


def test_a_resumed_ledger_goes_on_with_its_strata(
    mlp: nn.Module, vectors: Tensor, labels: Tensor
) -> None:
    whole = profile(mlp, in_batches(vectors, labels), strata="labels", rule="positive")
    sums = strata_sums.StrataSums(
        [s.site for s in whole.sites], {s.site.name: s.rule for s in whole.sites},
        torch.device("cpu"),
    )  # fmt: skip
    sums.restore(whole.strata)
    for p, q in zip(sums.freeze(), whole.strata, strict=True):
        assert p.name == q.name
        for x, y in zip(p.sites, q.sites, strict=True):
            assert all(np.array_equal(getattr(x, n), getattr(y, n)) for n in (*ADDITIVE, *LOST))


@pytest.mark.parametrize(
    ("data", "strata", "message"),
    [
        ("plain", "labels", "strata='labels': the data have no labels; give batches"),
        ("floats", "labels", r"one whole number a sample, got labels torch.float32 of shape \(40,"),
        ("pairs", "labels", r"one whole number a sample, got labels torch.int64 of shape \(40, 2"),
        ("plain", "classes", "strata must be 'labels' or a callable .* got 'classes'"),
        ("plain", lambda b: [0], "one name a sample, got 1 names for 150 samples"),
        ("plain", lambda b: [0.5] * len(b), "a string or a whole number, got 0.5"),
        ("plain", lambda b: [None] * len(b), "a string or a whole number, got None"),
    ],
)
def test_strata_that_cannot_be_told_are_refused(
    mlp: nn.Module, vectors: Tensor, data: str, strata: Any, message: str
) -> None:
    y = {"floats": torch.zeros(150), "pairs": torch.zeros(150, 2).long()}
    source = vectors if data == "plain" else in_batches(vectors, y[data])
    with pytest.raises(ActpruneError, match=message):
        profile(mlp, source, strata=strata, batch_size=150 if data == "plain" else None)


def test_packed_text_has_no_strata() -> None:
    named = strata_by(parity)
    assert named is not None
    ids = torch.arange(2)
    batch = Batch(args=(), kwargs={}, labels=None, ids=ids, documents=torch.zeros(2, 3).long())
    with pytest.raises(ActpruneError, match="of packed text a sample is a document"):
        named(batch)


def test_too_many_strata_are_refused(
    mlp: nn.Module, vectors: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert strata_sums.MOST == 1000
    monkeypatch.setattr(strata_sums, "MOST", 149)
    with pytest.raises(ActpruneError, match="more than 149 of them, the last '149'; name fewer"):
        profile(mlp, vectors, strata=lambda b: b.ids)
    monkeypatch.setattr(strata_sums, "MOST", 150)
    assert len(profile(mlp, vectors, strata=lambda b: b.ids).strata) == 150
    monkeypatch.setattr(strata_sums, "free_memory", lambda device: 1000)
    with pytest.raises(ActpruneError, match=r"Counts of stratum '0', after 0 others, need 0\.0 GB"):
        profile(mlp, vectors, strata=lambda b: b.ids)


def test_reweighting_by_hand(mlp: nn.Module, vectors: Tensor) -> None:
    seen = profile(mlp, vectors, strata=parity, rule="positive")
    hidden = torch.relu(mlp[0](vectors)).detach().double()  # pyright: ignore[reportIndexIssue]
    even, odd = hidden[::2], hidden[1::2]
    got = reweighted(seen, {"even": 3, "odd": 1})[0]
    assert got.site == "0"
    for value, of in (
        (got.mean, lambda a: a.mean(0)),
        (got.second_moment, lambda a: a.square().mean(0)),
        (got.rate, lambda a: (a > 0).double().mean(0)),
        (got.sample_rate, lambda a: (a > 0).double().mean(0)),
    ):
        np.testing.assert_allclose(value, (0.75 * of(even) + 0.25 * of(odd)).numpy(), rtol=1e-12)
    p, q = ((a > 0).double().mean(0).numpy() for a in (even, odd))
    variance = 0.75**2 * p * (1 - p) / 74 + 0.25**2 * q * (1 - q) / 74
    assert got.sample_rate_stderr is not None
    np.testing.assert_allclose(got.sample_rate_stderr, np.sqrt(variance), rtol=1e-12)
    assert got.reason is None


def test_own_shares_give_the_profile_itself(
    mlp: nn.Module, vectors: Tensor, labels: Tensor
) -> None:
    seen = profile(mlp, in_batches(vectors, labels), strata="labels", rule="positive")
    for got, s in zip(
        reweighted(seen, {t.name: t.samples for t in seen.strata}), seen.sites, strict=True
    ):
        np.testing.assert_allclose(got.rate, s.rate, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(got.mean, s.mean, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(got.second_moment, s.second_moment, rtol=1e-12)


def test_reweighted_errors_cover_the_truth() -> None:
    """400 draws of two strata with positions of their own number, whose truth is known."""
    gen = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1))
    model[0].weight.data = torch.tensor([[1.0], [-1.0], [0.5]])
    model[0].bias.data = torch.tensor([0.0, 0.5, -0.5])
    base = profile(model, torch.zeros(2, 1))
    site = base.sites[0].site
    inside = {"rate": [], "mean": [], "sample_rate": [], "second_moment": []}
    weights = {"a": 0.3, "b": 0.7}

    def draw(name: str, n: int) -> Tensor:
        P = 2 if name == "a" else 5
        own = torch.randn(n, 1, 1, generator=gen) + (1.0 if name == "a" else 0.0)
        return model[0](own + torch.randn(n, P, 1, generator=gen)).relu().transpose(1, 2)

    with torch.no_grad():
        big = {k: draw(k, 200_000).double() for k in weights}
    means = {
        "rate": lambda a: (a > 0).double(), "mean": lambda a: a, "second_moment": torch.square,
    }  # fmt: skip
    positions = sum(w * big[k].shape[2] for k, w in weights.items())
    truth: dict[str, Any] = {
        name: sum(w * of(big[k]).sum(2).mean(0) for k, w in weights.items()) / positions
        for name, of in means.items()
    }
    truth["sample_rate"] = sum(w * (big[k] > 0).any(2).double().mean(0) for k, w in weights.items())
    for trial in range(400):
        ledger = Ledger(
            [site], {site.name: Rule(kind="positive", threshold=0.0)}, with_gram=False,
            strata=lambda b: [b.kwargs["name"]] * len(b), device=torch.device("cpu"), seed=trial,
        )  # fmt: skip
        for start, (name, n) in zip((0, 200), (("a", 200), ("b", 60)), strict=True):
            ids = torch.arange(start, start + n)
            ledger.open(Batch(args=(), kwargs={"name": name}, labels=None, ids=ids))
            with torch.no_grad():
                ledger.see(site.name, draw(name, n))
            ledger.close(0)
        seen = replace(base, sites=ledger.freeze(), strata=ledger.freeze_strata())
        (got,) = reweighted(seen, weights)
        for name, hits in inside.items():
            error = getattr(got, f"{name}_stderr")
            hits.append(np.abs(getattr(got, name) - truth[name].numpy()) <= 1.96 * error)
    # 400 trials of 3 units, as if a trial's units were one: four sigma of the binomial, and 1 % for
    # the truth's own error and for the normal limit, of some 30 blocks' variance
    slack = 4 * (0.05 * 0.95 / 400) ** 0.5 + 0.01
    for name, hits in inside.items():
        assert abs(np.mean(hits) - 0.95) <= slack, (name, np.mean(hits))


def test_errors_from_blocks_are_those_of_the_samples_on_average(
    mlp: nn.Module, vectors: Tensor
) -> None:
    """Eight samples of known activations, put into blocks at random again and again."""
    seen = profile(mlp, vectors, rule="positive", strata=parity)
    site = seen.strata[0].sites[0]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, site.units))
    expected = x.var(0, ddof=1) / 8
    found = []
    for _ in range(6_000):
        block = rng.integers(0, len(site.samples), 8)
        samples, total = np.zeros_like(site.samples), np.zeros_like(site.total)
        np.add.at(samples, block, 1)
        np.add.at(total, block, x)
        silent = np.zeros_like(site.samples_active)
        own = replace(site, samples=samples, positions=samples, total=total, samples_active=silent)
        stratum_ = replace(seen.strata[0], sites=(own,))
        error = reweighted(replace(seen, sites=(own,), strata=(stratum_,)), {"even": 1})[0]
        assert error.mean_stderr is not None
        found.append(error.mean_stderr**2 / expected)
    # four standard errors of the mean, and 0.2 % for a mean of ratios being no ratio of means: the
    # divisor is 7 x 31/32 on average and varies by 3 % (about its square, 0.1 %, matters)
    off = np.abs(np.mean(found, 0) - 1)
    assert (off <= 4 * np.std(found, 0) / len(found) ** 0.5 + 0.002).all(), off


def test_weights_that_are_no_shares_are_refused(mlp: nn.Module, vectors: Tensor) -> None:
    seen = profile(mlp, vectors, strata=parity, rule="positive")
    for weights in ({"even": -1.0, "odd": 2.0}, {"even": 0.0}, {}, {"odd": float("nan")}):
        with pytest.raises(ActpruneError, match="must be 0 or more and not all 0"):
            reweighted(seen, weights)
    with pytest.raises(ActpruneError, match="no stratum 'none' to weigh; there are 'even', 'odd'"):
        reweighted(seen, {"none": 1.0})
    with pytest.raises(ActpruneError, match="There is no stratum '7'; there are 'even', 'odd'"):
        stratum(seen, 7)
    plain = profile(mlp, vectors)
    for call in (lambda: stratum(plain, "even"), lambda: reweighted(plain, {"even": 1.0})):
        with pytest.raises(ActpruneError, match="no strata; profile with --strata labels"):
            call()


def test_a_stratum_of_one_sample_has_no_error(mlp: nn.Module, vectors: Tensor) -> None:
    seen = profile(
        mlp, vectors, rule="positive", strata=lambda b: [int(i == 0) for i in b.ids.tolist()]
    )
    got = reweighted(seen, {"0": 0.5, "1": 0.5})[0]
    assert got.rate_stderr is got.mean_stderr is got.sample_rate_stderr is None
    assert got.reason == "stratum '1' has samples in fewer than two blocks, too few for an error"
    assert reweighted(seen, {"0": 1.0, "1": 0.0})[0].reason is None
