"""Networks that were cut: what is left of their accuracy, and what was forecast."""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks.harness import RESULTS, rows, table


def heal() -> str:
    """Accuracy of ResNet-20 with 30 % of its inner channels, before and after healing."""
    lines = [
        [
            f"{r['images']:,}{', mirrored and shifted' if r['augmented'] else ''}",
            r["start"],
            f"{100 * r['before']['accuracy']:.2f}",
            f"**{100 * r['after']['accuracy']:.2f}**",
            f"{r['before']['loss']:.3f}",
            f"{r['after']['loss']:.3f}",
            f"{r['taken']} x {r['batch']}",
            f"{r['seconds']:.0f}",
            r["device"],
        ]
        for r in rows("heal")
    ]
    head = ["training images", "starts from", "accuracy before", "healed", "loss before (nats)"]
    return table([*head, "healed", "steps x images", "seconds", "device"], lines)


def coupled() -> str:
    """Test accuracy with and without the streams among what is cut, over seeds."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    if not rows("coupled"):
        return "not run"
    for r in rows("coupled"):
        groups.setdefault((r["net"], r["target"]), []).append(r)

    def accuracy(found: list[dict[str, Any]], what: str) -> str:
        values = [100 * r[what]["accuracy"] for r in found if "accuracy" in r[what]]
        if len(values) < len(found):
            return "out of reach"
        spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
        return f"{mean(values):.2f}{spread}"

    head = ["network", "MACs kept", "seeds", "dense", "inside blocks only", "and streams"]
    lines = [
        [net, target.removeprefix("macs="), str(len(found))]
        + [accuracy(found, what) for what in ("dense", "inner", "all")]
        for (net, target), found in groups.items()
    ]
    return table(head, lines)


def language() -> str:
    """What a language model loses with units of its gated MLPs, over seeds."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for r in rows("language"):
        groups.setdefault((r["cut"], r["method"]), []).append(r)
    if not groups:
        return "not run"

    def average(values: list[float]) -> str:
        spread = f" ({min(values):+.3f} to {max(values):+.3f})" if len(values) > 1 else ""
        return f"{mean(values):+.3f}{spread}"

    lines = [
        [
            f"{100 - float(cut[6:-1]):.0f} %",
            method,
            str(len(found)),
            f"{100 * mean(r['params_kept'] for r in found):.1f} %",
            f"{mean(r['dense_loss'] for r in found):.3f}",
            _bold(
                average([r["measured"]["loss_delta"] for r in found]),
                method.startswith("residual"),
            ),
            average([r["forecast"]["loss_delta"] for r in found]),
            f"{sum(r['covered'] for r in found)} of {len(found)}",
        ]
        for (cut, method), found in sorted(
            groups.items(), key=lambda g: (g[0][0], -mean(r["loss"] for r in g[1])), reverse=True
        )
    ]
    head = ["units removed", "method", "seeds", "params kept", "dense (nats a token)", "change"]
    return table([*head, "forecast", "90 % interval covers"], lines)


def _bold(text: str, ours: bool) -> str:
    return f"**{text}**" if ours else text


def digits() -> str:
    """Mean accuracy over seeds of the digits MLP."""
    groups: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for r in rows("forecast"):
        if r["net"] == "digits-mlp":
            groups.setdefault((r["cut"], r["criterion"], r["compensate"]), []).append(r)
    lines = []
    for (cut, criterion, compensate), found in groups.items():
        before = [r["accuracy_before"] for r in found]
        after = [r["accuracy_after"] for r in found]
        lines.append(
            [
                cut.removeprefix("units="),
                f"{criterion}, {compensate}",
                str(len(found)),
                f"{100 * mean(before):.2f}",
                f"{100 * mean(after):.2f}",
                f"{100 * (mean(after) - mean(before)):+.2f}",
            ]
        )
    return table(
        ["hidden units kept", "criterion, compensation", "seeds", "dense", "pruned", "points"],
        lines,
    )


def seeds_summary() -> str:
    """One sentence on the digits MLP at 10 % of its units."""
    found = [
        r
        for r in rows("forecast")
        if (r["net"], r["cut"], r["criterion"], r["compensate"])
        == ("digits-mlp", "units=10%", "residual", "refit")
    ]
    if not found:
        return "not run"
    drop = mean(r["accuracy_before"] - r["accuracy_after"] for r in found)
    dense = mean(r["accuracy_before"] for r in found)
    return (
        f"Over {len(found)} seeds the digits network loses {100 * drop:.2f} points of accuracy, "
        f"from {100 * dense:.2f} %, with 90 % of its hidden units gone."
    )


def run() -> str:
    """What `make prune` printed."""
    path = RESULTS / "digits-mlp-refit.txt"
    text = path.read_text().rstrip() if path.is_file() else "not run"
    return f"```\n{text}\n```"
