"""`plan --sweep`, and least and most units a site, through the command alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

CHEAP = ("--criterion", "rare", "--compensate", "mean")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory, entry: Callable) -> Path:
    """A profile of the zoo's perceptron: two sites of 512 units."""
    path = tmp_path_factory.mktemp("sweep") / "P.safetensors"
    with pytest.raises(SystemExit) as e:
        entry(["profile", "zoo:digits-mlp", "-o", str(path)])
    assert e.value.code == 0
    return path


@pytest.fixture
def swept(actprune: Callable, profiled: Path) -> Callable:
    """Run `plan --sweep` without data."""
    return lambda *args: actprune("plan", profiled, "--sweep", *CHEAP, *args)


def test_a_sweep_prints_a_row_a_size(swept: Callable) -> None:
    result = swept()
    assert (result.code, result.err) == (0, "")
    head, *rows, empty, said = result.out.splitlines()
    assert head.split()[:4] == ["macs", "params", "units", "harm"]
    assert 15 < len(rows) <= 24
    assert rows[0].split()[-1] == "0"  # units that never fired go first, and larger sizes are gone
    bars = [row.count("#") for row in rows]
    assert bars == sorted(bars)
    assert (bars[0], bars[-1]) == (0, 30)
    assert len(set(bars)) > 10  # a linear scale would leave all but the last ones empty
    assert empty == ""
    assert said.startswith("harm: each site's scores as shares of their sum;")
    assert "no data were given" in said


def test_a_sweep_as_json_has_both_allocations_and_is_what_is_saved(
    swept: Callable, tmp_path: Path
) -> None:
    path = tmp_path / "frontier.json"
    result = swept("--json", "-o", path)
    assert result.json == json.loads(path.read_text())
    rows, uniform = result.json["rows"], result.json["uniform"]
    assert result.json["allocate"] == "global"
    assert uniform[0]["kept"] == {"fc1": 512, "fc2": 512}
    assert rows[0]["harm"] == uniform[0]["harm"] == 0
    assert [r[-1]["kept"] for r in (rows, uniform)] == 2 * [{"fc1": 1, "fc2": 1}]
    assert all(r["kept"]["fc1"] == r["kept"]["fc2"] for r in uniform)
    alone = swept("--json", "--allocate", "uniform").json
    assert alone["allocate"] == "uniform"
    assert (alone["rows"], alone["uniform"]) == (uniform, [])


def test_a_sweep_is_drawn_by_its_ending_or_all_into_a_folder(
    swept: Callable, tmp_path: Path
) -> None:
    folder = tmp_path / "all"
    assert swept("-o", folder).code == 0
    names = ["frontier.html", "frontier.json", "frontier.svg"]
    assert sorted(p.name for p in folder.iterdir()) == names
    for ending in ("html", "svg"):
        one = tmp_path / f"one.{ending}"
        assert swept("-o", one).code == 0
        assert one.read_text() == (folder / f"frontier.{ending}").read_text()
    drawn = ElementTree.parse(folder / "frontier.svg").getroot()
    found = json.loads((folder / "frontier.json").read_text())
    dots = list(drawn.iter(f"{SVG}circle"))
    assert len(dots) == 2 * (len(found["rows"]) + len(found["uniform"]))  # two panels
    tips = [d.findtext(f"{SVG}title") or "" for d in dots]
    last = found["rows"][-1]["kept"]
    assert sum(f"fc1 {last['fc1']}, fc2 {last['fc2']}" in t for t in tips) >= 2
    assert "<script" not in (folder / "frontier.html").read_text()


def test_a_sweep_keeps_within_limits_and_named_units(swept: Callable) -> None:
    held = swept("--min", "fc1:256", "--max", "fc*:75%", "--round-to", 8, "--json").json
    for row in (*held["rows"], *held["uniform"]):
        assert 256 <= row["kept"]["fc1"] <= 384
        assert 8 <= row["kept"]["fc2"] <= 384
        assert all(n % 8 == 0 for n in row["kept"].values())
    assert held["rows"][0]["kept"] == {"fc1": 384, "fc2": 384}
    only = swept("--only", "fc2", "--keep", "fc2:3", "--keep", "fc2:4", "--json").json
    assert only["rows"][-1]["kept"] == {"fc2": 2}


def test_a_plan_and_a_pruned_model_keep_within_limits(
    actprune: Callable, profiled: Path, tmp_path: Path
) -> None:
    limits = ("--target", "params=40%", "--min", "fc1:50%", "--max", "fc2:100", *CHEAP)
    made = actprune("plan", profiled, *limits, "--json")
    assert made.code == 0
    kept = {s["site"]["name"]: len(s["kept"]) for s in made.json["sites"]}
    assert kept["fc1"] >= 256
    assert kept["fc2"] <= 100
    pruned = actprune("prune", "zoo:digits-mlp", *limits, "-o", tmp_path / "out", "--json")
    sites = {s["name"]: s["kept"] for s in pruned.json["sites"]}
    assert sites["fc1"] >= 256
    assert sites["fc2"] <= 100


def test_explaining_does_not_hide_the_sweep(swept: Callable) -> None:
    out = swept("--explain").out
    assert "log scale" in out
    assert out.splitlines()[-1].split()[:2] == ["head", "cannot"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("-o frontier.png", "-o frontier.png: end it in .json, .html or .svg, or name a new"),
        ("-o no/frontier.svg", "-o no/frontier.svg: there is no folder no; make it first."),
        ("-o there.svg", "-o there.svg: exists already; choose another name or add --force."),
        ("-o full", "-o full: not empty; choose a new folder."),
        ("--target macs=50%", "--target: chooses one size, --sweep shows all; leave one out."),
        ("--level .8", "--level: chooses one size, --sweep shows all; leave one out."),
        ("--check zoo:digits-mlp", "--check: chooses one size, --sweep shows all"),
        ("--allocate best", "--allocate: input should be 'uniform' or 'global', got 'best'"),
        ("--only fc9", "the sites are fc1, fc2"),
        ("--model zoo:digits-cnn", "is of another model"),
        ("--min fc1", "--min: A limit is written SITE:COUNT or SITE:SHARE, as in fc1:8"),
        ("--max fc1:few", "--max: A limit is written SITE:COUNT or SITE:SHARE, as in fc1:8"),
        ("--min fc9:3", "No site matches 'fc9' (the sites are fc1, fc2)."),
        ("--min fc1:600", "Site 'fc1' (512 units): least asks for 600 units; give at most 512."),
        ("--min fc1:200%", "a share of them (25%, at most 100%), got '200%'."),
        ("--max fc*:0", "Site 'fc1' (512 units): most leaves 0 units; at least one must stay."),
        ("--min fc1:30 --max fc1:20", "least 30 and most 20 contradict each other."),
        ("--min fc1:1 --min fc1:2", "'fc1' is limited twice; give it once."),
    ],
)
def test_a_mistake_in_a_sweep_is_one_line(
    swept: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.svg").write_text("")
    Path("full").mkdir()
    Path("full/file").write_text("")
    result = swept(*flags.split())
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert result.err.count("\n") == 1
    assert sorted(p.name for p in Path().rglob("*")) == ["file", "full", "there.svg"]
