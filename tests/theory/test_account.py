"""The whole account of a profile: its parts, its words, and an answer for every degenerate site."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fake_profiles import FakeProfile, FakeSiteProfile, profiled

from actprune.errors import ActpruneError
from actprune.theory.account import Account, account_of
from actprune.theory.account_document import document
from actprune.theory.allowance import Probed, allowed_cut
from actprune.theory.count_law import count_log_pmf
from actprune.theory.distance import count_distance, ks_bound
from actprune.theory.fit_counts import fit_family
from actprune.theory.lorenz import removed_share
from actprune.theory.power_law import power_law_of
from actprune.theory.wording import reworded


def site(fires: np.ndarray, name: str = "fc") -> FakeSiteProfile:
    return profiled(fires, name=name)


def mixed(D: int = 400, N: int = 200, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    p = rng.beta(0.4, 3.0, N)
    p[: N // 8] = 0
    return rng.random((D, N)) < p


def no_silent_null(value: Any, where: str = "") -> None:
    """Every null has a reason or a note beside it."""
    if isinstance(value, list):
        for i, x in enumerate(value):
            no_silent_null(x, f"{where}[{i}]")
    if not isinstance(value, dict):
        return
    beside = value.get("reason") or value.get("note")
    for key, x in value.items():
        if x is None and not key.endswith("reason"):
            own = value.get(f"{key}_reason") or value.get(f"{key.removesuffix('_stderr')}_reason")
            assert own or beside, f"{where}.{key}"
        if key not in ("stderr", "heldout"):  # their reasons stand beside the whole object
            no_silent_null(x, f"{where}.{key}")


CASES = {
    "dead": lambda D, N: np.zeros((D, N), dtype=bool),
    "always on": lambda D, N: np.ones((D, N), dtype=bool),
    "mixed": lambda D, N: np.random.default_rng(1).random((D, N)) < 0.4,
    "spike": lambda D, N: np.arange(D)[:, None] == np.where(np.arange(N) == 0, D - 1, -1),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("N", [1, 6, 40])
@pytest.mark.parametrize("D", [0, 1, 2, 40])
@pytest.mark.filterwarnings("error")
def test_every_degenerate_site_has_a_stated_answer(D: int, N: int, case: str) -> None:
    found = account_of(FakeProfile((site(CASES[case](D, N)),)))
    data = document(found)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    no_silent_null(data)
    (only,) = found.sites
    assert only.verdict
    assert found.verdict
    if D == 0:
        assert "nothing can be said" in only.verdict
    elif case == "dead":
        assert "check the firing rule" in only.verdict
    elif case == "always on":
        assert "counts say nothing here" in only.verdict
    if D and only.power_law is not None and N < 10:
        assert only.power_law.alpha is None


def test_a_profile_without_sites_has_an_answer() -> None:
    found = account_of(FakeProfile(()))
    assert found.verdict == "The profile has no site."
    no_silent_null(document(found))


@pytest.fixture(scope="module")
def found() -> Account:
    return account_of(FakeProfile((site(mixed()), site(mixed(seed=1), "other"))))


def test_an_account_holds_what_its_parts_say(found: Account) -> None:
    one = found.sites[0]
    counts = mixed().sum(0)
    assert one.rates is not None
    assert one.tail is not None
    assert one.ahead is not None
    assert one.rates.never[0] == one.theory.free == (counts == 0).sum()
    assert one.rates.units.sum() + one.rates.never[0] + one.rates.always[0] == 200
    assert one.rates.expected.sum() + one.rates.never[1] + one.rates.always[1] == pytest.approx(200)
    assert one.tail.seen[0] == 1
    np.testing.assert_allclose(
        one.tail.seen, [(counts >= k).sum() / (counts > 0).sum() for k in one.tail.k]
    )
    assert (one.ahead.d[0], one.ahead.d[-1]) == (400, 1600)
    for method, e in one.survey.ahead.items():
        assert one.ahead.methods[method].working[-1] == pytest.approx(e.working)
    assert one.goodness is None
    assert found.units == 400


def test_a_bootstrap_is_made_only_when_asked_for() -> None:
    whole = FakeProfile((site(mixed(100, 60)),))
    asked = account_of(whole, goodness=19).sites[0]
    assert asked.goodness is not None
    assert asked.goodness.replicates == 19
    assert asked.fits is (asked.goodness.p >= 0.05)
    with pytest.raises(ActpruneError, match="replicates >= 0"):
        account_of(whole, goodness=-1)


def test_a_bad_fit_is_never_hidden() -> None:
    rng = np.random.default_rng(0)  # three rates: no Beta law has that
    fires = rng.random((800, 300)) < rng.choice([0.05, 0.5, 0.95], 300)
    one = account_of(FakeProfile((site(fires),))).sites[0]
    assert one.fits is False
    assert "no law fits well" in one.verdict


def test_the_bound_on_p_rejects_a_true_law_too_seldom_never_too_often() -> None:
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(300):
        counts = rng.binomial(100, rng.beta(0.5, 1.5, 80))
        wrong += count_distance(counts, 100, fit_family(counts, 100, "beta-binomial")).rejected()
    assert wrong <= 0.05 * 300  # the bound is conservative: nothing is to be allowed for


def test_the_distance_by_hand() -> None:
    fit = fit_family(np.array([0, 1, 1, 2]), 2, "binomial")  # rate 1/2: law 1/4, 1/2, 1/4
    found = count_distance(np.array([0, 0, 1, 2]), 2, fit)  # seen 1/2, 1/4, 1/4
    assert (found.ks, found.at, found.units) == (pytest.approx(0.25), 0, 4)
    assert ks_bound(0.25, 40) == pytest.approx(2 * np.exp(-5))
    assert ks_bound(0.01, 4) == 1
    assert np.exp(count_log_pmf(fit, np.arange(3), 2)) == pytest.approx([0.25, 0.5, 0.25])


def test_a_power_law_is_found_and_a_geometric_tail_is_not_one() -> None:
    rng, k = np.random.default_rng(0), np.arange(1, 1001)
    weight = k**-0.7
    true = power_law_of(rng.choice(k, 3000, p=weight / weight.sum()), 1000)
    assert true.alpha is not None
    assert true.interval.covers(0.7)
    weight = np.exp(-0.02 * k)
    none = power_law_of(rng.choice(k, 3000, p=weight / weight.sum()), 1000)
    assert none.alpha is None
    assert "geometric" in none.reason
    assert power_law_of(np.zeros(5, dtype=np.int64), 10).reason == "no unit fired"
    few = power_law_of(np.array([1, 2, 4]), 10)
    assert (few.alpha, few.reason) == (
        None, "3 working units are too few to tell, at least 10 needed",
    )  # fmt: skip


def test_the_cut_allowed_by_hand() -> None:
    # without a law a unit's share is as counted: 1, 2, 3, 14 of 20 at one site, 5, 15 at the other
    sites = [("a", np.array([1, 2, 3, 14]), 20, None), ("b", np.array([5, 15]), 20, None)]
    # loss = 2 share^2: 0.18 allows 0.3 of all 40 activations, that is 12: 1, 2, 3 and 5 are 11
    got = allowed_cut(sites, Probed(kappa=2.0, gamma=2.0, share=0.5), 0.18)
    assert got.share == pytest.approx(0.3)
    assert got.units == {"a": 3, "b": 1}
    assert "beyond" not in got.note
    # 0.1 of 40 are 4: units 1 and 2 are 3
    small = allowed_cut(sites, Probed(kappa=2.0, gamma=2.0, share=0.05), 0.02)
    assert small.units == {"a": 2, "b": 0}
    assert "beyond the 5.0%" in small.note
    # one unit of each site stays, whatever the loss
    assert allowed_cut(sites, Probed(kappa=2, gamma=2, share=1), 9).units == {"a": 3, "b": 1}
    for probed, loss in (
        (Probed(kappa=2, gamma=0, share=1), 1),
        (Probed(kappa=2, gamma=1, share=1), 0),
    ):
        with pytest.raises(ActpruneError, match=r"flat|positive"):
            allowed_cut(sites, probed, loss)


def test_the_cut_allowed_keeps_the_removed_share() -> None:
    counts = mixed().sum(0)
    fit = fit_family(counts, 400, "beta-binomial")
    assert fit.b is not None
    assert fit.M is not None
    got = allowed_cut([("fc", counts, 400, fit)], Probed(kappa=1, gamma=1, share=1), 0.1)
    removed = np.zeros(200, dtype=bool)
    order = np.argsort(counts, kind="stable")
    removed[order[: got.units["fc"]]] = True
    assert removed_share(counts, removed, D=400, b=fit.b, M=fit.M).share <= 0.1 + 1e-9
    removed[order[got.units["fc"]]] = True
    assert removed_share(counts, removed, D=400, b=fit.b, M=fit.M).share > 0.1


def test_a_plan_that_allows_nothing_says_why() -> None:
    whole = FakeProfile((site(mixed()),))
    flat = account_of(whole, probed=Probed(kappa=0.0, gamma=1.0, share=0.1))
    assert flat.allowed is None
    assert "is flat" in str(flat.allowed_reason)
    some = account_of(whole, probed=Probed(kappa=1.0, gamma=1.0, share=0.1), loss=0.02)
    assert "more at +0.02 nats" in some.sites[0].verdict
    assert "may go at +0.02 nats" in some.verdict


def test_documents_are_called_documents(found: Account) -> None:
    assert reworded("Samples: each input, an input; 3 samples", "documents") == (
        "Documents: each document, a document; 3 documents"
    )
    assert reworded("3 samples", "samples") == "3 samples"
    data = document(found, "documents")
    assert data["counted"] == "documents"
    text = json.dumps([{k: v for k, v in s.items() if isinstance(v, str)} for s in data["sites"]])
    assert "sample" not in text
    assert "further documents" in text
