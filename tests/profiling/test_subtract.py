from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from profile_checks import ADDITIVE
from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.planning.plan import plan
from actprune.profiling.collect import profile
from actprune.profiling.merge import merge
from actprune.profiling.result import Profile, Shard, SiteProfile
from actprune.profiling.store import load_profile, save_profile
from actprune.profiling.subtract import subtract
from actprune.pruning.prune import prune
from actprune.refit.settings import Compensation
from actprune.reporting.schema import ReportSite
from actprune.reporting.theory_view import facts
from actprune.theory.liveness import judge_enough
from actprune.theory.summary import fit

COUNTS = ("samples", "positions", "samples_active", "positions_active")
LOST = ("low", "high", "first")


def assert_is_the_rest(rest: Profile, alone: Profile, names: tuple[str, ...] = ADDITIVE) -> None:
    """All sums as of `alone`, bit by bit, and what does not subtract is unknown."""
    assert rest.shards == alone.shards
    assert rest.samples == alone.samples
    assert [(s.site, s.rule) for s in rest.sites] == [(s.site, s.rule) for s in alone.sites]
    for x, y in zip(rest.sites, alone.sites, strict=True):
        for name in names:
            p, q = getattr(x, name), getattr(y, name)
            assert p.dtype == q.dtype, name
            np.testing.assert_array_equal(p, q, err_msg=f"{x.site.name}.{name}")
        for name in LOST:
            assert getattr(x, name) is None, name


def parts(profiled: Callable[..., Profile], cuts: list[int], **options: object) -> list[Profile]:
    """The profiles of the samples between the cuts, as if each were a data set of its own."""
    return [profiled(*pair, **options) for pair in itertools.pairwise(cuts)]


@pytest.fixture
def pieces(profiled: Callable[..., Profile]) -> list[Profile]:
    """Six parts of 150 samples with whole-numbered activations: every float sum is exact."""
    return parts(profiled, [0, 7, 40, 64, 65, 120, 150], gram=True)


@given(st.lists(st.sampled_from("abc"), min_size=6, max_size=6), st.randoms())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the pieces never change
)
def test_what_was_merged_can_be_taken_out_again(
    pieces: list[Profile], which: list[str], rng: random.Random
) -> None:
    """Any split into `a` (stays), `b` (out at once) and `c` (out one by one, in any order)."""
    stays, at_once, singly = (
        [p for p, w in zip(pieces, which, strict=True) if w == letter] for letter in "abc"
    )
    if not stays:
        return
    shuffled = [*pieces]
    rng.shuffle(shuffled)
    rest = reduce(merge, shuffled)
    for part in ([reduce(merge, at_once)] if at_once else []) + singly:
        rest = subtract(rest, part)

    alone = reduce(merge, stays)
    if at_once or singly:
        assert_is_the_rest(rest, alone, (*ADDITIVE, "gram"))
    for x, y in zip(rest.sites, alone.sites, strict=True):
        assert x.rate.tolist() == y.rate.tolist()
        assert x.variance.tolist() == y.variance.tolist()


def test_sums_that_are_not_whole_come_back_up_to_rounding(mlp: nn.Module, vectors: Tensor) -> None:
    x = vectors / 3
    a, b = (
        profile(mlp, Arrays.of(x).where(lambda ids, k=k: ids % 2 == k), gram=True, rule="positive")
        for k in (0, 1)
    )
    whole = merge(a, b)
    rest = subtract(whole, b)
    assert_is_the_rest(rest, a, COUNTS)
    for r, s, w in zip(rest.sites, a.sites, whole.sites, strict=True):
        for name in ("total", "square", "gram"):
            got, want, had = getattr(r, name), getattr(s, name), getattr(w, name)
            # a rounded addition and a rounded subtraction, each off by half a step of its result
            assert (np.abs(got - want) <= 2.0**-53 * (np.abs(had) + np.abs(got))).all(), name
        assert (r.square >= 0).all()
        empty = r.positions == 0
        assert empty.any()  # 75 samples in 32 blocks leave some empty
        assert not r.total[empty].any()
        assert not r.square[empty].any()


