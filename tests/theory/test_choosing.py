"""The choice of a law by held-out samples."""

import numpy as np
import pytest

from actprune.errors import ActpruneError
from actprune.theory.choosing import choose
from actprune.theory.fit_counts import fit_family


def blocks(rng: np.random.Generator, p: np.ndarray, sizes: list[int]) -> tuple:
    """Independent units of given rates, counted in blocks."""
    samples = np.array(sizes)
    return rng.binomial(samples[:, None], p), samples


def test_scores_by_hand() -> None:
    # one rate: fitted on the even block (3 of 8), tried on the odd (5 of 8), and back
    active, samples = np.array([[1, 2], [2, 3]]), np.array([4, 4])
    choice = choose(active, samples)

    def score(p: float, counts: tuple[int, int]) -> float:
        choose_4 = [1, 4, 6, 4, 1]
        return sum(np.log(choose_4[k] * p**k * (1 - p) ** (4 - k)) for k in counts)

    assert choice.heldout["binomial"] == pytest.approx(score(3 / 8, (2, 3)) + score(5 / 8, (1, 2)))
    assert choice.fits["urn"] == fit_family(active.sum(0), 8, "urn")


def test_dead_units_call_for_inflation() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(8.0, 6.0, 500)
    p[:100] = 0.0
    choice = choose(*blocks(rng, p, [8] * 32))
    assert choice.family == "inflated"
    assert choice.fit is choice.fits["inflated"]
    scores = choice.heldout
    assert scores["inflated"] > scores["beta-binomial"] + 50  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]


def test_beta_rates_beat_the_published_limit_on_a_dense_site() -> None:
    rng = np.random.default_rng(1)
    choice = choose(*blocks(rng, rng.beta(1.5, 1.0, 500), [8] * 32))
    assert choice.heldout["beta-binomial"] > choice.heldout["urn"] + 100  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]


def test_ties_go_to_the_simpler_law() -> None:
    # equal counts everywhere: beta-binomial and inflated both end at the binomial limit
    choice = choose(np.full((4, 6), 3), np.full(4, 6))
    assert choice.family == "binomial"
    assert choice.heldout["beta-binomial"] == pytest.approx(choice.heldout["binomial"])


def test_empty_and_single_blocks_are_stated() -> None:
    active, samples = np.array([[1, 0, 3], [0, 0, 0]]), np.array([3, 0])
    choice = choose(active, samples)
    assert set(choice.heldout.values()) == {None}
    assert "AIC" in choice.reason
    assert "two non-empty blocks" in choice.reasons["urn"]
    with pytest.raises(ActpruneError, match="at least one sample"):
        choose(np.zeros((2, 3), dtype=int), np.zeros(2, dtype=int))
    with pytest.raises(ActpruneError, match="must have shape"):
        choose(np.zeros((2, 3), dtype=int), np.zeros(3, dtype=int))
    with pytest.raises(ActpruneError, match="between 0 and"):
        choose(np.array([[4]]), np.array([3]))


@pytest.mark.filterwarnings("error")
def test_laws_that_forbid_what_happened_are_left_out() -> None:
    # silent in the even blocks, active in the odd ones: every law fitted there says never
    choice = choose(np.array([[0, 0], [2, 1]]), np.array([5, 5]))
    assert choice.heldout["binomial"] is None
    assert "impossible" in choice.reasons["binomial"]
    assert choice.family in choice.fits


@pytest.mark.filterwarnings("error")
def test_dead_sites_are_chosen_without_fuss() -> None:
    choice = choose(np.zeros((4, 5), dtype=int), np.full(4, 3))
    assert (choice.family, choice.heldout["binomial"]) == ("binomial", 0.0)
