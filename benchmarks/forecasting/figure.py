"""The calibration plot: forecast against measured, one panel a way to forecast."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from actprune.reporting import svg
from benchmarks.forecasting.judge import COUNTED, Row
from benchmarks.harness import ROOT

FILE = ROOT / "docs" / "figures" / "forecast-calibration.svg"
PANELS = {
    "forecast": "Probed: tried on check samples",
    "local": "Local: foreseen from derivatives",
    "counts_only": "Counts only: activations and two probes",
}
TONES = {
    "digits-mlp": "#b9c0c8", "digits-cnn": "#8a93a0", "mnist-mlp": "#1f6feb",
    "mnist-cnn": "#0b7a75", "resnet20": "#b45309", "resnet56": "#c6384f",
}  # fmt: skip
STYLE = (
    "text{font:11px system-ui,'Segoe UI',Helvetica,Arial,sans-serif;fill:#5a6370}"
    ".t{fill:#16191d}.h{font-weight:600;fill:#16191d}path{fill:none}.grid{stroke:#e1e5ea}"
    ".axis{stroke:#7b8694}.even{stroke:#16191d;stroke-dasharray:4 3}.page{fill:#fff}circle{"
    "fill-opacity:.55}"
    + "".join(f".d-{net}{{fill:{c}}}.i-{net}{{stroke:{c};stroke-opacity:.3}}"
              for net, c in TONES.items())
)  # fmt: skip
WIDE, TALL, LEFT, RIGHT, TOP, BOTTOM = 320.0, 340.0, 56.0, 308.0, 66.0, 292.0
LEAST = 1e-3  # nats: what lies below is drawn here


def write(rows: Sequence[Row]) -> None:
    """Draw `docs/figures/forecast-calibration.svg`."""
    FILE.write_text(drawn(rows) + "\n")


def drawn(rows: Sequence[Row]) -> str:
    """Points with 90 % intervals of the forecast; both axes logarithmic, from .001 nats on."""
    parts, x = [], LEFT
    for net in dict.fromkeys(r["net"] for r in rows):
        parts += [svg.dot(x, 18, 4, f"d-{net}"), svg.text(x + 9, 22, net, "t")]
        x += 22 + 7 * len(net)
    for i, (column, title) in enumerate(PANELS.items()):
        parts += _panel(WIDE * i, title, [(r, r[column]) for r in rows if r[column] is not None])
    size = f"{WIDE * len(PANELS):g} {TALL:g}"
    label = "Forecast against measured loss change of every plan, by way of forecasting"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img" '
        f'aria-label="{escape(label)}"><style>{STYLE}</style>'
        f'<rect class="page" width="100%" height="100%"/>{"".join(parts)}</svg>'
    )


def _panel(left: float, title: str, found: Sequence[tuple[Row, Row]]) -> list[str]:
    x = svg.Axis(low=LEAST, high=3.0, start=left + LEFT, end=left + RIGHT, log=True)
    y = svg.Axis(low=LEAST, high=3.0, start=BOTTOM, end=TOP, log=True)
    frame = svg.frame(x, y, "measured loss change (nats)", "forecast (nats)")
    parts = [svg.text(left + LEFT - 40, 44, title, "h"), frame]
    parts.append(svg.line([(x.start, y.start), (x.end, y.end)], "even"))
    parts.append(svg.line([(x.at(COUNTED), TOP), (x.at(COUNTED), BOTTOM)], "grid"))
    for row, forecast in found:
        at = x.at(_shown(row["measured"]["loss_delta"]))
        ends = [(at, y.at(_shown(forecast[end]))) for end in ("low", "high")]
        parts.append(svg.line(ends, f"i-{row['net']}"))
    for row, forecast in found:
        at = x.at(_shown(row["measured"]["loss_delta"])), y.at(_shown(forecast["loss_delta"]))
        parts.append(svg.dot(*at, 2.2, f"d-{row['net']}"))
    return parts


def _shown(value: float) -> float:
    return min(max(value, LEAST), 3.0)
