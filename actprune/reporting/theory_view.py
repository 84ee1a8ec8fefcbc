"""What a site's theory holds for the page; whatever is missing comes back as its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from actprune.reporting.numbers import number, percent, whole
from actprune.reporting.schema import ReportSite

UNRECORDED = "the report does not hold it"
SYMBOLS = {"pi0": "π₀", "pi1": "π₁", "alpha": "α"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Working units on a grid of d samples, by curve: published, fitted, seen."""

    d: Sequence[float]
    curves: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lorenz:
    units: Sequence[float]  # share of the units, rarest first
    activity: Sequence[float]  # share of all activity they carry


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRow:
    """One family's fit as text."""

    family: str
    chosen: bool
    values: tuple[str, ...]  # b, M, pi0, pi1 with standard errors
    log_likelihood: str
    heldout: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A named number as text; `reason` where it, or its error, does not exist."""

    name: str
    value: str
    reason: str | None = None


def growth(theory: Mapping[str, Any]) -> Growth | Missing:
    """The observed K curve beside the published and the fitted law, as far as they are there."""
    found = theory.get("growth")
    if not isinstance(found, Mapping):
        return Missing(reason=_reason(theory, "growth"))
    d = _numbers(found.get("d"))
    drawn = (("published", "published"), ("fitted", "fitted"), ("observed", "seen"))
    read = {kind: _numbers(found.get(key)) for key, kind in drawn}
    curves = {kind: k for kind, k in read.items() if k is not None and d and len(k) == len(d)}
    if not d or not curves:
        return Missing(reason=UNRECORDED)
    return Growth(d=d, curves=curves)


def lorenz(theory: Mapping[str, Any]) -> Lorenz | Missing:
    """The Lorenz curve of activity over positions."""
    found = theory.get("lorenz")
    if not isinstance(found, Mapping):
        return Missing(reason=_reason(theory, "lorenz"))
    if found.get("reason"):
        return Missing(reason=str(found["reason"]))
    units, activity = _numbers(found.get("fractions")), _numbers(found.get("shares"))
    if not units or not activity or len(units) != len(activity):
        return Missing(reason=UNRECORDED)
    return Lorenz(units=units, activity=activity)


def fits(site: ReportSite) -> tuple[FitRow, ...]:
    """Every family that was fitted, the chosen one marked."""
    heldout = _mapping(site.theory.get("heldout"))
    reasons = _mapping(site.theory.get("heldout_reasons"))
    rows = []
    for family, found in _mapping(site.theory.get("fits")).items():
        fit = _mapping(found)
        stderr = _mapping(fit.get("stderr"))
        score = _show(heldout.get(family), 5)
        rows.append(
            FitRow(
                family=str(family),
                chosen=family == site.family,
                values=tuple(
                    _with_error(fit.get(k), stderr.get(k)) for k in ("b", "M", "pi0", "pi1")
                ),
                log_likelihood=_show(fit.get("log_likelihood"), 5) or "none",
                heldout=score or f"none: {reasons.get(family) or UNRECORDED}",
                note=str(fit.get("note") or ""),
            )
        )
    return tuple(rows)


def facts(site: ReportSite) -> tuple[Fact, ...]:
    """The site's own numbers, then what the theory adds."""
    why = site.reason or UNRECORDED
    fit = _mapping(_mapping(site.theory.get("fits")).get(site.family or ""))
    reasons = {key: fit.get(f"{key}_reason") for key in ("b", "M")}
    kept = f"{whole(site.kept)} of {whole(site.units)}"
    own = [
        Fact(name="kept", value=kept),
        Fact(name="free (never fired)", value=whole(site.free)),
    ]
    if site.theory.get("always_on") is not None:
        own.append(Fact(name="always on", value=str(site.theory["always_on"])))
    error = site.theory.get("rate_stderr")
    own.append(Fact(name="mean rate", value=percent(site.rate) + (
        f" ± {percent(error)}" if isinstance(error, int | float) else "")))  # fmt: skip
    for name in ("b", "M", "pi0", "pi1", "alpha"):
        value = _show(getattr(site, name))
        label = f"b ({site.family})" if name == "b" and site.family else SYMBOLS.get(name, name)
        own.append(
            Fact(
                name=label,
                value=value or "none",
                reason=None if value else reasons.get(name) or why,
            )
        )
    extra = (
        ("good_turing", "newly firing units per further input"),
        ("chao2", "free units alive, at least"),
        ("certificate", "inputs that would fire a free unit"),
        ("gini", "Gini of activity"),
        ("effective_units", "effective units"),
    )
    for key, name in extra:
        if key not in site.theory:
            continue
        value = site.theory[key]
        shown = percent(value) if key == "certificate" and _show(value) else _with_error(
            value, site.theory.get(f"{key}_stderr"))  # fmt: skip
        reason = None if value is not None else _reason(site.theory, key)
        own.append(Fact(name=name, value=shown, reason=reason))
    return tuple(own)


def says(site: ReportSite) -> str:
    """What the theory concludes about the site, in its own words."""
    return str(site.theory.get("verdict") or "")


def _reason(theory: Mapping[str, Any], key: str) -> str:
    return str(theory.get(f"{key}_reason") or theory.get("reason") or UNRECORDED)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _numbers(value: Any) -> list[float] | None:
    """`value` if it is a sequence of finite numbers."""
    if not isinstance(value, list | tuple):
        return None
    if not all(isinstance(v, int | float) and isfinite(v) for v in value):
        return None
    return [float(v) for v in value]


def _show(value: Any, digits: int = 3) -> str | None:
    return number(value, digits) if isinstance(value, int | float) else None


def _with_error(value: Any, error: Any) -> str:
    shown, spread = _show(value), _show(error, 2)
    if shown is None:
        return "none"
    return f"{shown} ± {spread}" if spread is not None else shown
