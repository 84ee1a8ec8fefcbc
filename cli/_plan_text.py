"""Plans and prunable layers in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._console import emit, emit_json, table

if TYPE_CHECKING:
    from actprune.planning.result import Plan
    from actprune.profiling.result import Profile
    from actprune.sites.site import Site


def summary(found: Plan) -> str:
    """A plan on a few lines."""
    from actprune.reporting.numbers import percent, scaled

    rows = [
        (p.site.name, p.site.kind, str(p.site.units), str(len(p.kept)),
         percent(len(p.kept) / p.site.units))
        for p in found.sites
    ]  # fmt: skip
    before, after = found.before, found.after
    lines = [table(("site", "kind", "units", "kept", "share"), rows), ""]
    for t in found.targets:
        got = "" if t.reached is None else f", reached {_amount(t.target.kind, t.reached)}"
        lines.append(f"target    {t.target}{got}, {'met' if t.met else 'missed'}")
    if found.tried is not None:
        lines.append(f"tried     {found.tried}")
    if found.timed is not None:
        lines.append(f"latency   {found.timed}")
    lines += [
        f"params    {scaled(before.params)} to {scaled(after.params)}",
        f"macs      {scaled(before.macs)} to {scaled(after.macs)} a sample",
        f"forecast  {_forecast(found)}",
    ]
    if found.local is not None:
        lines.append(f"local     {found.local}, without trying the cut")
    if not found.removed:
        lines.append("nothing   to remove: the plan keeps every unit")
    return "\n".join(lines)


def _amount(kind: str, reached: float) -> str:
    from actprune.planning.target import METRICS
    from actprune.reporting.numbers import percent, signed

    if kind in METRICS:
        return f"{100 * reached:+.2f} points"
    return signed(reached) if kind == "loss" else percent(reached)


def _forecast(found: Plan) -> str:
    if found.forecast is None:
        return f"none: {found.forecast_reason or 'no reason was recorded'}"
    how = "tried on" if found.forecast.method == "probed" else "on"
    return f"{found.loss_kind} {found.forecast}, {how} {found.forecast.samples} samples"


def explain_layers(counted: Profile, json: bool) -> None:
    if json:
        emit_json(
            {
                "sites": [s.site.model_dump() for s in counted.sites],
                "refusals": [{"layer": r.layer, "reason": r.reason} for r in counted.refusals],
            }
        )
        return
    rows = [
        (s.site.name, f"{_units(s.site)}, read by {s.site.readers}")
        for s in counted.sites
        if s.site.obstacle is None
    ]
    rows += [
        (s.site.name, f"{s.units} units, watched, cannot be cut: {s.site.obstacle}")
        for s in counted.sites
        if s.site.obstacle is not None
    ]
    rows += [(r.layer, f"cannot be cut: {r.reason}") for r in counted.refusals]
    emit(table(("layer", "what is known"), rows))


def _units(site: Site) -> str:
    """How many there are, and of how many channels, where a grouped convolution joins some."""
    each = site.producer.repeat
    return f"{site.units} units" + (f" of {each} channels" if each > 1 else "")
