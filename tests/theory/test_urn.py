"""The urn: by hand, against a direct simulation of the rule, and at its limits."""

import numpy as np
import pytest

from actprune.errors import ActpruneError
from actprune.theory import urn
from actprune.theory._gamma import digamma_rising, log_rising


def simulate(*, N: int, b: float, c: float, D: int, runs: int, seed: int) -> np.ndarray:
    """K(D) of `runs` urns that draw every sample from the rule (D_i + b)/(D + bN/c) itself."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((runs, N))
    for seen in range(D):
        counts += rng.random(counts.shape) < (counts + b) / (seen + b * N / c)
    return (counts > 0).sum(1)


def test_expected_working_by_hand() -> None:
    # b = 1, M = 1 * 4/2 = 2: P(silent) = G(2) G(D+1) / (G(1) G(D+2)) = 1/(D+1)
    assert urn.expected_working([0, 1, 3], N=4, b=1.0, c=2.0) == pytest.approx([0, 2, 3])
    # published: 4 (1 - 2/(D + 2))
    assert urn.published_working([0, 1, 3], N=4, b=1.0, c=2.0) == pytest.approx([0, 4 / 3, 2.4])
    assert urn.crossover(N=4, b=1.0, c=2.0) == 2.0


def test_expected_working_of_the_reference_case() -> None:
    assert float(urn.expected_working(30, N=50, b=0.5, c=20)) == pytest.approx(43.30, abs=0.005)
    assert float(urn.published_working(30, N=50, b=0.5, c=20)) == pytest.approx(40.00, abs=0.005)


@pytest.mark.parametrize(
    ("N", "b", "c", "D"),
    [(50, 0.5, 20, 30), (50, 0.3, 5, 40), (30, 2.0, 10, 8), (40, 1.0, 39, 5), (20, 0.1, 1, 60)],
)
def test_expected_working_matches_the_simulated_rule(N: int, b: float, c: float, D: int) -> None:
    runs = simulate(N=N, b=b, c=c, D=D, runs=3_000, seed=1)
    error = runs.std(ddof=1) / np.sqrt(len(runs))

    exact = float(urn.expected_working(D, N=N, b=b, c=c))

    # five cases: 4.5 standard errors are passed by chance once in 29,000 runs of this test
    assert abs(exact - runs.mean()) <= 4.5 * error


def test_published_working_is_below_the_exact_mean_and_its_limit() -> None:
    d = np.array([1, 10, 100, 1_000])
    for N, b, c in [(100, 0.4, 30), (1_000, 0.8, 5), (10, 2.0, 9)]:
        assert (
            urn.published_working(d, N=N, b=b, c=c) < urn.expected_working(d, N=N, b=b, c=c)
        ).all()
    # M = 1e7: the exact form deviates by O(b/M)
    sparse = {"N": 10**7, "b": 1.0, "c": 1.0}
    exact, published = urn.free_share(10**7, **sparse), urn.published_free_share(10**7, **sparse)
    assert float(exact) == pytest.approx(float(published), rel=1e-6)


@pytest.mark.parametrize("D", [1, 7, 400])
def test_elasticities_are_the_derivatives(D: int) -> None:
    N, b, c, g, h = 300, 0.4, 250.0, 0.3, 1e-5

    def log_rho(n: float, d: float) -> float:
        # N only enters through bN/c, so a fractional N is fine here
        M = b * n / (c * (n / N) ** g)
        return float(log_rising(M - b, d) - log_rising(M, d))

    got = urn.elasticities(N=N, b=b, c=c, D=D, c_exponent=g)

    by_N = (log_rho(N * np.exp(h), D) - log_rho(N * np.exp(-h), D)) / (2 * h)
    by_D = (log_rho(N, D * np.exp(h)) - log_rho(N, D * np.exp(-h))) / (2 * h)
    # central differences: h^2 of curvature plus 1e-15/h of rounding
    assert (got.exact_N, got.exact_D) == pytest.approx((by_N, by_D), rel=1e-7, abs=1e-8)


def test_elasticities_of_the_dense_reference_case() -> None:
    got = urn.elasticities(N=300, b=0.4, c=250, D=100)
    assert got.exact_N == pytest.approx(5.2, abs=0.05)
    assert got.published_N == pytest.approx(0.40, abs=0.005)
    assert got.published_D == -got.published_N
    at_constant_share = urn.elasticities(N=300, b=0.4, c=250, D=100, c_exponent=1.0)
    assert at_constant_share.exact_N == at_constant_share.published_N == 0.0


def test_next_firing_by_hand_and_by_simulation() -> None:
    assert urn.next_firing([0, 3], D=10, b=0.5, M=2.0) == pytest.approx([0.5 / 12, 3.5 / 12])
    assert urn.free_next_firing(D=10, b=0.5, M=2.0) == pytest.approx(0.5 / 12)
    # b = 1, M = 2, D = 3: z = 1/4, w = .5 z / (.5 + .5 z) = 1/5
    assert urn.free_next_firing(D=3, b=1.0, M=2.0, pi0=0.5) == pytest.approx(0.2 * 1 / 5)

    rng = np.random.default_rng(2)
    p = rng.beta(0.5, 2.5, 400_000)
    p[:120_000], p[120_000:160_000] = 0.0, 1.0
    free = rng.binomial(6, p) == 0
    fires = rng.random(free.sum()) < p[free]
    expected = urn.free_next_firing(D=6, b=0.5, M=3.0, pi0=0.3, pi1=0.1)
    assert abs(fires.mean() - expected) <= 4.5 * fires.std() / np.sqrt(fires.size)


def test_degenerate_urns_have_stated_answers() -> None:
    assert urn.expected_working([0, 1, 9], N=5, b=2.0, c=5.0) == pytest.approx([0, 5, 5])  # c = N
    assert urn.free_share([0, 1], N=5, b=2.0, c=5.0) == pytest.approx([1, 0])
    full = urn.elasticities(N=5, b=2.0, c=5.0, D=3)
    assert (full.exact_N, full.exact_D) == (None, None)
    assert full.reason is not None
    assert urn.elasticities(N=5, b=2.0, c=1.0, D=0).exact_N == 0.0
    assert urn.free_next_firing(D=0, b=1.0, M=2.0, pi0=0.2, pi1=0.4) == pytest.approx(0.6)
    assert urn.free_next_firing(D=5, b=1.0, M=2.0, pi0=1.0) == 0.0
    assert urn.free_next_firing(D=5, b=1.0, M=2.0, pi1=1.0) == 0.0
    for wrong in ({"N": 0}, {"b": 0.0}, {"c": 6.0}, {"c": 0.0}):
        with pytest.raises(ActpruneError, match="urn needs"):
            urn.expected_working(1, **{"N": 5, "b": 1.0, "c": 2.0, **wrong})
    with pytest.raises(ActpruneError, match="finite"):
        urn.expected_working(-1, N=5, b=1.0, c=2.0)


def test_gamma_differences_hold_their_digits() -> None:
    n = np.arange(6)
    for x in (0.3, 5.0, 31.9, 32.1, 1e6, 1e15):
        steps = x + np.arange(5)  # (x)_n is a product of n factors
        product = np.concatenate([[0.0], np.cumsum(np.log(steps))])
        assert log_rising(x, n) == pytest.approx(product, rel=1e-12, abs=1e-13)
        harmonic = np.concatenate([[0.0], np.cumsum(1 / steps)])
        assert digamma_rising(x, n) == pytest.approx(harmonic, rel=1e-11, abs=1e-14)
