"""Free units, their certificates and bounds: by hand and against known truths."""

import numpy as np
import pytest
from scipy.stats import binom

from actprune.errors import ActpruneError
from actprune.theory import liveness as lv


def test_classes_by_hand() -> None:
    got = lv.classify([0, 2, 4], 4)
    assert got.free.tolist() == [True, False, False]
    assert got.always_on.tolist() == [False, False, True]
    assert not lv.classify([0, 0], 0).always_on.any()


def test_counting_estimates_by_hand() -> None:
    counts = [0, 0, 0, 0, 1, 1, 1, 2, 5]  # Q_1 = 3, Q_2 = 1
    assert lv.good_turing(counts, 10) == pytest.approx(0.3)
    assert lv.chao2(counts, 10) == pytest.approx(4.0)  # .9 * 9/2 = 4.05, capped at 4 free units
    assert lv.chao2([0] * 9 + [1, 1, 1], 10) == pytest.approx(0.9 * 3)  # Q_2 = 0
    assert lv.chao2([0, 0, 2], 10) == 0.0  # Q_1 = 0
    assert lv.chao2([0, 1], 10) == 0.0  # Q_1 = 1, Q_2 = 0
    assert lv.chao2([0, 1, 2], 1) == 0.0
    assert lv.chao2([], 0) == lv.good_turing([], 0) == 0.0


def test_leave_one_out_by_hand() -> None:
    # samples 7 and 9 own a unit each that fires nowhere else; 7 owns two; 3 was shared
    counts, first = [1, 1, 1, 2, 0], [7, 7, 9, 3, -1]
    assert lv.leave_one_out_certificate(counts, first, 8) == pytest.approx(2 / 8)
    assert lv.leave_one_out_certificate([0, 5], [-1, 0], 5) == 0.0
    assert lv.leave_one_out_certificate([0], [-1], 0) == 1.0


def test_leave_one_out_and_good_turing_are_unbiased_one_sample_short() -> None:
    rng = np.random.default_rng(0)
    p, D, trials = rng.beta(0.3, 10.0, 60), 40, 4_000
    share, count = np.empty(trials), np.empty(trials)
    for t in range(trials):
        fires = rng.random((D, len(p))) < p
        silent = ~fires[1:].any(0)  # free after D - 1 samples
        counts, first = fires.sum(0), fires.argmax(0)
        truth = 1 - np.prod(1 - p[silent])  # some silent unit fires on the next input
        share[t] = lv.leave_one_out_certificate(counts, first, D) - truth
        count[t] = lv.good_turing(counts, D) - p[silent].sum()
    for gap in (share, count):
        assert abs(gap.mean()) <= 4.5 * gap.std(ddof=1) / trials**0.5


def test_split_certificate_by_hand() -> None:
    assert lv.split_certificate(0, 100) == pytest.approx(1 - 0.05 ** (1 / 100))
    assert lv.split_certificate(5, 5) == 1.0
    assert lv.split_certificate(0, 0) == 1.0
    # the bound is the share at which x or fewer have probability 1 - level
    bound = lv.split_certificate(3, 50, level=0.9)
    assert binom.cdf(3, 50, bound) == pytest.approx(0.1)
    for wrong in ((-1, 5, 0.9), (6, 5, 0.9), (1, 5, 1.0)):
        with pytest.raises(ActpruneError, match="Needs"):
            lv.split_certificate(*wrong)


def test_split_bounds_cover_the_true_share() -> None:
    rng = np.random.default_rng(1)
    p, D, trials = rng.beta(0.3, 12.0, 80), 120, 2_000
    covered, from_blocks = 0, 0
    for _ in range(trials):
        choose, check = rng.random((2, D, len(p))) < p
        free = ~choose.any(0)
        truth = 1 - np.prod(1 - p[free])
        x = int(check[:, free].any(1).sum())
        covered += truth <= lv.split_certificate(x, D)

        halves = np.stack([choose.reshape(4, -1, len(p)), check.reshape(4, -1, len(p))], 1)
        active = halves.reshape(8, -1, len(p)).sum(1)  # even blocks choose, odd ones check
        got = lv.block_certificate(active, np.full(8, D // 4))
        assert got.x >= x
        still_free = free & ~check.any(0)
        assert got.upper is not None
        from_blocks += 1 - np.prod(1 - p[still_free]) <= got.upper
    below = 0.95 - 3 * (0.95 * 0.05 / trials) ** 0.5
    assert covered / trials >= below
    assert from_blocks / trials >= below


def test_block_certificate_by_hand() -> None:
    active = np.array([[0, 0, 1], [1, 1, 2], [0, 0, 2], [0, 0, 2]])
    got = lv.block_certificate(active, np.array([5, 5, 5, 5]))
    assert (got.x, got.n) == (2, 10)  # two firings of two units, perhaps on two inputs
    assert got.upper == lv.split_certificate(2, 10)
    assert lv.block_certificate(active[:1], np.array([5])).upper is None


def test_rate_bounds_by_hand() -> None:
    # a rate this high stays silent on all D samples with probability 5 %
    assert (1 - lv.rate_bound(300)) ** 300 == pytest.approx(0.05)
    assert lv.rate_bound_simple(300) == pytest.approx(np.log(20) / 300)
    assert lv.rate_bound(300) < lv.rate_bound_simple(300) < 3 / 300
    # ten units: each silent with probability .5 %
    assert (1 - lv.rate_bound(300, m=10)) ** 300 == pytest.approx(0.005)
    assert lv.rate_bound(0) == lv.rate_bound_simple(0) == lv.rate_bound_simple(1) == 1.0
    with pytest.raises(ActpruneError, match="m >= 1"):
        lv.rate_bound(10, m=0)


@pytest.mark.parametrize(
    ("free", "D", "certificate", "answer"),
    [
        (0, 5, 0.0, "nothing free"),
        (3, 1_000, 0.2, "not enough"),
        (3, 1_000, 0.03, "borderline"),
        (3, 1_000, 0.002, "enough"),
        (3, 100, 0.0, "borderline"),  # 100 samples cannot show less than 3 %
        (3, 10, 0.0, "not enough"),
    ],
)
def test_judgement(free: int, D: int, certificate: float, answer: str) -> None:
    got = lv.judge_enough(free=free, D=D, good_turing=certificate, certificate=certificate)
    assert got.answer == answer
    assert got.why
