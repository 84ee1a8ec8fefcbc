"""All tables by name, and the files that hold them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from actprune.planning.criteria import CATALOG
from benchmarks.forecasting import text as forecast_text
from benchmarks.harness import ROOT, rows, table
from benchmarks.real_networks import claims as real_claims
from benchmarks.real_networks import summary
from benchmarks.rivalry import report as rivalry
from benchmarks.scaling import claims, growth, label_study, loss_growth, order_study
from benchmarks.tables import cuts, promises, times


def of(name: str, make: Callable[[list[dict[str, Any]]], str]) -> Callable[[], str]:
    """What `make` says of the rows called `name`."""
    return lambda: make(rows(name))


def criteria() -> str:
    """The criteria as the registry lists them."""
    lines = [[f"`{name}`", e.score, e.source, e.needs] for name, e in CATALOG.items()]
    return table(["criterion", "score", "source", "needs"], lines)


TABLES: Mapping[str, Callable[[], str]] = {
    "peers": of("peers", rivalry.headline),
    "peers_verdicts": of("peers", rivalry.verdicts),
    **{name: of("peers", make) for name, make in rivalry.network_tables().items()},
    "criteria": criteria,
    "run": cuts.run,
    "whole_way": times.whole_way,
    "heal": cuts.heal,
    "coupled": cuts.coupled,
    "language": cuts.language,
    "digits": cuts.digits,
    "digits_sentence": cuts.seeds_summary,
    "forecasts": of("forecast", forecast_text.summary),
    "forecasts_by_network": of("forecast", forecast_text.by_network),
    "forecasts_by_change": of("forecast", forecast_text.by_change),
    "certificate": promises.certificate,
    "exact": promises.exact,
    "overhead": times.overhead,
    "live": times.live,
    "speed": times.speed,
    "crash_safety": promises.crash_safety,
    "selection_speed": times.selection_speed,
    "budgets": promises.budgets,
    "scaling_claims": of("scaling_study", claims.claim_table),
    "scaling_growth": of("scaling_study", growth.growth_table),
    "scaling_loss": of("scaling_study", loss_growth.loss_table),
    "scaling_orders": of("scaling_study", order_study.order_table),
    "scaling_labels": of("scaling_study", label_study.label_table),
    "real_claims": of("theory_on_real_networks", real_claims.claim_table),
    "real_laws": of("theory_on_real_networks", summary.laws),
    "real_tails": of("theory_on_real_networks", summary.tails),
    "real_forecasts": of("theory_on_real_networks", summary.forecasts),
    "real_verdict": of("theory_on_real_networks", summary.sentence),
    "real_estimators": of("theory_on_real_networks", summary.estimators),
    "real_certificates": of("theory_on_real_networks", summary.certificates),
    "real_documents": of("theory_on_real_networks", summary.documents),
}
FILES = (
    ROOT / "README.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "docs" / "theory.md",
    ROOT / "docs" / "criteria.md",
)


def filled(text: str) -> str:
    """`text` with the content of every marked table made anew."""
    for name, make in TABLES.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if pattern.search(text):
            content = make()
            text = pattern.sub(lambda m, c=content: f"{m[1]}{c}\n{m[2]}", text)
    return text


def stale(path: Path) -> bool:
    """Whether the tables of `path` differ from the rows."""
    text = path.read_text()
    return filled(text) != text