def test_a_block_or_fold_left_without_samples_holds_exact_zeros(
    profiled: Callable[..., Profile],
) -> None:
    few, most = parts(profiled, [0, 1, 150], gram=True)
    whole = merge(few, most)
    for s in whole.sites:  # as if rounding had left something behind
        s.total[:] += 1e-9
        s.square[:] -= 1e-9
        assert s.gram is not None
        s.gram[:] += 1e-9
    rest = subtract(whole, most)
    for r in rest.sites:
        (block,) = np.flatnonzero(r.positions)
        others = np.arange(len(r.positions)) != block
        assert not r.total[others].any()
        assert not r.square[others].any()
        assert (r.square >= 0).all()
        assert r.gram is not None
        assert [bool(fold.any()) for fold in r.gram].count(True) == 1


def test_counts_beyond_32_bits_stay_exact(profiled: Callable[..., Profile]) -> None:
    a, b = parts(profiled, [0, 60, 150])
    huge = 2**60
    for p, extra in ((a, 1), (b, 3)):
        p.sites[0].positions[2] += huge + extra
        p.sites[0].positions_active[2] += huge + extra
    assert_is_the_rest(subtract(merge(a, b), b), a)


def test_merging_again_gives_the_whole_but_not_what_was_lost(
    profiled: Callable[..., Profile],
) -> None:
    a, b = parts(profiled, [0, 60, 150], gram=True)
    whole = merge(a, b)
    for again in (merge(subtract(whole, b), b), merge(b, subtract(whole, b))):
        assert_is_the_rest(again, whole, (*ADDITIVE, "gram"))
        assert again.identity == whole.identity


def test_seconds_and_names_are_taken_out_too(profiled: Callable[..., Profile]) -> None:
    def named(p: Profile, name: str) -> Profile:
        return replace(p, identity=p.identity.model_copy(update={"data": name}))

    x, y, z = parts(profiled, [0, 40, 90, 150])
    a, b, c = named(x, "monday"), named(y, "tuesday"), named(z, "wednesday")
    three = reduce(merge, (a, b, c))
    assert subtract(three, b).identity.data == "monday + wednesday"
    assert subtract(three, merge(b, c)).identity == a.identity
    assert subtract(three, b).seconds == pytest.approx(a.seconds + c.seconds)
    assert subtract(a_and_b := merge(a, b), replace(b, seconds=1e9)).seconds == 0.0
    assert a_and_b.seconds > 0

    # two parts of one name: it cannot be told whether the name has gone
    same = reduce(merge, (a, named(y, "monday"), c))
    assert subtract(same, a).identity.data == "monday + wednesday"
    left = subtract(same, c)
    assert left.identity.data == "monday + wednesday"
    assert subtract(left, a).identity.data == "monday + wednesday"  # no guess from a guess


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, "Profiles to subtract must agree in seed, got 0 and 1; profile the second"),
        ({"leave_out": True}, "must agree in heldout, got False and True"),
        ({"gram": True}, "must agree in statistics"),
        (
            {"rule": "magnitude:0.5"},
            r"Profiles to subtract must share their firing rules; site '0' has a > 0 and \|a\| > ",
        ),
    ],
)
def test_profiles_made_in_another_way_are_refused(
    profiled: Callable[..., Profile], options: dict[str, object], message: str
) -> None:
    a, b = parts(profiled, [0, 60, 150])
    with pytest.raises(ActpruneError, match=message):
        subtract(merge(a, b), profiled(60, 150, **options))


def test_another_model_and_other_sites_are_refused(
    profiled: Callable[..., Profile], mlp: nn.Module
) -> None:
    a, b = parts(profiled, [0, 60, 150])
    whole = merge(a, b)
    with pytest.raises(ActpruneError, match="to subtract must have the same sites, in the same or"):
        subtract(whole, replace(b, sites=b.sites[::-1]))
    mlp[0].weight.data[0, 0] += 1.0  # pyright: ignore
    with pytest.raises(ActpruneError, match=r"to subtract must agree in model_hash, got '\w+' and"):
        subtract(whole, profiled(60, 150))


