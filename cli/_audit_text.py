"""What `actprune audit` prints for a person to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._console import table

if TYPE_CHECKING:
    from actprune.auditing.result import AuditResult, Crossing, ModelAudit, SampleBasin


def audit_text(found: AuditResult) -> str:
    """What a person reads: sites, then the whole network, then what was left out."""
    both = [("model", found.model)]
    if found.against is not None:
        both.append(("against", found.against))
    parts = [
        f"{found.samples:,} samples of {found.data}"
        + "".join(f"; {name}: {m.spec}" for name, m in both)
    ]
    rows = _sites(both)
    if len(rows) > 1:
        parts.append(table(rows[0], rows[1:]))
    head = ("whole network", *(name for name, _ in both))
    parts.append(table(head, _whole(found, [m for _, m in both])))
    if spikes := _spikes(both, found.data_order):
        parts.append(spikes)
    left = dict.fromkeys(
        f"{k.replace('_', ' ')}: {v}" for _, m in both for k, v in m.reasons.items()
    )
    if left:
        parts.append("\n".join(f"left out: {line}" for line in left))
    return "\n\n".join(parts)


def _sites(both: list[tuple[str, ModelAudit]]) -> list[tuple[str, ...]]:
    """The table of sites, its head first; models take turns."""
    from actprune.reporting.numbers import percent

    several = len(both) > 1
    head = ("site", "of", "activation", "order kept", "units that keep it", "on/mixed/off")
    rows: list[tuple[str, ...]] = [(*head, "straight", "loss if straight")]
    names = dict.fromkeys(
        x.site for _, m in both for x in (*(m.order or ()), *(m.substitution or ()))
    )
    for site in names:
        for name, m in both:
            order = next((o for o in m.order or () if o.site == site), None)
            line = next((s for s in m.substitution or () if s.site == site), None)
            if order is None and line is None:
                continue
            share = "-" if order is None or order.share is None else percent(order.share)
            rows.append(
                (
                    site,
                    name,
                    order.activation if order else (line.activation if line else "") or "-",
                    f"{share} ± {percent(order.stderr)}" if order and order.stderr else share,
                    f"{order.preserving} of {order.units}" if order else "-",
                    f"{order.always_on}/{order.mixed}/{order.always_off}"
                    if order and order.always_on is not None
                    else "-",
                    "-" if line is None or line.explained is None else percent(line.explained),
                    "-" if line is None else _change(line.loss_delta, line.stderr),
                )
            )
    return rows if several else [(r[0], *r[2:]) for r in rows]


def _change(value: float, error: float | None) -> str:
    return f"{value:+.4f}" if error is None else f"{value:+.4f} ± {error:.4f}"


def _whole(found: AuditResult, models: list[ModelAudit]) -> list[tuple[str, ...]]:
    from actprune.reporting.numbers import metric, number, percent, whole

    rows: list[tuple[str, ...]] = [
        ("parameters", *(whole(m.params) for m in models)),
        (f"loss, {models[0].loss_kind}", *(number(m.loss, 4) for m in models)),
    ]
    for name in models[0].metrics:
        rows.append((name, *(metric(name, m.metrics[name]) for m in models)))
    percentage = percent(found.level)
    if any(m.sample_basin for m in models):
        rows.append(
            (f"input noise, half change (r50), {percentage}",
             *(_r50(m.sample_basin) for m in models))
        )  # fmt: skip
    if found.compared is not None:
        c = found.compared
        rows.append(
            (f"the same, on the {c.samples} that both handle",
             *(_radius(x) for x in (c.r50, c.r50_against)))
        )  # fmt: skip
        rows.append(("ratio", f"{_radius(c.ratio)} [{_radius(c.low)}, {_radius(c.high)}]", ""))
    if any(m.weight_basin for m in models):
        basins = [m.weight_basin for m in models]
        rise = next(b.loss.threshold for b in basins if b and b.loss)
        rows.append(
            (f"weight noise, loss {rise:+.3g}, {percentage}",
             *(_crossing(b.loss if b else None) for b in basins))
        )  # fmt: skip
        rows.append(
            (f"weight noise, half change, {percentage}",
             *(_crossing(b.answers if b else None) for b in basins))
        )  # fmt: skip
    return rows


def _radius(x: float | None) -> str:
    return "beyond" if x is None else f"{x:.3g}"


def _r50(basin: SampleBasin | None) -> str:
    if basin is None:
        return "-"
    return f"{_radius(basin.r50)} [{_radius(basin.low)}, {_radius(basin.high)}]"


def _crossing(c: Crossing | None) -> str:
    return "-" if c is None else f"{_radius(c.radius)} [{_radius(c.low)}, {_radius(c.high)}]"


def _spikes(both: list[tuple[str, ModelAudit]], data_order: str | None) -> str | None:
    from actprune.reporting.numbers import number, percent

    rows = [
        (
            s.site,
            name,
            f"{s.windows} of {s.length}",
            percent(s.mean_rate),
            "-" if s.mean_fano is None else number(s.mean_fano),
            "-" if s.relative is None else number(s.relative),
            "-" if s.overdispersed is None else percent(s.overdispersed),
        )
        for name, m in both
        for s in m.spikes or ()
    ]
    if not rows:
        return None
    head = ("spikes", "of", "windows", "rate", "Fano", "Fano / (1 - rate)", "overdispersed")
    return f"{table(head, rows)}\nin the order: {data_order}"
