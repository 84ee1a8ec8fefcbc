"""An account as one JSON document, schema 1.

    {"schema": 1, "counted": "samples" | "documents", "times": D'/D, "tolerance": share of inputs,
     "profile": {"identity", "samples", "until"},    # added by `actprune theory`
     "model": {"units", "free", "verdict", "allowed": {"loss", "unit", "share", "units": {site: n},
               "note"} | null, "allowed_reason",
               "compressibility": {...} | null, "compressibility_reason"},
     "sites": [site, ...]}

A site holds every field of `SiteTheory` (name, kind, units, samples, free, working, always_on,
rate, good_turing, chao2, certificate, split, enough, family, fits, heldout, growth, lorenz, gini,
effective_units, crossover, ...), each estimate x with x_stderr and x_reason, and

    "verdict": in words to act on; "says": the longer text of `SiteTheory.verdict`
    "intervals": {mean | b | M | pi0 | pi1: {"low", "high", "level", "reason"}} of the chosen law
    "fit": {"distance": {"ks", "p_at_most", "units", "at"}, "bootstrap": {"p", "ks", "replicates"} |
            null, "bootstrap_reason", "rejected": true | false | null, "rejected_reason"}
    "coverage", "coverage_chao_jost", "ahead_bound": shares and units
    "certified": whether the split bound is at most the tolerance
    "too_small": {"times", "needed", "fitted", "Q1", "D", "tolerance"} | null
    "to_certify", "to_bound_rates": {"needed", "more", "reason"}: samples, fresh or in all
    "ahead": {urn | predictive | chao2 | good-toulmin: {"D", "D_new", "working", "low", "high",
              "level", "note"}}, and "ahead_curve": {"d": [...], "methods": {...}}
    "power_law": {"alpha", "interval", "family", "p", "reason"}
    "tails": {family: {"parameters", "stderr", "log_likelihood", "ks", ...}}
    "tail_tests": [{"first", "second", "test", "favours", "statistic", "p", "gap", "note"}]
    "tail_goodness": {family: {"p", "ks", "replicates", ...}}, "alpha_beside_b", "tail_curve"
    "compressibility": {"free_now", "free_then", "never", "effective_units", "exponent_N",
                        "exponent_D", "fractions", "shares", ...}
    "histogram": {"edges", "units", "expected", "never", "always"}: of D_i / D
    "allowed": units that may go at the loss asked about

A null has a reason beside it: as x_reason, or as "reason" or "note" in the same object. Of a site
that no sample reached all the site's own fields are null or empty, and its "reason" says so.
"""

from typing import Any, Literal

from actprune.theory._plain import plain
from actprune.theory.account import Account, SiteAccount
from actprune.theory.wording import reworded

Counted = Literal["samples", "documents"]

_FINE = "the calibration set suffices for the tolerance, or nothing is free"
_NEITHER = "neither is favoured at 5 %"


def document(account: Account, counted: Counted = "samples") -> dict[str, Any]:
    """The whole account as plain data; `counted` says what a sample is, and words follow it."""
    survey = account.survey
    data: dict[str, Any] = {
        "schema": 1,
        "counted": counted,
        "times": account.times,
        "tolerance": account.tolerance,
        "model": {
            "units": account.units,
            "free": account.free,
            "verdict": account.verdict,
            "allowed": _plain(account.allowed),
            "allowed_reason": account.allowed_reason,
            "compressibility": _compressibility(survey.model),
            "compressibility_reason": survey.model_reason,
        },
        "sites": [_site(site) for site in account.sites],
    }
    return _reworded(data, counted)


def _site(site: SiteAccount) -> dict[str, Any]:
    found, beyond = site.theory, site.survey
    data: dict[str, Any] = found.to_dict()
    reason = beyond.reason
    data |= {
        "verdict": site.verdict,
        "says": found.verdict,
        "intervals": _plain(beyond.intervals),
        "fit": _fit(site),
        "coverage": beyond.coverage.value,
        "coverage_stderr": beyond.coverage.stderr,
        "coverage_reason": beyond.coverage.reason,
        "coverage_chao_jost": beyond.coverage_chao_jost,
        "coverage_chao_jost_reason": reason,
        "certified": site.certified,
        "certified_reason": reason or ("no unit is free" if site.certified is None else None),
        "too_small": _too_small(site),
        "too_small_reason": reason or (None if beyond.warning else _FINE),
        "to_certify": _plain(beyond.to_certify),
        "to_bound_rates": _plain(beyond.to_bound_rates),
        "ahead": _plain(beyond.ahead),
        "ahead_bound": beyond.ahead_bound,
        "ahead_bound_reason": reason,
        "ahead_curve": _ahead(site),
        "power_law": _plain(site.power_law),
        "tails": _plain(beyond.tails),
        "tail_tests": [
            {"first": a, "second": b, **_plain(test), "favours_reason": _NEITHER}
            if test.favours is None
            else {"first": a, "second": b, **_plain(test)}
            for a, b, test in beyond.tail_tests
        ],
        "tail_goodness": _plain(site.tail_goodness),
        "alpha_beside_b": _plain(beyond.alpha_beside_b),
        "tail_curve": _plain(site.tail),
        "compressibility": _compressibility(beyond.compressibility),
        "histogram": _plain(site.rates),
        "allowed": site.allowed,
        "allowed_reason": site.allowed_reason,
    }
    if data["tail_curve"] is None:
        data["tail_curve_reason"] = reason or "no unit fired"
    return data


def _fit(site: SiteAccount) -> dict[str, Any] | None:
    if site.distance is None:
        return None
    unsure = "only a bootstrap can tell: the bound on p rejects nothing"
    return {
        "distance": {**_plain(site.distance), "at_reason": None},
        "bootstrap": _plain(site.goodness),
        "bootstrap_reason": site.goodness_reason,
        "rejected": None if site.fits is None else not site.fits,
        "rejected_reason": unsure if site.fits is None else None,
    }


def _too_small(site: SiteAccount) -> dict[str, Any] | None:
    warning = site.survey.warning
    if warning is None:
        return None
    why = "the law never gets there within 1e15 samples" if warning.fitted is None else None
    return {**_plain(warning), "message": warning.message, "fitted_reason": why}


def _ahead(site: SiteAccount) -> dict[str, Any] | None:
    if site.ahead is None:
        return None
    data = _plain(site.ahead)
    for method, curve in data["methods"].items():
        curve["reason"] = site.survey.ahead[method].note if curve["low"] is None else None
    return data


def _compressibility(found: object) -> dict[str, Any] | None:
    data = _plain(found)
    if data is None:
        return None
    fires = None if data["effective_units"] is not None else "nothing ever fires"
    return {**data, "effective_units_reason": fires}


def _plain(value: object) -> Any:
    return plain(value)


def _reworded(value: Any, counted: Counted) -> Any:
    """Prose in the words of what was counted; names and numbers are left alone."""
    if counted == "samples":
        return value
    if isinstance(value, dict):
        return {
            k: x if k in ("name", "kind", "family") else _reworded(x, counted)
            for k, x in value.items()
        }
    if isinstance(value, list):
        return [_reworded(x, counted) for x in value]
    return reworded(value, counted) if isinstance(value, str) else value
