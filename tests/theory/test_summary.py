"""The theory of a profile: right numbers, plain data, and an answer to every degenerate site."""

import json

import numpy as np
import pytest
from fake_profiles import FakeProfile, profiled

from actprune.theory import fit, fit_site
from actprune.theory.fit_counts import fit_family
from actprune.theory.liveness import chao2, leave_one_out_certificate


@pytest.fixture(scope="module")
def fires() -> np.ndarray:
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 2.5, 300)
    p[:40], p[-5:] = 0.0, 1.0
    return rng.random((500, 300)) < p


def test_a_site_holds_what_its_parts_say(fires: np.ndarray) -> None:
    counts = fires.sum(0)
    site = fit_site(profiled(fires, positions=3))

    assert (site.units, site.samples, site.working) == (300, 500, (counts > 0).sum())
    assert site.free == (counts == 0).sum() == site.units - site.working
    assert site.always_on == 5
    assert site.working_units.value == site.working
    assert site.working_units.stderr is not None
    assert site.working_units.stderr > 0
    assert site.rate.value == pytest.approx(fires.mean())
    assert site.units_per_sample.value == pytest.approx(fires.sum() / 500)
    assert site.singletons.value == (counts == 1).sum()
    assert site.doubletons.value == (counts == 2).sum()
    assert site.good_turing.value == (counts == 1).sum() / 500
    assert site.chao2.value == chao2(counts, 500)
    assert site.certificate.value == leave_one_out_certificate(counts, fires.argmax(0), 500)
    assert site.family == "inflated"
    assert site.fit == fit_family(counts, 500, "inflated")
    assert site.split is not None
    assert (
        site.split.n == 10 * 16 + 6 * 15
    )  # blocks 0 to 19 hold 16 of the 500 samples, the rest 15
    assert site.crossover == site.fits["urn"].M
    assert str(site.free) in site.verdict
    assert "inflated" in site.verdict


def test_growth_curve_ends_at_K_and_the_fit_follows_it(fires: np.ndarray) -> None:
    site = fit_site(profiled(fires))
    growth = site.growth
    assert growth is not None
    assert growth.stderr is not None
    assert growth.d[-1] == 500
    assert growth.observed[-1] == site.working
    assert growth.observed[0] == pytest.approx(fires.sum() / 500)
    # the inflated fit was made for these counts; the published law has no dead units in it
    assert np.abs(growth.fitted - growth.observed).max() < 0.03 * 300
    assert np.abs(growth.published - growth.observed).max() > 0.05 * 300


def test_concentration_has_jackknife_errors(fires: np.ndarray) -> None:
    site = fit_site(profiled(fires))
    assert site.lorenz is not None
    assert (site.gini.value, site.effective_units.value) == (
        site.lorenz.gini,
        site.lorenz.effective_units,
    )
    assert site.gini.stderr is not None
    assert 0 < site.gini.stderr < 0.02


def test_same_profile_same_theory(fires: np.ndarray) -> None:
    profile = FakeProfile(sites=(profiled(fires),))
    assert fit(profile).to_dict() == fit(profile).to_dict()


def no_silent_none(data: object, where: str = "") -> None:
    """Every None in plain data has a reason beside it."""
    if isinstance(data, list):
        for item in data:
            no_silent_none(item, where)
    if not isinstance(data, dict):
        return
    whole = data.get("reason")
    for key, value in data.items():
        if value is None and "reason" not in key:
            own = data.get(f"{key}_reason") or data.get(f"{key.removesuffix('_stderr')}_reason")
            assert own or whole, f"{where}.{key}"
        if key not in ("stderr", "heldout"):  # their reasons stand beside the whole dict
            no_silent_none(value, f"{where}.{key}")
    if None in (data.get("heldout") or {}).values():
        assert data["heldout_reasons"]
    if isinstance(data.get("stderr"), dict) and None in data["stderr"].values():
        assert data["stderr_reason"]


CASES = {
    "dead": lambda D, N: np.zeros((D, N), dtype=bool),
    "always on": lambda D, N: np.ones((D, N), dtype=bool),
    "mixed": lambda D, N: np.random.default_rng(1).random((D, N)) < 0.4,
    "late": lambda D, N: np.arange(D)[:, None] == D - 1 - np.zeros((1, N), dtype=int),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("N", [1, 6])
@pytest.mark.parametrize("D", [0, 1, 2, 3, 40])
@pytest.mark.filterwarnings("error")
def test_degenerate_sites_have_a_stated_answer(D: int, N: int, case: str) -> None:
    site = fit_site(profiled(CASES[case](D, N)))
    data = site.to_dict()
    json.dumps(data, allow_nan=False)
    no_silent_none(data)
    assert site.verdict
    if D == 0:
        assert (site.family, site.reason) == (None, "no sample reached this site")
    if case == "dead" and D:
        assert site.free == N
        assert "check the firing rule" in site.verdict


@pytest.mark.filterwarnings("error")
def test_a_single_block_says_what_is_missing(fires: np.ndarray) -> None:
    site = fit_site(profiled(fires, blocks=1))
    assert site.working_units.stderr is None
    assert site.working_units.reason is not None
    assert site.split is not None
    assert site.split.upper is None
    assert "AIC" in site.family_reason
    no_silent_none(site.to_dict())


def test_a_whole_profile_is_json(fires: np.ndarray) -> None:
    profile = FakeProfile(sites=(profiled(fires), profiled(fires[:0])))
    text = json.dumps(fit(profile).to_dict(), allow_nan=False)
    assert [s["samples"] for s in json.loads(text)["sites"]] == [500, 0]
