"""What `actprune theory` prints: a table with a verdict a site, and the full page of one site."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from actprune.reporting.numbers import number, percent, whole
from actprune.theory.account import Account, SiteAccount
from actprune.theory.compressibility import Compressibility
from actprune.theory.count_fit import PARAMETERS
from actprune.theory.extrapolation import METHODS
from actprune.theory.interval import Interval
from actprune.theory.resampling import Estimate
from actprune.theory.wording import reworded

NONE = "-"
FIXED_SIZE = (
    "the bounds above take the sample size as fixed; what holds in spite of having stopped by a "
    "rule is what the rule itself says"
)
FIT = {True: "fits", False: "poor", None: "?"}


def head(account: Account) -> tuple[str, ...]:
    """The names of the table's columns."""
    return (
        "site", "units", "free", f"free at {account.times}D", "on", "enough?", "fires, est.",
        "at most", "too small", "family", "fit", "b", "alpha", "eff. units",
    )  # fmt: skip


def row(site: SiteAccount) -> tuple[str, ...]:
    """One site on a line."""
    found, beyond = site.theory, site.survey
    law, split = found.fit, found.split
    ahead = beyond.ahead.get("predictive")
    left = NONE
    if ahead is not None:
        left = f"{found.units - ahead.working:.0f}"
        if ahead.low is not None and ahead.high is not None:
            left += f" [{found.units - ahead.high:.0f}, {found.units - ahead.low:.0f}]"
    effective = found.effective_units.value
    alpha = site.power_law.alpha if site.power_law else None
    return (
        found.name,
        whole(found.units),
        _share(found.free, found.units),
        left,
        whole(found.always_on),
        found.enough.answer if found.enough else NONE,
        _percent(found.certificate.value) if found.free else NONE,
        percent(split.upper, up=True) if split and split.upper is not None and found.free else NONE,
        f"{beyond.warning.times:.1f}x" if beyond.warning else NONE,
        found.family or NONE,
        FIT[site.fits] if found.family else NONE,
        NONE if law is None or law.b is None else number(law.b),
        NONE if alpha is None else number(alpha),
        NONE if effective is None else number(effective),
    )


def page(site: SiteAccount, account: Account, counted: str) -> str:
    """Everything about one site."""
    return reworded("\n".join(_page(site, account)), counted)


def _page(site: SiteAccount, account: Account) -> Iterator[str]:
    found, beyond = site.theory, site.survey
    yield f"{found.name}  {found.kind}, {whole(found.units)} units, {whole(found.samples)} samples"
    yield f"{site.verdict}."
    yield found.verdict
    if found.fit is None:
        return
    yield from _units(site, account)
    yield from _law(site)
    yield from _ahead(site, account)
    yield from _tail(site)
    shape = beyond.compressibility
    if shape is not None:
        yield "\nconcentration and exponents"
        yield _line("effective units", _estimate(found.effective_units))
        yield _line("Gini of activity", _estimate(found.gini))
        rarest = (f"{percent(f)} carry {_little(_at(shape, f))}" for f in (0.1, 0.25, 0.5))
        yield _line("rarest units", ", ".join(rarest) + " of all firings (fitted law)")
        for name, value in (("N", shape.exponent_N), ("D", shape.exponent_D)):
            said = shape.note if value is None else number(value)
            yield _line(f"d ln free / d ln {name}", said)
        yield _line("never fires", f"{percent(shape.never)} of the units, by the law")
    yield "\nloss"
    if site.allowed is None:
        yield _line("counts-only forecast", f"none: {site.allowed_reason}")
    elif account.allowed is not None:
        a = account.allowed
        yield _line(
            f"at {a.loss:+.3g} {a.unit}".rstrip(),
            f"{site.allowed} units of this site ({percent(site.allowed / found.units)}), "
            f"{percent(a.share)} of all activations of the model; {a.note}",
        )


def _units(site: SiteAccount, account: Account) -> Iterator[str]:
    found, beyond = site.theory, site.survey
    yield "\nfree units"
    yield _line("free", _share(found.free, found.units))
    yield _line("always on", whole(found.always_on))
    yield _line("free but alive, at least", _estimate(found.chao2))
    yield _line("newly firing per input", _estimate(found.good_turing))
    covered = beyond.coverage.value
    yield _line("firings by units seen", _percent(covered))
    if found.free:
        certificate = found.certificate
        said = _percent(certificate.value)
        yield _line("inputs firing one, est.", said if certificate.value is not None else
                    f"none: {certificate.reason}")  # fmt: skip
        split = found.split
        if split is not None and split.upper is not None:
            yield _line(
                f"inputs firing one, {split.level:.0%}",
                f"at most {percent(split.upper, up=True)} ({split.x} of {split.n} checked)",
            )
        elif split is not None:
            yield _line("inputs firing one, 95%", f"no bound: {split.reason}")
        q = percent(account.tolerance)
        for name, more, what in (
            (f"to certify {q} together", beyond.to_certify, "fresh samples"),
            (f"to bound each rate by {q}", beyond.to_bound_rates, "samples silent, named before"),
        ):
            if more is not None:
                said = more.reason if more.needed is None else f"{whole(more.needed)} {what}"
                yield _line(name, said or NONE)
    if beyond.warning is not None:
        yield _line("warning", beyond.warning.message)


