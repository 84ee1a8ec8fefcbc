"""The theory page: whole, small enough, readable with many sites, and never without an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actprune.profiling.result import Identity, Shard, Until
from actprune.reporting.theory_page import render
from actprune.reporting.theory_text import head, page, row
from actprune.theory.account import account_of

BLOCKS = 32


def site(name: str, p: np.ndarray, D: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    samples = np.full(BLOCKS, D // BLOCKS)
    samples[: D % BLOCKS] += 1
    active = rng.binomial(samples[:, None], p)
    return SimpleNamespace(
        site=SimpleNamespace(name=name, kind="conv"),
        units=len(p),
        samples=samples,
        positions=3 * samples,
        samples_active=active,
        positions_active=2 * active,
        first=np.where(active.any(0), np.arange(len(p)) % max(D, 1), -1),
    )


def profile(sites: list[Any], counted: Any = "samples", until: Until | None = None) -> Any:
    D = int(sites[0].samples.sum()) if sites else 0
    return SimpleNamespace(
        sites=sites,
        samples=D,
        shards=(Shard(source="s", start=0, stop=D, samples=D, until=until),),
        identity=Identity(
            model="net.py:<b>net</b>", model_hash="h", data="npz:<i>x</i>", seed=0, heldout=True,
            statistics=("counts",), counted=counted,
        ),
    )  # fmt: skip


def rates(N: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    p = rng.beta(0.4, 1.5, N)
    p[: N // 8] = 0
    p[-N // 20 :] = 1
    return p


class Outline(HTMLParser):
    """Checks that tags nest, and collects ids and tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [v for k, v in attrs if k == "id" and v]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_thirty_sites_stay_readable_and_small() -> None:
    seen = profile([site(f"layer{i}", rates(200, i), 2000, i) for i in range(30)])
    text = render(account_of(seen), seen)
    outline = Outline(text)
    assert len(text.encode()) < 2_000_000
    assert outline.tags.count("details") == 30
    assert "<details open" not in text
    assert outline.tags.count("svg") == 30 * 5  # four charts and a small one each
    assert len(outline.ids) == len(set(outline.ids))


def test_the_page_asks_nothing_of_a_network_and_runs_nothing() -> None:
    seen = profile([site("<b>fc</b>", rates(60, 0), 300)])
    text = render(account_of(seen), seen)
    for outside in (
        "http:",
        "https:",
        "src=",
        "url(",
        "@import",
        "<script",
        "<link",
        "<b>",
        "<i>x",
    ):
        assert outside not in text
    assert "prefers-color-scheme: dark" in text
    assert text == render(account_of(seen), seen)


CASES: dict[str, Callable[[int], np.ndarray]] = {
    "dead": lambda N: np.zeros(N),
    "always on": lambda N: np.ones(N),
    "spike": lambda N: np.where(np.arange(N) == 0, 0.5, 0.0),
    "mixed": lambda N: rates(N, 3),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("N", [1, 30])
@pytest.mark.parametrize("D", [0, 1, 2, 200])
@pytest.mark.filterwarnings("error")
def test_degenerate_sites_are_drawn_or_left_out_with_a_reason(D: int, N: int, case: str) -> None:
    seen = profile([site("fc", CASES[case](N), D)])
    found = account_of(seen)
    text = render(found, seen)
    Outline(text)
    assert not re.search(r"\bnan\b|\binf\b|None", text)
    drawn, missing = text.count("<figure"), text.count("is left out:")
    assert drawn + missing == 4
    assert found.sites[0].verdict[:20].replace(" %", "\u00a0%") in text
    assert len(row(found.sites[0])) == len(head(found))
    assert "None" not in page(found.sites[0], found, "samples")


def test_documents_are_called_documents() -> None:
    seen = profile([site("mlp", rates(60, 1), 300)], counted="documents")
    found = account_of(seen)
    text = render(found, seen)
    body = text[text.index("<main>") :]
    assert "documents seen" in body
    assert "further documents drawn like these" in body
    assert not re.search(r"\bsamples?\b", body)
    assert not re.search(r"\bsamples?\b", page(found.sites[0], found, "documents"))


def test_a_page_without_sites_and_one_that_stopped_early() -> None:
    until = Until(rule="certified=0.1", met=True, looks=2, samples=64, said="at most 9 %")
    seen = profile([], until=until)
    text = render(account_of(seen), seen)
    Outline(text)
    assert "The profile has no site." in text
    assert "Reading until certified=0.1:" in text
