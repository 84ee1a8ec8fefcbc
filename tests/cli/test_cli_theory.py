"""`actprune theory`: the table, one site's page, the document, the page, degenerate profiles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actprune.profiling.store import load_profile


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory, entry: Callable[[list[str]], None]) -> Path:
    path = tmp_path_factory.mktemp("theory") / "P.safetensors"
    with pytest.raises(SystemExit) as e:
        entry(["profile", "zoo:digits-mlp", "--samples", "400", "-o", str(path)])
    assert e.value.code == 0
    return path


NET = """
import torch

class Dead(torch.nn.Module):
    def __init__(self, bias, width):
        super().__init__()
        self.a, self.b = torch.nn.Linear(3, width), torch.nn.Linear(width, 2)
        with torch.no_grad():
            self.a.weight.zero_()
            self.a.bias.fill_(bias)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))

def dead():
    return Dead(-1.0, 5)

def on():
    return Dead(1.0, 5)

def one():
    return Dead(1.0, 1)

def spike():
    net = Dead(-1.0, 5)
    with torch.no_grad():
        net.a.weight[0, 0] = 1.0
    return net

def batches():
    x = torch.zeros(40, 3)
    x[7, 0] = 9.0
    return [x]

def single():
    return [torch.zeros(1, 3)]