def test_samples_that_were_not_merged_in_are_refused(profiled: Callable[..., Profile]) -> None:
    a, b, c = parts(profiled, [0, 60, 100, 150])
    whole = merge(a, b)
    message = (
        r"^The first profile has no shard of 50 samples out of 100 to 149 of data \w+, as the "
        r"second has; subtract only profiles that were merged into the first\.$"
    )
    for other in (c, merge(b, c)):
        with pytest.raises(ActpruneError, match=message):
            subtract(whole, other)
    with pytest.raises(ActpruneError, match="no shard of 40 samples out of 60 to 99 of data"):
        subtract(subtract(whole, b), b)  # once is enough
    (shard,) = b.shards
    for field, value in (("source", "x"), ("start", 59), ("stop", 101), ("samples", 39)):
        changed = Shard.model_validate(shard.model_dump() | {field: value})
        with pytest.raises(ActpruneError, match="The first profile has no shard of"):
            subtract(whole, replace(b, shards=(changed,)))


def test_another_range_of_the_same_data_stays(profiled: Callable[..., Profile]) -> None:
    a, b = (
        replace(p, shards=(p.shards[0].model_copy(update={"source": "one"}),))
        for p in parts(profiled, [0, 60, 150])
    )
    assert_is_the_rest(subtract(merge(a, b), b), a)
    assert_is_the_rest(subtract(merge(a, b), a), b)


def test_nothing_left_is_refused(profiled: Callable[..., Profile]) -> None:
    a, b = parts(profiled, [0, 60, 150])
    for p in (a, merge(a, b)):
        with pytest.raises(ActpruneError, match=r"so subtract leaves none; subtract a part of"):
            subtract(p, p)


def too_much(name: str) -> Callable[[SiteProfile, SiteProfile], None]:
    def change(whole: SiteProfile, part: SiteProfile) -> None:
        getattr(part, name)[5] = getattr(whole, name)[5] + 1

    return change


def too_silent(what: str) -> Callable[[SiteProfile, SiteProfile], None]:
    def change(whole: SiteProfile, part: SiteProfile) -> None:
        getattr(whole, f"{what}_active")[5] = getattr(whole, what)[5]
        getattr(part, f"{what}_active")[5] = getattr(part, what)[5] - 1

    return change


@pytest.mark.parametrize(
    "change", [*map(too_much, COUNTS), too_silent("samples"), too_silent("positions")]
)
def test_counts_that_are_not_part_of_the_first_are_refused(
    profiled: Callable[..., Profile], change: Callable[[SiteProfile, SiteProfile], None]
) -> None:
    a, b = parts(profiled, [0, 60, 150])
    whole = merge(a, b)
    assert b.sites[1].samples[5] > 0
    change(whole.sites[1], b.sites[1])
    message = (
        r"^Site '2': the second profile counts more than the first, so it is not part of it; "
        r"subtract only profiles that were merged into the first\.$"
    )
    with pytest.raises(ActpruneError, match=message):
        subtract(whole, b)


@pytest.mark.parametrize("gram", [False, True])
def test_the_rest_can_be_stored(
    profiled: Callable[..., Profile], tmp_path: Path, gram: bool
) -> None:
    a, b = parts(profiled, [0, 60, 150], gram=gram)
    rest = subtract(merge(a, b), b)
    save_profile(rest, tmp_path / "rest")

    again = load_profile(tmp_path / "rest")

    assert_is_the_rest(again, a, (*ADDITIVE, "gram") if gram else ADDITIVE)
    assert again.identity == rest.identity
    assert again.seconds == rest.seconds


@pytest.mark.parametrize("missing", [["low"], ["high", "low"], ["first"]])
def test_a_stored_profile_lacks_all_of_what_subtract_loses_or_nothing(
    profiled: Callable[..., Profile], tmp_path: Path, missing: list[str]
) -> None:
    p = profiled(0, 60)
    half = replace(p, sites=(p.sites[0], replace(p.sites[1], **dict.fromkeys(missing))))
    save_profile(half, tmp_path / "half")
    first = min(missing, key=LOST.index)
    with pytest.raises(ActpruneError, match=rf"not a valid profile .*array 1.{first} should be"):
        load_profile(tmp_path / "half")


