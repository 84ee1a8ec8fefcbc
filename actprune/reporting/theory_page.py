"""theory.html: everything the theory says of a profile, on one page that runs no script."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from actprune.profiling.result import Profile
from actprune.reporting import plot_theory, theory_text
from actprune.reporting.figures import Panel
from actprune.reporting.html import environment
from actprune.reporting.numbers import number, percent, whole
from actprune.theory.account import Account, SiteAccount
from actprune.theory.extrapolation import Method
from actprune.theory.tail_fit import TailFamily
from actprune.theory.wording import reworded

OPEN_UP_TO = 2  # sites; more start folded

_AHEAD: dict[Method, tuple[str, str, str]] = {
    "predictive": ("predictive, given the counts", "orange", "dash"),
    "urn": ("law alone", "teal", "line"),
    "chao2": ("Chao2", "red", "line"),
    "good-toulmin": ("Good-Toulmin", "grey", "line"),
}
_TAILS: dict[TailFamily, tuple[str, str, str]] = {
    "power law": ("power law", "blue", "line"),
    "truncated power law": ("truncated power law", "orange", "dash"),
    "geometric": ("geometric", "grey", "line"),
    "lognormal": ("lognormal", "red", "line"),
    "beta-binomial": ("beta-binomial", "teal", "line"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One site as the template draws it."""

    name: str
    kind: str
    anchor: str
    open: bool
    tone: str  # class of its mark: pass, outside or fail
    verdict: str
    cells: tuple[tuple[str, str], ...]  # column and text
    small: str  # a chart of K, or nothing
    lines: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]  # groups of name and text
    says: str
    panels: tuple[Panel, ...]


def render(account: Account, profile: Profile) -> str:
    """The page; the same account gives the same bytes, and whatever comes from it is escaped."""
    counted = profile.identity.counted
    few = len(account.sites) <= OPEN_UP_TO
    sections = tuple(
        _section(site, account, counted, f"site-{i}", few)
        for i, site in enumerate(account.sites, 1)
    )
    model = account.survey.model
    facts = [
        ("units", whole(account.units)),
        ("free", f"{whole(account.free)} ({_share(account.free, account.units)})"),
        (counted, whole(profile.samples)),
    ]
    if model is not None:
        facts += [
            (f"free at {account.times} times the {counted}", percent(model.free_then)),
            ("never fire, by the laws", percent(model.never)),
            ("effective units", _number(model.effective_units)),
            ("d ln free / d ln N", _number(model.exponent_N)),
            ("d ln free / d ln D", _number(model.exponent_D)),
        ]
    notes = [s.until for s in profile.shards if s.until is not None]
    return (
        environment()
        .get_template("theory.html.j2")
        .render(
            a=account,
            identity=profile.identity,
            counted=counted,
            verdict=reworded(account.verdict, counted),
            facts=facts,
            model_reason=reworded(account.survey.model_reason or "", counted),
            sections=sections,
            notes=notes,
            fixed_size=theory_text.FIXED_SIZE,
            columns=_columns(account),
            version=_version(),
        )
    )


def _section(
    site: SiteAccount, account: Account, counted: str, anchor: str, unfolded: bool
) -> Section:
    found = site.theory
    ahead = site.ahead
    small = ""
    if found.growth is not None:
        curve = None if ahead is None else ahead.methods["predictive"]
        small = plot_theory.small_growth_figure(
            found.growth, curve, [] if ahead is None else ahead.d.tolist(), counted
        )
    e = site.survey.ahead.get("predictive")
    upper = found.split.upper if found.split is not None and found.free else None
    cells = (
        whole(found.units),
        whole(found.free),
        "none" if e is None else f"{found.units - e.working:.0f}",
        "none" if upper is None else percent(upper, up=True),
    )
    return Section(
        name=found.name,
        kind=found.kind,
        anchor=anchor,
        open=unfolded,
        tone=_tone(site),
        verdict=reworded(site.verdict, counted),
        cells=tuple(zip(_columns(account), cells, strict=True)),
        small=small,
        lines=tuple(_groups(theory_text.page(site, account, counted))),
        says=reworded(found.verdict, counted),
        panels=tuple(_panels(site, counted)),
    )


