"""Numbers as people read them: few digits, signs on changes, percentages for shares."""

from __future__ import annotations

from math import ceil, floor, isfinite, log10

SHARES = ("accuracy", "acc", "top1", "top5", "top_1", "top_5", "f1", "precision", "recall")


def number(x: float, digits: int = 3) -> str:
    """`x` with `digits` significant digits: 12,300, 0.0213, 1.2e-07."""
    if not isfinite(x):
        return _not_finite(x)
    if x == 0:
        return "0"
    magnitude = floor(log10(abs(x)))
    if magnitude < -5 or magnitude > 8:
        return f"{x:.{digits - 1}e}"
    return f"{x:,.{max(0, digits - 1 - magnitude)}f}"


def signed(x: float, digits: int = 3) -> str:
    """A change: `number` with its sign always written."""
    return f"+{number(x, digits)}" if x > 0 else number(x, digits)


def whole(n: int) -> str:
    return f"{n:,}"


def scaled(x: float, unit: str = "") -> str:
    """A count or size by powers of 1,000: 269.7 k, 40.8 M, 1.08 MB with unit B."""
    if not isfinite(x):
        return _not_finite(x)
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= 0.9995 * factor:
            decimals = 1 if abs(x) >= 9.995 * factor else 2
            return f"{x / factor:,.{decimals}f} {prefix}{unit}"
    return f"{number(x) if x % 1 else whole(int(x))} {unit}".strip()


def percent(share: float, *, up: bool = False) -> str:
    """A share of 0 to 1 as a percentage; a share close to 0 or 1 never reads as 0 or 100 %.

    `up`: never round down, as an upper bound must not be.
    """
    if not isfinite(share):
        return _not_finite(share)
    p = 100 * share
    rest = min(abs(p), abs(100 - p))
    if rest == 0 or abs(p) > 100:
        return f"{p:,.0f} %"
    decimals = 1 if rest >= 10 else min(8, 1 - floor(log10(rest)))
    if up:
        p = ceil(p * 10**decimals - 1e-6) / 10**decimals
    text = f"{p:.{decimals}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def change_percent(before: float, after: float) -> str | None:
    """The relative change in per cent with its sign, from 3 on in times.

    None where there is nothing to divide by.
    """
    if not (isfinite(before) and isfinite(after)) or before == 0:
        return None
    if after / before >= 3:
        return f"{after / before:.1f} times"
    text = f"{100 * (after / before - 1):+.1f}"
    return f"{'0' if text in ('+0.0', '-0.0') else text} %"


def estimate(point: float, low: float, high: float) -> tuple[str, str]:
    """A change and its interval, to the two digits that the interval's width supports."""
    if not all(map(isfinite, (point, low, high))):
        return signed(point), f"[{signed(low)}, {signed(high)}]"
    width = high - low
    size = width if width > 0 else abs(point)
    decimals = min(8, max(0, 1 - floor(log10(size)))) if size > 0 else 0

    def show(x: float) -> str:
        text = f"{x:+,.{decimals}f}"
        return text[1:] if float(text.replace(",", "")) == 0 else text

    return show(point), f"[{show(low)}, {show(high)}]"


def is_share(metric: str) -> bool:
    """Whether a metric of this name lies in 0 to 1 and reads best as a percentage."""
    name = metric.lower().replace("-", "_")
    return name in SHARES or name.startswith("accuracy") or name.endswith("_accuracy")


def metric(name: str, value: float) -> str:
    return f"{100 * value:.2f} %" if is_share(name) and isfinite(value) else number(value, 4)


def metric_change(name: str, before: float, after: float) -> str:
    """The change of a metric: percentage points for shares."""
    if not is_share(name) or not (isfinite(before) and isfinite(after)):
        return signed(after - before)
    points = 100 * (after - before)
    return f"{points:+.2f} pt" if abs(points) >= 0.005 else "0 pt"


def unit_of(loss_kind: str) -> str:
    """The unit of a loss change, where it has one."""
    kind = loss_kind.lower().replace("_", " ").replace("-", " ")
    return (
        "nats"
        if any(k in kind for k in ("nats", "cross entropy", "kl", "nll", "likelihood"))
        else ""
    )


def duration(seconds: float) -> str:
    if not isfinite(seconds):
        return _not_finite(seconds)
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _not_finite(x: float) -> str:
    return "not a number" if x != x else ("infinite" if x > 0 else "-infinite")
