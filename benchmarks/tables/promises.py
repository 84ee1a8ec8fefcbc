"""What is promised, and how often it was kept: certificates, exact cuts, budgets, crashes."""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks.harness import rows, table


def certificate() -> str:
    """Coverage of the split certificate."""
    lines = [
        [
            r["case"],
            f"{r['splits']:,}",
            f"{r['calibration']} + {r['check']}",
            f"{r['free']:.1f}",
            f"{r['covered']:.4f} ± {r['covered_error']:.4f}",
            f"{r['bound']:.4f}",
            f"{r['truth']:.4f}",
            f"{r['leave_one_out']:.4f}",
        ]
        for r in rows("certificate")
    ]
    head = ["activations", "splits", "samples", "free units", "covered (promised .95)"]
    return table([*head, "mean bound", "mean truth", "leave-one-out"], lines)


def exact() -> str:
    """What lossless cuts of trained networks remove, and what that does."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for r in rows("exact"):
        groups.setdefault((r["net"], r["box"]), []).append(r)

    def average(found: list[dict[str, Any]], key: str) -> str:
        return f"{mean(r[key] for r in found):.0f}"

    lines = [
        [
            net,
            box,
            str(len(found)),
            average(found, "units"),
            *(average(found, part) for part in ("proved", "merged", "certified")),
            f"{max(r['largest_difference'] for r in found):.1e}",
            _largest_allowed(found),
            f"{100 * max(r['inputs_changed'] for r in found):.2f} %",
            f"{100 * max(r['bound'] for r in found):.2f} %",
            f"{100 * mean(r['params_kept'] for r in found):.1f} %",
            f"{100 * mean(r['macs_kept'] for r in found):.1f} %",
        ]
        for (net, box), found in groups.items()
    ]
    head = ["network", "box", "seeds", "units", "proved", "merged", "certified"]
    head += ["largest difference", "rounding allows", "inputs changed", "bound, 95 %"]
    return table([*head, "params kept", "MACs kept"], lines)


def _largest_allowed(found: list[dict[str, Any]]) -> str:
    allowed = [r["allowed"] for r in found]
    return "more than the outputs" if None in allowed else f"{max(allowed):.1e}"


def budgets() -> str:
    """Random targets by network and allocation."""
    groups: dict[tuple[str, str], list[str]] = {}
    for r in rows("budgets"):
        groups.setdefault((r["net"], r["allocate"]), []).append(r["outcome"])
    outcomes = ("met", "room left", "exceeded", "refused")
    lines = [
        [*key, str(len(found)), *(str(found.count(o)) for o in outcomes)]
        for key, found in sorted(groups.items())
    ]
    return table(["network", "allocation", "targets", *outcomes], lines)


def crash_safety() -> str:
    """Profiles that were killed and resumed."""
    lines = [
        [
            f"{r['kills']}",
            f"{r['midway']}",
            f"{r['in_write']}",
            f"{r['equal']} of {r['runs']}",
        ]
        for r in rows("crash_safety")
    ]
    head = ["SIGKILLs", "before the profile was there", "while a file was written"]
    return table([*head, "runs equal to an undisturbed one, bit by bit"], lines)