"""


def test_a_verdict_line_a_site_and_one_for_the_model(actprune: Callable, profiled: Path) -> None:
    ran = actprune("theory", profiled)
    assert (ran.code, ran.err) == (0, "")
    table, verdicts, model = ran.out.strip().split("\n\n")
    assert len(table.splitlines()) == 3
    assert [line.partition(":")[0] for line in verdicts.splitlines()] == ["fc1", "fc2"]
    assert "of 1024 units free" in model


def test_the_page_of_one_site(actprune: Callable, profiled: Path) -> None:
    ran = actprune("theory", profiled, "--site", "fc2", "--ahead", 8)
    assert ran.code == 0
    assert ran.out.startswith("fc2  linear, 512 units")
    for title in (
        "free units", "law of the counts: ", "free units at 8 times the samples",
        "tail of the counts", "concentration and exponents", "loss",
    ):  # fmt: skip
        assert f"\n{title}" in ran.out
    assert "--goodness tests it" in ran.out or "REJECTED" in ran.out


def test_goodness_bootstraps_every_fit(actprune: Callable, profiled: Path) -> None:
    found = actprune("theory", profiled, "--goodness", "--json").json
    for site in found["sites"]:
        assert site["fit"]["bootstrap"]["replicates"] == 99
        assert site["fit"]["rejected"] is (site["fit"]["bootstrap"]["p"] < 0.05)


def test_the_folder_holds_the_document_and_the_page(
    actprune: Callable, profiled: Path, home: Path
) -> None:
    assert actprune("theory", profiled, "-o", "t").code == 0
    assert sorted(p.name for p in (home / "t").iterdir()) == ["theory.html", "theory.json"]
    data = json.loads((home / "t" / "theory.json").read_text())
    assert data == actprune("theory", profiled, "--json").json
    assert data["schema"] == 1
    assert data["counted"] == "samples"
    assert data["profile"]["until"] == []


def test_a_plan_says_how_far_its_forecast_lets_one_cut(
    actprune: Callable, profiled: Path, home: Path
) -> None:
    ask = ("--target", "units=50%", "--criterion", "rare", "--compensate", "none")
    made = actprune("plan", profiled, "--data", "zoo:digits-mlp", *ask, "-o", "plan.json")
    assert made.code == 0, made.err
    counts = json.loads((home / "plan.json").read_text())["counts_only"]
    ran = actprune("theory", profiled, "--plan", "plan.json", "--loss", 0.02, "--json")
    assert ran.code == 0, ran.err
    model = ran.json["model"]
    if counts is None:
        assert model["allowed_reason"]
    else:
        share = (0.02 / counts["kappa"]) ** (1 / counts["gamma"])
        assert model["allowed"]["share"] == pytest.approx(min(1.0, share))
        assert "more at +0.02 nats" in ran.json["sites"][0]["verdict"]
    alone = actprune("plan", profiled, *ask, "-o", "alone.json")
    assert alone.code == 0, alone.err
    ran = actprune("theory", profiled, "--plan", "alone.json", "--json").json
    assert ran["model"]["allowed"] is None
    assert ran["model"]["allowed_reason"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("--site fc9", "--site fc9: the profile has fc1, fc2."),
        ("--ahead 0", "--ahead needs a whole number from 1 on"),
        ("--tolerance 1", "and --tolerance a share between 0 and 1, got 4 and 1."),
        ("--loss 0.1", "--loss 0.1: needs --plan, and a change above 0."),
        ("--plan none.json", "none.json: no such plan; make one with `actprune plan`."),
    ],
)
def test_mistakes_are_one_line(
    actprune: Callable, profiled: Path, home: Path, args: str, said: str
) -> None:
    ran = actprune("theory", profiled, *args.split())
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert said in ran.err


@pytest.mark.parametrize(
    ("make", "data", "said"),
    [
        ("dead", "batches", "100 % free, not certified; calibration set too small by 7.5x for this "
         "site; no unit fired at all: check the firing rule and the data"),
        ("on", "batches", "0 % free; every unit fires on every sample: counts say nothing here"),
        ("spike", "batches", "80 % free, not certified; calibration set too small by 7.5x"),
        ("on", "single", "0 % free; every unit fires on every sample"),
        ("dead", "single", "100 % free, not certified; calibration set too small by 3e+02x"),
    ],
)  # fmt: skip
def test_degenerate_profiles_have_a_stated_answer(
    actprune: Callable, home: Path, make: str, data: str, said: str
) -> None:
    (home / "net.py").write_text(NET)
    ask = ("--data", f"net.py:{data}", "--use-all", "--rule", "positive")
    ran = actprune("profile", f"net.py:{make}", *ask, "-o", "P.st")
    assert ran.code == 0, ran.err
    shown = actprune("theory", "P.st", "-o", "t")
    assert (shown.code, shown.err) == (0, "")
    name = load_profile(home / "P.st").sites[0].site.name
    assert f"{name}: {said}" in shown.out
    page = (home / "t" / "theory.html").read_text()
    assert said.split(";")[0].replace(" %", "\u00a0%") in page
    assert actprune("theory", "P.st", "--site", name).code == 0


def test_a_unit_alone_is_no_site(actprune: Callable, home: Path) -> None:
    (home / "net.py").write_text(NET)
    made = actprune("profile", "net.py:one", "--data", "net.py:batches", "--use-all", "-o", "P.st")
    assert made.code == 0, made.err
    shown = actprune("theory", "P.st", "-o", "t")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.endswith("The profile has no site.\n")


def test_a_profile_stops_by_itself_and_says_so(actprune: Callable, home: Path) -> None:
    ask = ("zoo:digits-mlp", "--until", "stable=0.5", "--batch-size", 32, "-o", "P.st")
    ran = actprune("profile", *ask)
    assert ran.code == 0, ran.err
    assert "until stable=0.5: met; in the last doubling" in ran.out
    (until,) = actprune("profile", *ask, "--force", "--json").json["until"]
    assert until["met"]
    p = load_profile(home / "P.st")
    assert p.samples == until["samples"] < 613
    shown = actprune("theory", "P.st", "-o", "t")
    assert "until stable=0.5: met" in shown.out
    assert "Reading until stable=0.5" in (home / "t" / "theory.html").read_text()
    assert actprune("theory", "P.st", "--json").json["profile"]["until"] == [until]


def test_an_unknown_rule_is_a_mistake_before_anything_is_loaded(
    actprune: Callable[..., Any], home: Path
) -> None:
    ran = actprune("profile", "none.py:make", "--until", "soon", "-o", "P.st")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "until: known are certified=Q" in ran.err
