"""Coverage, documents, warnings and the samples that certificates need: by hand and by truth."""

import math

import numpy as np
import pytest

from actprune.errors import ActpruneError
from actprune.theory import (
    by_document,
    calibration_warning,
    chao_jost_coverage,
    fit_family,
    good_coverage,
    good_turing,
    leave_one_out_certificate,
    rate_bound,
    samples_by_law,
    samples_to_bound_rates,
    samples_to_certify,
    split_certificate,
    unseen_firings,
)


def test_coverage_by_hand() -> None:
    counts = [0, 0, 1, 1, 2, 6]  # U = 10, Q_1 = 2, Q_2 = 1
    assert good_coverage(counts, 10) == pytest.approx(0.8)
    assert chao_jost_coverage(counts, 10) == pytest.approx(1 - 0.2 * 18 / 20)
    assert chao_jost_coverage([0, 1, 1, 8], 10) == pytest.approx(1 - 0.2 * 9 / 11)  # Q_2 = 0
    assert good_coverage([0, 0], 5) == chao_jost_coverage([0, 0], 5) == 0.0
    assert good_coverage([5, 5], 5) == chao_jost_coverage([5, 5], 5) == 1.0
    assert good_coverage([1, 1], 1) == 0.0


def test_samples_that_bound_rates_are_the_fewest() -> None:
    for m, rate, level in ((1, 0.01, 0.95), (40, 0.003, 0.95), (7, 0.5, 0.5), (1, 0.05, 0.95)):
        needed = samples_to_bound_rates(m=m, rate=rate, level=level).needed
        assert needed is not None
        assert rate_bound(needed, m, level) <= rate * (1 + 1e-9) < rate_bound(needed - 1, m, level)
    assert samples_to_bound_rates(m=1, rate=0.01).needed == 299  # 300 by the rule of three
    got = samples_to_bound_rates(m=1, rate=0.01, seen=200)
    assert got.more == 99
    assert samples_to_bound_rates(m=1, rate=0.01, seen=500).more == 0


@pytest.mark.parametrize(("share", "expected"), [(0.01, 0.0), (0.01, 0.004), (0.3, 0.25)])
def test_samples_that_certify_are_enough(share: float, expected: float) -> None:
    got = samples_to_certify(share=share, expected=expected, seen=10)
    assert got.needed is not None
    assert got.more == got.needed - 10
    assert split_certificate(math.ceil(expected * got.needed - 1e-9), got.needed) <= share
    # one fewer fails, unless a firing fewer is allowed for there
    before = got.needed - 1
    assert split_certificate(math.ceil(expected * before - 1e-9), before) > share


def test_units_that_fire_too_often_are_never_certified() -> None:
    got = samples_to_certify(share=0.01, expected=0.01)
    assert (got.needed, got.more) == (None, None)
    assert got.reason is not None
    assert samples_to_certify(share=0.01).needed == 299
    for share, expected, seen in ((0.0, 0.0, 0), (0.1, 1.5, 0), (0.1, 0.0, -1)):
        with pytest.raises(ActpruneError, match="got"):
            samples_to_certify(share=share, expected=expected, seen=seen)
    with pytest.raises(ActpruneError, match="at least one"):
        samples_to_bound_rates(m=0, rate=0.1)


def test_documents_are_the_samples_that_count() -> None:
    fires = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 1]], dtype=bool)
    got = by_document(fires, [7, 7, 3, 3])
    assert got.documents.tolist() == [3, 7]
    assert got.counts.tolist() == [1, 0, 2]
    assert got.first.tolist() == [1, -1, 0]
    assert got.active.tolist() == [[False, False, True], [True, False, True]]
    assert got.D == 2
    assert by_document(np.zeros((0, 2)), []).counts.tolist() == [0, 0]
    with pytest.raises(ActpruneError, match="documents"):
        by_document(fires, [1, 2])


def test_tokens_deceive_where_documents_do_not() -> None:
    # a unit answers to one document in a thousand, then to all of its tokens
    rng = np.random.default_rng(0)
    tokens, units, rate, trials = 50, 60, 0.002, 300
    by_token, by_text, truth = np.empty((3, trials))
    for t in range(trials):
        texts = rng.random((40, units)) < rate
        fires = np.repeat(texts, tokens, axis=0)
        counts = fires.sum(0)
        by_token[t] = leave_one_out_certificate(counts, fires.argmax(0), len(fires))
        found = by_document(fires, np.repeat(np.arange(40), tokens))
        by_text[t] = leave_one_out_certificate(found.counts, found.first, found.D)
        truth[t] = 1 - (1 - rate) ** np.count_nonzero(counts == 0)
    assert by_token.max() == 0.0  # every firing has company: nothing seems to be unseen
    gap = by_text - truth
    # unbiased for one document fewer, which is 1/40 of the truth off at most
    assert abs(gap.mean()) <= 4.5 * gap.std(ddof=1) / trials**0.5 + truth.mean() / 40
    assert truth.mean() > 0.05


def test_warning_by_hand() -> None:
    counts = np.repeat([0, 1, 3], [20, 12, 30])
    got = calibration_warning(counts, 300)
    assert got is not None
    assert (got.Q1, got.times, got.needed, got.fitted) == (12, pytest.approx(4.0), 1200, None)
    assert "too small by 4x" in got.message
    assert calibration_warning(counts, 1_200) is None
    # nothing fires only once, but 100 samples cannot show 1 % either
    got = calibration_warning(np.array([0, 5]), 100)
    assert got is not None
    assert got.times == pytest.approx(3.0)
    assert calibration_warning(np.array([1, 5]), 10) is None  # nothing is free


def test_unseen_firings_are_the_growth_of_K() -> None:
    rng = np.random.default_rng(1)
    p = rng.beta(0.6, 4.0, 200)
    p[:30], p[-5:] = 0.0, 1.0
    counts = rng.binomial(50, p)
    for family in ("binomial", "urn", "beta-binomial", "inflated"):
        fit = fit_family(counts, 50, family)
        for d in (1, 50, 400):
            K = fit.expected_working(np.array([d, d + 1]))
            assert unseen_firings(fit, d) == pytest.approx(K[1] - K[0], rel=1e-6, abs=1e-10)
        needed = samples_by_law(fit, 0.05, least=50)
        assert needed is not None
        assert unseen_firings(fit, needed) <= 0.05
        assert needed == 50 or unseen_firings(fit, needed - 1) > 0.05
    assert good_turing(counts, 50) == pytest.approx(
        unseen_firings(fit_family(counts, 50, "inflated"), 50), rel=0.5
    )  # two estimates of one number; Q_1 has about 10 units, a third of itself as error


@pytest.mark.parametrize(
    ("counts", "D"),
    [([0, 0, 0], 20), ([20, 20], 20), ([0, 0, 20], 20), ([0, 1], 1), ([0], 1), ([7] * 9, 20),
     ([0, 0, 1], 20)],
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_degenerate_counts_have_a_stated_answer(counts: list[int], D: int) -> None:
    assert 0 <= good_coverage(counts, D) <= 1
    assert 0 <= chao_jost_coverage(counts, D) <= 1
    for family in ("binomial", "urn", "beta-binomial", "inflated"):
        fit = fit_family(np.array(counts), D, family)
        got = calibration_warning(np.array(counts), D, fit=fit)
        assert got is None or (got.times > 1 and got.message)
        assert (got is None) == (0 not in counts)
        assert np.isfinite(unseen_firings(fit, D))
