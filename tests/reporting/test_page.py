import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from actprune.reporting import html
from actprune.reporting.schema import Report

VOID = {"meta", "br"}


class Outline(HTMLParser):
    """Checks that tags nest, and collects ids, links and visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [v for k, v in attrs if k == "id" and v]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def read(page: str) -> Outline:
    outline = Outline()
    outline.feed(page)
    outline.close()
    assert not outline.open
    return outline


def text(page: str) -> str:
    return re.sub(r"\s+", " ", " ".join(read(page).text))


def test_the_page_asks_nothing_of_a_network(report: Report) -> None:
    page = html.render(report, report)
    for outside in ("http:", "https:", "src=", "url(", "@import", "//cdn", "<script", "<link"):
        assert outside not in page


def test_the_page_is_well_formed(make_report: Callable[..., Report]) -> None:
    for sites in (1, 3, 27):
        outline = read(html.render(make_report(sites), make_report(2)))
        assert len(outline.ids) == len(set(outline.ids))
        assert outline.tags.count("details") == sites


@pytest.mark.parametrize(
    ("verdict", "word"), [("pass", "Pass"), ("outside", "Outside the forecast"), ("fail", "Fail")]
)
def test_the_verdict_is_on_top(make_report: Callable[..., Report], verdict: str, word: str) -> None:
    page = html.render(make_report(verdict=verdict, verdict_reason="the reason why"))
    shown = text(page[page.index("<main>") : page.index("</main>") + 7])
    assert word in shown[:200]
    assert shown.index("The reason why.") < shown.index("Before and after")
    assert f'class="verdict {verdict}"' in page


def test_the_key_numbers_are_there_and_short(report: Report) -> None:
    shown = text(html.render(report)).replace("\u00a0", " ")
    for said in (
        "keep 50 % of the MACs", "49.8 %", "+0.021", "[+0.014, +0.030]", "[+0.012, +0.030]",
        "97.66 %", "96.99 %", "\u22120.67 pt", "269.7 k", "\u221251.1 %", "1.49\u00d7 the speed",
        "magnitude, none", "1.518", "at most 3.5 % of future inputs", "1 min 11 s",
    ):  # fmt: skip
        assert said in shown, said
    assert not re.search(r"\d\.\d{7,}", shown)


def test_everything_from_the_report_is_escaped(make_report: Callable[..., Report]) -> None:
    bad = "<script>alert('&\"')</script>"
    target = {"kind": bad, "asked": 0.5, "reached": None, "met": False}
    report = make_report(
        model={"spec": bad, "hash": bad},
        criterion=bad,
        allocate=bad,
        loss_kind=bad,
        device=bad,
        verdict_reason=bad,
        targets=[target],
        baselines=[{"criterion": bad, "compensate": bad, "loss": 1, "metrics": {bad: 1}}],
        refusals=[{"layer": bad, "reason": bad}],
    )
    site = report.sites[0]
    theory = {
        "verdict": bad,
        "growth": None,
        "growth_reason": bad,
        "lorenz": {"reason": bad},
        "fits": {bad: {"note": bad}},
        "heldout_reasons": {bad: bad},
    }
    hurt = site.model_copy(update={"name": bad, "family": bad, "kind": bad, "theory": theory})
    page = html.render(report.model_copy(update={"sites": (hurt,)}), report)
    read(page)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 15


def test_the_same_report_gives_the_same_bytes(make_report: Callable[..., Report]) -> None:
    report = make_report(5)
    again = Report.model_validate_json(report.model_dump_json(by_alias=True))
    assert html.render(report) == html.render(again)


def test_every_missing_number_has_its_reason(make_report: Callable[..., Report]) -> None:
    none = {"loss_delta": None, "low": None, "high": None}
    predicted = {**none, "level": 0.9, "reason": "made from the profile alone"}
    predicted["counts_only"] = {**none, "reason": "probes need the data"}
    shown = text(html.render(make_report(predicted=predicted, verdict="outside")))
    assert "Target met, nothing forecast" in shown
    for reason in (
        "made from the profile alone", "There is none: probes need the data",
        "none: the counts reject the power law", "none: no sample reached this site",
        "Working units K(d) is left out: no sample reached this site",
    ):  # fmt: skip
        assert reason in shown, reason


def test_many_sites_start_folded(make_report: Callable[..., Report]) -> None:
    page = html.render(make_report(27))
    assert page.count("<details>") == 27
    assert "<details open>" not in page
    assert "<details open>" in html.render(make_report(2))


def test_comparing_puts_both_side_by_side(make_report: Callable[..., Report]) -> None:
    other = make_report(2, verdict="fail", device="cuda:0")
    shown = text(html.render(make_report(3), other))
    assert "Beside the other report" in shown
    assert "verdict Pass Fail" in shown
    assert "the device: cpu here, cuda:0 there" in shown
    assert "other: measured" in shown
    assert "not in the other report" in shown


def test_a_loss_that_is_not_a_number_still_gives_a_page(make_report: Callable[..., Report]) -> None:
    nan = float("nan")
    measured = {"loss_delta": nan, "low": nan, "high": nan, "level": 0.9, "samples": 3}
    assert "not a number" in text(html.render(make_report(measured=measured, verdict="fail")))


def test_nothing_removed_and_no_baselines(make_report: Callable[..., Report]) -> None:
    none = {"units": 0, "inputs_affected": 0, "upper": 0.005, "level": 0.95}
    shown = text(html.render(make_report(1, certificate=none, baselines=[], refusals=[])))
    assert "No unit was removed" in shown
    assert "No other way of making this cut was measured" in shown
