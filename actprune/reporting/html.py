"""report.html: one page that opens from disk, asks nothing of a network and runs no script."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from actprune.reporting import figures, rows, theory_view, words
from actprune.reporting.numbers import duration, estimate, percent, unit_of, whole
from actprune.reporting.schema import Report, ReportSite

if TYPE_CHECKING:
    from jinja2 import Environment

MARKS = {"pass": "\u2713", "outside": "\u2248", "fail": "\u2717"}
OPEN_UP_TO = 2  # sites; more start folded


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePage:
    """One site as the template draws it."""

    site: ReportSite
    anchor: str
    share: float  # kept, 0 to 1
    rate: float  # 0 to 1
    other: float | None  # share kept in the report compared with
    open: bool
    says: str
    facts: tuple[theory_view.Fact, ...]
    reasons: tuple[str, ...]  # of numbers that do not exist, each once
    panels: tuple[figures.Panel, ...]
    fits: tuple[theory_view.FitRow, ...]


def render(report: Report, compare: Report | None = None) -> str:
    """The page of `report`, with the key numbers of `compare` beside it where given.

    The same reports give the same bytes. Whatever comes from a report is escaped.
    """
    from markupsafe import Markup

    others = {s.name: _share(s) for s in compare.sites} if compare else {}
    pages = tuple(
        _site(site, f"site-{i}", others.get(site.name), len(report.sites) <= OPEN_UP_TO)
        for i, site in enumerate(report.sites, 1)
    )
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            r=report,
            compare=compare,
            compared=rows.compared(report, compare) if compare else (),
            differences=_differences(report, compare) if compare else (),
            before_after=rows.before_after(report),
            ways=rows.ways(report),
            way_back=rows.way_back(report),
            metric_names=rows.metric_names(report),
            forecast_svg=Markup(figures.forecast_figure(report, compare)),
            site_pages=pages,
            total_units=sum(s.units for s in report.sites),
            compensation=words.compensation(report),
            times=[(n, duration(s)) for n, s in report.seconds.model_dump().items()],
            mark=MARKS[report.verdict],
            unit=unit_of(report.loss_kind),
        )
    )


def _site(site: ReportSite, anchor: str, other: float | None, unfolded: bool) -> SitePage:
    facts = theory_view.facts(site)
    return SitePage(
        site=site,
        anchor=anchor,
        share=_share(site),
        rate=min(1.0, max(0.0, site.rate)),
        other=other,
        open=unfolded,
        says=theory_view.says(site),
        facts=facts,
        reasons=tuple(dict.fromkeys(f.reason for f in facts if f.reason)),
        panels=figures.site_panels(site),
        fits=theory_view.fits(site),
    )


def _share(site: ReportSite) -> float:
    return site.kept / site.units if site.units else 0.0


def _differences(report: Report, other: Report) -> tuple[str, ...]:
    """What makes the two reports hard to compare."""
    pairs = (
        ("the model", report.model.hash, other.model.hash),
        ("the loss", report.loss_kind, other.loss_kind),
        ("the held-out data", report.data.heldout, other.data.heldout),
        ("the device", report.device, other.device),
    )
    return tuple(f"{what}: {a} here, {b} there." for what, a, b in pairs if a != b)


def typeset(text: str) -> str:
    """Minus signs, times signs and spaces that keep a number and its unit on one line."""
    text = re.sub(r"(?<![\w.])-(?=\d)", "\u2212", text)
    text = re.sub(r"(?<=\d)e-(?=\d)", "e\u2212", text)
    text = re.sub(r"(?<=\d)x(?= the)", "\u00d7", text)
    return re.sub(r"(?<=\d) (?=(%|pt|ms|[kMGT]?B|[kMGT])(\W|$))", "\u00a0", text)


def sentence(text: str) -> str:
    """`text` with a capital and a full stop."""
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


@cache
def environment() -> Environment:
    """The templates of the pages, which escape all they are given."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("actprune.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        words=words,
        t=typeset,
        sentence=sentence,
        estimate=estimate,
        percent=percent,
        whole=whole,
    )
    return made
