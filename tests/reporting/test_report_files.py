import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actprune.errors import ActpruneError
from actprune.reporting import read_report, write_report
from actprune.reporting.schema import Report


def test_a_report_comes_back_equal(make_report: Callable[..., Report], tmp_path: Path) -> None:
    report = make_report(27)
    write_report(report, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "report.html", "report.json"]
    assert read_report(tmp_path) == report
    assert read_report(tmp_path / "report.json") == report


def test_report_json_has_the_promised_keys(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["schema"] == 1
    sides = {"loss", "metrics", "params", "macs", "latency_ms"}
    promised = {
        "model": {"spec", "hash"},
        "data": {"spec", "calibration_samples", "heldout_samples"},
        "before": sides,
        "after": sides,
        "target": {"kind", "asked", "reached", "met"},
        "predicted": {"loss_delta", "low", "high", "level", "counts_only"},
        "measured": {"loss_delta", "low", "high", "level"},
        "certificate": {"units", "inputs_affected", "upper", "level"},
        "seconds": {"profile", "plan", "prune", "verify"},
    }
    for key, parts in promised.items():
        assert parts <= set(found[key]), key
    assert {"criterion", "compensate", "loss", "metrics"} <= set(found["baselines"][0])
    assert {"loss_delta", "low", "high"} <= set(found["predicted"]["counts_only"])
    fields = {"name", "kind", "units", "kept", "free", "rate", "family"}
    fields |= {"b", "M", "pi0", "pi1", "alpha"}
    for site in found["sites"]:
        assert fields <= set(site)
        if None in (site[f] for f in fields):
            assert site["reason"]
    assert found["verdict"] in ("pass", "outside", "fail")
    assert found["loss_kind"] == "cross-entropy"


def test_a_missing_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(ActpruneError, match=r"report\.json: no such report; name a folder"):
        read_report(tmp_path)
    with pytest.raises(ActpruneError, match="elsewhere: no such report"):
        read_report(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"{", "not a report of schema 1: document: Invalid JSON"),
        (b'{"schema": 2}', "not a report of schema 1: schema: Input should be 1"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_damaged_report_is_named(tmp_path: Path, text: bytes, what: str) -> None:
    (tmp_path / "report.json").write_bytes(text)
    with pytest.raises(ActpruneError, match=what):
        read_report(tmp_path)


def test_an_unknown_key_is_refused(report: Report, tmp_path: Path) -> None:
    data = report.model_dump(by_alias=True, mode="json") | {"sitez": []}
    (tmp_path / "report.json").write_text(json.dumps(data))
    with pytest.raises(ActpruneError, match="sitez"):
        read_report(tmp_path)


def test_a_missing_folder_is_the_users_mistake(report: Report, tmp_path: Path) -> None:
    with pytest.raises(ActpruneError, match="cannot be written"):
        write_report(report, tmp_path / "missing")


def test_importing_loads_no_template_engine_and_no_plotting() -> None:
    check = (
        "import sys, actprune.reporting; "
        "print([m for m in ('jinja2', 'matplotlib', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
