"""`actprune subtract`, end to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from actprune.profiling.store import load_profile

NET = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, entry: Callable[[list[str]], None]) -> Path:
    """A, B, their sum AB and AB - B, all with Gram matrices."""
    folder = tmp_path_factory.mktemp("subtract")
    (folder / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in "abc":
            np.savez(folder / f"{name}.npz", x=rng.normal(size=(120, 6)).astype(np.float32))
        made = ["profile", "net.py:make", "--use-all", "--stats", "counts,moments,gram"]
        for line in (
            [*made, "--data", "npz:a.npz", "-o", "A.st"],
            [*made, "--data", "npz:b.npz", "--like", "A.st", "-o", "B.st"],
            ["merge", "A.st", "B.st", "-o", "AB.st"],
            ["subtract", "AB.st", "B.st", "-o", "rest.st"],
        ):
            with pytest.raises(SystemExit) as e:
                entry(line)
            assert e.value.code == 0
    return folder


@pytest.fixture
def run(actprune: Callable, home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    monkeypatch.chdir(home)
    return actprune


def test_help_has_an_example_and_says_what_is_lost(run: Callable) -> None:
    result = run("subtract", "--help")
    assert (result.code, result.err) == (0, "")
    assert "Examples:\n    actprune subtract " in result.out
    assert "every target but lossless" in " ".join(result.out.split())
    assert "\n  subtract " in run("--help").out


def test_the_rest_is_the_other_part(run: Callable) -> None:
    rest, alone = load_profile("rest.st"), load_profile("A.st")
    assert rest.identity == alone.identity
    assert rest.shards == alone.shards
    for x, y in zip(rest.sites, alone.sites, strict=True):
        for name in ("samples", "positions", "samples_active", "positions_active"):
            np.testing.assert_array_equal(getattr(x, name), getattr(y, name))


def test_it_prints_what_is_left_and_notes_what_is_lost(run: Callable) -> None:
    result = run("subtract", "AB.st", "A.st", "-o", "other.st")
    assert result.code == 0
    assert result.out == "other.st: 120 samples, 2 sites, 20 units\n"
    assert result.err == (
        "actprune: extremes and first firings are unknown after subtract; all counts are exact.\n"
    )


def test_json_is_that_of_the_other_part(run: Callable) -> None:
    result = run("subtract", "AB.st", "B.st", "-o", "again.st", "--json")
    assert (result.code, result.err) == (0, "")
    summary, merged = result.json, run("merge", "A.st", "B.st", "-o", "more.st", "--json").json
    assert summary.keys() == merged.keys()
    assert (summary["profile"], summary["samples"]) == ("again.st", 120)
    assert summary["identity"]["data"] == "npz:a.npz"


def test_theory_and_plan_work_on_the_rest(run: Callable) -> None:
    shown = run("theory", "rest.st")
    assert (shown.code, shown.err) == (0, "")
    for site in run("theory", "rest.st", "--json").json["sites"]:
        assert site["certificate"] is None
        assert "unknown after subtract" in site["certificate_reason"]

    ask = ("--model", "net.py:make", "--target", "units=50%")
    planned = run("plan", "rest.st", *ask, "-o", "plan.json", "--json")
    assert planned.code == 0, planned.err
    assert planned.json["data"]["samples"] == 120

    # the data are named as before the merge, so prune finds them by itself
    pruned = run("prune", "net.py:make", "--plan", "plan.json", "--heldout", "npz:c.npz", "-o", "o")
    assert pruned.code == 0, pruned.err
    assert "keep 50 % of the units: 50 %, met" in pruned.out


def test_lossless_says_that_the_rest_does_not_know(run: Callable) -> None:
    ask = ("--model", "net.py:make", "--target", "lossless", "-o", "no.json")
    result = run("plan", "rest.st", *ask)
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert "which units are constant is unknown after subtract" in result.err
    assert "use the profile it was taken from" in result.err
    assert run("plan", "AB.st", "--data", "npz:a.npz", *ask).code == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("AB.st AB.st -o x.st", "Both profiles count the same samples, so subtract leaves none"),
        ("A.st B.st -o x.st", "The first profile has no shard of 120 samples out of 0 to 119 of"),
        ("rest.st B.st -o x.st", "subtract only profiles that were merged into the first."),
        ("AB.st absent.st -o x.st", "absent.st: no such profile"),
        ("AB.st B.st -o A.st", "A.st"),
        ("AB.st -o x.st", "missing argument 'B'"),
        ("AB.st B.st", "missing option '-o'"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing_behind(
    run: Callable, home: Path, args: str, said: str
) -> None:
    before = (home / "A.st").read_bytes()
    result = run("subtract", *args.split())
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert said in result.err
    assert not (home / "x.st").exists()
    assert (home / "A.st").read_bytes() == before