def test_nothing_is_changed_in_place(profiled: Callable[..., Profile]) -> None:
    a, b = parts(profiled, [0, 60, 150], gram=True)
    whole, same = merge(a, b), merge(a, b)
    subtract(whole, b)
    for x, y in zip(whole.sites, same.sites, strict=True):
        for name in (*ADDITIVE, *LOST, "gram"):
            np.testing.assert_array_equal(getattr(x, name), getattr(y, name))


def test_constant_units_are_unknown(profiled: Callable[..., Profile]) -> None:
    a, b = parts(profiled, [0, 60, 150])
    rest = subtract(merge(a, b), b)
    message = (
        r"^Site '0': which units are constant is unknown after subtract, .*; use the profile it "
        r"was taken from, or profile the remaining samples again\.$"
    )
    for name in ("constant", "extremes"):
        with pytest.raises(ActpruneError, match=message):
            getattr(rest.sites[0], name)


def test_the_theory_is_that_of_the_remaining_samples_but_for_the_certificate(
    profiled: Callable[..., Profile],
) -> None:
    a, b = parts(profiled, [0, 90, 150])
    found, want = fit(subtract(merge(a, b), b)).to_dict(), fit(a).to_dict()
    json.dumps(found, allow_nan=False)
    differs = {"certificate", "certificate_reason", "enough", "verdict"}
    for x, y in zip(found["sites"], want["sites"], strict=True):  # pyright: ignore
        assert x["certificate"] is None
        assert x["certificate_reason"].startswith("first firing ids are unknown after subtract")
        assert y["certificate"] is not None
        assert x["split"]["upper"] == y["split"]["upper"] is not None
        for key in x.keys() - differs:
            assert x[key] == y[key], key


def test_a_report_shows_the_reason_in_place_of_the_certificate(
    profiled: Callable[..., Profile],
) -> None:
    a, b = parts(profiled, [0, 90, 150])
    theory = fit(subtract(merge(a, b), b)).sites[0]
    site = ReportSite(
        name="0", kind="linear", units=6, kept=6, free=0, rate=0.5, family=None, b=None, M=None,
        pi0=None, pi1=None, alpha=None, rates=(), removed=(), theory=theory.to_dict(),
    )  # fmt: skip
    (fact,) = (f for f in facts(site) if f.name == "inputs that would fire a free unit")
    assert (fact.value, fact.reason) == ("none", theory.certificate.reason)


def test_without_a_certificate_the_samples_are_judged_by_its_upper_bound() -> None:
    """Each sample that owns a unit owns at least one of the Q_1, so Q_1/D bounds their share."""
    for turing, answer, said in (
        (0.002, "enough", "at most 0.20% of further inputs"),
        (0.03, "borderline", "at most 3.00% of further inputs"),
        (2.5, "not enough", "at most 100.00% of further inputs"),
    ):
        got = judge_enough(free=3, D=1_000, good_turing=turing, certificate=None)
        assert got.answer == answer
        assert got.why.startswith(said)


def test_a_plan_works_where_the_extremes_are_not_needed(
    profiled: Callable[..., Profile], mlp: nn.Module, vectors: Tensor
) -> None:
    a, b = parts(profiled, [0, 90, 150], gram=True)
    rest = subtract(merge(a, b), b)
    for criterion, compensation in (
        ("rare", Compensation(kind="mean")),
        ("residual", Compensation(kind="refit")),
        ("fluctuation", Compensation(kind="none")),
    ):
        got, want = (
            plan(mlp, p, "units=50%", criterion=criterion, compensation=compensation)
            for p in (rest, a)
        )
        assert [s.kept for s in got.sites] == [s.kept for s in want.sites]
        assert got.data == want.data
        for site in got.sites:
            assert site.constants == (None,) * len(site.removed)
        small = prune(mlp, got, rest)
        assert small(vectors).shape == mlp(vectors).shape


def test_a_lossless_plan_is_refused_and_the_whole_serves_instead(
    profiled: Callable[..., Profile], mlp: nn.Module
) -> None:
    a, b = parts(profiled, [0, 90, 150])
    whole = merge(a, b)
    with pytest.raises(ActpruneError, match="Site '0': which units are constant is unknown after"):
        plan(mlp, subtract(whole, b), "lossless")
    assert plan(mlp, whole, "lossless").targets[0].met