def _law(site: SiteAccount) -> Iterator[str]:
    found, beyond = site.theory, site.survey
    law = found.fit
    assert law is not None
    yield f"\nlaw of the counts: {found.family} ({found.family_reason})"
    for name in PARAMETERS:
        value, error = getattr(law, name), law.stderr[name]
        if value is None or (name in ("pi0", "pi1") and law.family != "inflated"):
            continue
        said = number(value) + ("" if error is None else f" +- {number(error, 2)}")
        yield _line(name, f"{said}  {_interval(beyond.intervals.get(name))}".rstrip())
    if law.note:
        yield _line("note", law.note)
    if site.distance is not None:
        d = site.distance
        said = f"KS {number(d.ks)}"
        if site.goodness is not None:
            said += f", p = {number(site.goodness.p, 2)} of {site.goodness.replicates} replicates"
        else:
            said += f", p at most {number(d.p_at_most, 2)}"
        ending = {
            True: "not rejected",
            False: "REJECTED: read the law's numbers as a summary, not as the truth",
            None: "not rejected by the bound; --goodness tests it",
        }[site.fits]
        yield _line("goodness of fit", f"{said}: {ending}")
    scores = {f: s for f, s in found.heldout.items() if s is not None}
    if scores and found.family in scores:
        best = scores[found.family]
        others = ", ".join(f"{f} {s - best:+.1f}" for f, s in scores.items() if f != found.family)
        yield _line("held-out nats, others", others or NONE)


def _ahead(site: SiteAccount, account: Account) -> Iterator[str]:
    found, beyond = site.theory, site.survey
    yield f"\nfree units at {account.times} times the samples, with 95% intervals"
    for method in METHODS:
        e = beyond.ahead.get(method)
        if e is None:
            continue
        said = f"{found.units - e.working:.1f}"
        if e.low is not None and e.high is not None:
            said += f" [{found.units - e.high:.1f}, {found.units - e.low:.1f}]"
        yield _line(method, said + (f"  ({e.note})" if e.note else ""))
    if beyond.ahead_bound is not None:
        least = found.units - beyond.ahead_bound
        yield _line("whatever the rates", f"at least {least:.0f} with 95% confidence")


def _tail(site: SiteAccount) -> Iterator[str]:
    beyond = site.survey
    yield "\ntail of the counts"
    power = site.power_law
    if power is not None:
        said = f"none: {power.reason}"
        if power.alpha is not None:
            said = f"{number(power.alpha)} {_interval(power.interval)}  {power.reason}"
        yield _line("alpha", said)
    beside = beyond.alpha_beside_b
    if beside is not None and beside.one_minus_b is not None:
        yield _line("1 - b", f"{number(beside.one_minus_b)} ({beside.family}; {beside.note})")
    for family, fit in beyond.tails.items():
        if fit.parameters is None:
            yield _line(family, f"none: {fit.note}")
            continue
        at = ", ".join(f"{name} {number(value)}" for name, value in fit.parameters.items())
        tested = site.tail_goodness.get(family)
        p = "" if tested is None or tested.p is None else f", bootstrap p = {number(tested.p, 2)}"
        yield _line(family, f"{at}; KS {number(fit.ks or 0.0)}{p}")
    for a, b, test in beyond.tail_tests:
        p = "no p" if test.p is None else f"p = {number(test.p, 2)}"
        yield _line(f"{a} / {b}", f"{test.favours or 'neither'} ({test.test}, {p})")


def _line(name: str, said: str) -> str:
    return f"  {name:<{max(26, len(name))}}  {said}"


def _share(n: int, of: int) -> str:
    return f"{whole(n)} ({percent(n / of)})" if of else whole(n)


def _percent(value: float | None) -> str:
    return NONE if value is None else percent(value)


def _little(share: float) -> str:
    return "< 0.01 %" if 0 < share < 1e-4 else percent(share)


def _estimate(e: Estimate) -> str:
    if e.value is None:
        return f"none: {e.reason}"
    return number(e.value) + ("" if e.stderr is None else f" +- {number(e.stderr, 2)}")


def _interval(found: Interval | None) -> str:
    if found is None or (found.low is None and found.high is None):
        return ""
    low, high = ("-" if x is None else number(x) for x in (found.low, found.high))
    return f"[{low}, {high}]"


def _at(shape: Compressibility, fraction: float) -> float:
    return float(np.interp(fraction, shape.fractions, shape.shares))
