"""Other thresholds and strata, from one profile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from actprune.profiling.store import load_profile
from actprune.profiling.thresholds import exact_thresholds, relative_thresholds


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory, entry: Callable[[list[str]], None]) -> Path:
    path = tmp_path_factory.mktemp("thresholds") / "P.safetensors"
    asked = ["--stats", "histogram", "--strata", "labels", "--samples", "300"]
    with pytest.raises(SystemExit) as e:
        entry(["profile", "zoo:digits-mlp", *asked, "-o", str(path)])
    assert e.value.code == 0
    return path


def test_a_profile_with_histograms_answers_other_thresholds(
    actprune: Callable, profiled: Path
) -> None:
    own, low, high = (
        actprune("theory", profiled, *more, "--json")
        for more in ((), ("--threshold", 0.05), ("--threshold", 2))
    )
    assert (own.code, low.code, high.code) == (0, 0, 0)
    for a, b in zip(low.json["sites"], high.json["sites"], strict=True):
        assert a["samples"] == b["samples"] > 0
        assert a["rate"] > b["rate"]
        assert b["rate_stderr"] is not None
    seen = load_profile(profiled)
    for site, t in relative_thresholds(seen, 2).items():
        assert t in exact_thresholds()
        assert f"{site}: active where |a| > {t:.4g}" in high.err


def test_labels_are_kept_apart(profiled: Path) -> None:
    seen = load_profile(profiled)
    assert [s.name for s in seen.strata] == [str(k) for k in range(10)]
    assert sum(s.samples for s in seen.strata) == seen.samples


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("profile zoo:digits-mlp -o x --strata classes", "--strata: known is labels, got 'class"),
        ("theory {profile} --threshold 0", "A relative threshold must be a positive number, got"),
    ],
)
def test_mistakes_are_said_in_a_line(
    actprune: Callable, profiled: Path, line: str, message: str
) -> None:
    result = actprune(*line.format(profile=profiled).split())
    assert result.code == 2
    assert message in result.err
    assert result.out == ""


def test_other_thresholds_need_histograms(actprune: Callable, tmp_path: Path) -> None:
    path = tmp_path / "P.safetensors"
    assert actprune("profile", "zoo:digits-mlp", "--samples", 50, "-o", path).code == 0
    result = actprune("theory", path, "--threshold", 0.1)
    assert result.code == 2
    assert "profile with --stats histogram" in result.err