def _columns(account: Account) -> tuple[str, ...]:
    return ("units", "free", f"free at {account.times}D", "fires one, at most")


def _tone(site: SiteAccount) -> str:
    if site.theory.fit is None or site.theory.free == site.theory.units:
        return "fail"
    if site.certified is False or site.survey.warning is not None:
        return "outside"
    return "pass"


def _groups(text: str) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    """The terminal's page of a site as groups of named lines, without its head."""
    for block in text.split("\n\n")[1:]:
        title, *rest = block.split("\n")
        pairs = (line.strip().split("  ", 1) for line in rest)
        yield title, tuple((name, said.strip()) for name, said in pairs)


def _panels(site: SiteAccount, counted: str) -> Iterator[Panel]:
    found, reason = site.theory, site.survey.reason or "the counts do not have it"
    reason = reworded(reason, counted)
    title = "Working units K(D), and beyond"
    if found.growth is None:
        yield Panel(title=title, svg=None, reason=reason)
    else:
        keys = [
            ("seen", "ink", "line"),
            (f"fitted: {found.family}", "orange", "dash"),
            ("published law", "blue", "dots"),
            *(_AHEAD[m] for m in (site.ahead.methods if site.ahead else ()) if m != "predictive"),
        ]
        yield Panel(
            title=title,
            svg=plot_theory.growth_figure(found.growth, site.ahead, found.units, counted),
            keys=tuple(keys),
            caption="Left of D: seen, and the laws. Right of D: forecasts; the shaded bands are "
            "95 % intervals of the predictive law, given these counts, and of Chao2. Published "
            "law: Zhang & Sui, arXiv 2412.18073.",
        )
    title = "Tail of the counts"
    if site.tail is None:
        yield Panel(title=title, svg=None, reason=reason if found.fit is None else "no unit fired")
    else:
        power = site.power_law
        said = "" if power is None else f" Power law: {power.reason}."
        yield Panel(
            title=title,
            svg=plot_theory.tail_figure(site.tail, counted),
            keys=(("counted", "ink", "block"), *(_TAILS[f] for f in site.tail.fitted)),
            caption=reworded(
                f"Share of the working units that fire on k samples or more.{said}", counted
            ),
        )
    title = "How often units fire"
    if site.rates is None:
        yield Panel(title=title, svg=None, reason=reason)
    else:
        said = (
            "Units by the share of samples that fire them; never and always apart, cut at the top."
        )
        if site.distance is not None:
            d = site.distance
            p = f"p = {number(site.goodness.p, 2)}" if site.goodness else (
                f"p at most {number(d.p_at_most, 2)}")  # fmt: skip
            ending = {True: "not rejected", False: "the law is rejected",
                      None: "the bound rejects nothing, a bootstrap may"}[site.fits]  # fmt: skip
            said += f" Largest gap of the distributions {number(d.ks)} ({p}): {ending}."
        yield Panel(
            title=title,
            svg=plot_theory.density_figure(site.rates, counted),
            keys=(("counted", "teal", "block"), (f"fitted: {found.family}", "orange", "dash")),
            caption=reworded(said, counted),
        )
    title = "Lorenz curve of activity"
    if found.lorenz is None or found.lorenz.reason is not None:
        why = reason if found.lorenz is None else str(found.lorenz.reason)
        yield Panel(title=title, svg=None, reason=why)
        return
    shape = site.survey.compressibility
    law = None if shape is None else (shape.fractions[::4].tolist(), shape.shares[::4].tolist())
    effective = found.effective_units.value
    yield Panel(
        title=title,
        svg=plot_theory.lorenz_figure(
            found.lorenz.fractions.tolist(), found.lorenz.shares.tolist(), law
        ),
        keys=(("counted, positions", "ink", "line"), ("law, true rates", "orange", "dash")),
        caption="Share of all activity carried by the rarest units; dotted: all alike. As many "
        f"units carry it as {_number(effective)} equal ones would.",
    )


def _share(part: int, whole_: int) -> str:
    return percent(part / whole_) if whole_ else "none"


def _number(x: float | None) -> str:
    return "none" if x is None else number(x)


def _version() -> str:
    from importlib.metadata import version

    return version("actprune")
