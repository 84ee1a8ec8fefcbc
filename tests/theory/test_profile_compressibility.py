"""The survey: its parts are the estimators', and every degenerate site has an answer."""

import json
from functools import partial

import numpy as np
import pytest
from fake_profiles import FakeProfile, profiled

from actprune.errors import ActpruneError
from actprune.theory import (
    TAIL_FAMILIES,
    fit,
    fit_tail,
    good_coverage,
    linear_bound,
    profile_interval,
    survey_profile,
    survey_site,
)

eight_blocks = partial(profiled, blocks=8, rows=8)


def test_a_survey_holds_what_its_parts_say() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 2.5, 150)
    p[:25] = 0.0
    fires = rng.random((200, 150)) < p
    profile = FakeProfile((eight_blocks(fires),))
    theory = fit(profile)
    got = survey_profile(profile, theory)
    site, counts = got.sites[0], fires.sum(0)
    assert site.coverage.value == good_coverage(counts, 200)
    assert site.coverage.stderr is not None
    assert site.ahead_bound == linear_bound(counts, 200, 800)
    law = theory.sites[0].fit
    assert law is not None
    assert site.intervals["b"] == profile_interval(counts, 200, law, "b")
    assert set(site.tails) == set(TAIL_FAMILIES)
    assert site.tails["geometric"] == fit_tail(counts, 200, "geometric")
    assert site.warning is not None
    assert "too small" in site.verdict
    assert site.compressibility is not None
    assert got.model is not None
    assert got.model.free_now == pytest.approx(site.compressibility.free_now)
    assert site.ahead["predictive"].D_new == 800
    json.dumps(got.to_dict(), allow_nan=False)


CASES = {
    "dead": lambda D, N: np.zeros((D, N), dtype=bool),
    "always on": lambda D, N: np.ones((D, N), dtype=bool),
    "mixed": lambda D, N: np.random.default_rng(1).random((D, N)) < 0.4,
    "a single firing": lambda D, N: np.arange(D * N).reshape(D, N) == 0,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("N", [1, 6])
@pytest.mark.parametrize("D", [0, 1, 2, 3, 40])
@pytest.mark.filterwarnings("error")
def test_degenerate_sites_have_a_stated_answer(D: int, N: int, case: str) -> None:
    profile = FakeProfile((eight_blocks(CASES[case](D, N)),))
    got = survey_profile(profile, fit(profile), times=2)
    json.dumps(got.to_dict(), allow_nan=False)
    assert got.sites[0].verdict
    if D == 0:
        assert got.sites[0].reason is not None
        assert got.model_reason is not None
    for forecast in got.sites[0].ahead.values():
        assert forecast.low is not None or forecast.note


def test_sites_of_different_samples_make_no_model() -> None:
    rng = np.random.default_rng(2)
    profile = FakeProfile(tuple(eight_blocks(rng.random((d, 20)) < 0.3) for d in (30, 40)))
    got = survey_profile(profile, fit(profile))
    assert got.model is None
    assert got.model_reason is not None


def test_wrong_questions_are_refused() -> None:
    profile = FakeProfile((eight_blocks(np.ones((4, 3), dtype=bool)),))
    theory = fit(profile)
    with pytest.raises(ActpruneError, match="its own theory"):
        survey_profile(FakeProfile(()), theory)
    with pytest.raises(ActpruneError, match="times >= 1"):
        survey_site(profile.sites[0], theory.sites[0], times=0)
