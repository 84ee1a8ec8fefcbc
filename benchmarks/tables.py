"""Write the tables of README.md and benchmarks/README.md from the rows under results/.

    python -m benchmarks.tables [--check]

Each table stands between `<!-- NAME -->` and `<!-- /NAME -->`; `--check` only says whether the
files are up to date, and exits 1 if not.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from actprune.planning.criteria import CATALOG
from benchmarks.forecasting import text as forecast_text
from benchmarks.harness import RESULTS, ROOT, rows, table
from benchmarks.real_networks import claims as real_claims
from benchmarks.real_networks import summary
from benchmarks.rivalry import report as rivalry
from benchmarks.scaling import claims, growth, label_study, loss_growth, order_study

METHODS = (
    "torch-pruning GroupMagnitude",
    "torch-pruning GroupMagnitude + BN re-estimated",
    "actprune magnitude, no compensation",
    "actprune rare, no compensation",
    "actprune residual + refit",
)


def cifar() -> str:
    """Accuracy on all 10,000 CIFAR-10 test images by method."""
    found = {(r["net"], r["target"], r["method"]): r for r in rows("cifar_resnet")}
    cuts = sorted({(n, t) for n, t, _ in found}, key=lambda c: (c[0], -float(c[1][6:-1])))
    head = ["network", "channels kept", "MACs kept", "dense", *METHODS]
    lines = []
    for net, target in cuts:
        ours = found[net, target, METHODS[-1]]
        accuracies = [
            f"{100 * found[net, target, m]['full_test']['accuracy']:.2f}"
            if (net, target, m) in found
            else "not run"
            for m in METHODS
        ]
        lines.append(
            [
                net.replace("resnet", "ResNet-"),
                target.removeprefix("units="),
                f"{100 * ours['macs_kept']:.1f} %",
                f"{100 * ours['dense']['accuracy']:.2f}",
                *accuracies[:-1],
                f"**{accuracies[-1]}**",
            ]
        )
    return table(head, lines)


def cifar_forecast() -> str:
    """Forecast on test images 0-4,999, measured on 5,000-9,999."""
    lines = []
    for r in rows("cifar_resnet"):
        if r["method"] != METHODS[-1]:
            continue
        f, m, c = r["forecast"], r["measured"], r["counts_only"]
        counts = (
            f"{c['loss_delta']:+.3f} [{c['low']:+.3f}, {c['high']:+.3f}]"
            if c
            else r["counts_only_reason"]
        )
        lines.append(
            [
                r["net"].replace("resnet", "ResNet-"),
                r["target"].removeprefix("units="),
                f"{f['loss_delta']:+.3f} [{f['low']:+.3f}, {f['high']:+.3f}]",
                counts,
                f"{m['loss_delta']:+.3f} [{m['low']:+.3f}, {m['high']:+.3f}]",
                r["verdict"],
            ]
        )
    head = ["network", "channels kept", "forecast (nats)", "counts only", "measured", "verdict"]
    return table(head, lines)


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


def forecasts(make: Callable[[list[dict[str, Any]]], str]) -> Callable[[], str]:
    """A table of forecasts against measurements."""
    return lambda: make(rows("forecast"))


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


def overhead() -> str:
    """Cost of watching, as the median ratio to the plain forward pass of the same round."""
    lines = [
        [
            f"{r['net']}, {'512 tokens' if r['batch'] == 1 else 'batch of ' + str(r['batch'])}",
            r["way"],
            f"{r['median_ms']:.2f}",
            f"{r['ratio']:.3f} [{r['ratio_p20']:.3f}, {r['ratio_p80']:.3f}]",
            f"{100 * r['memory_above_plain']:+.1f} %",
            str(r["rounds"]),
        ]
        for r in rows("profile_overhead")
    ]
    head = ["network", "way", "ms", "ratio to plain [p20, p80]", "tensor memory", "rounds"]
    return table(head, [*lines, *_on_a_gpu()])


def speed() -> str:
    """Real speed of half the MACs: the newest row of each way."""
    found = {(r["net"], r["allocate"], r["round_to"], r["way"]): r for r in rows("speed")}
    lines = [
        [
            r["net"],
            r["allocate"] + (f", multiples of {r['round_to']}" if r["round_to"] > 1 else ""),
            r["way"].replace("_", " "),
            f"{100 * r['macs_kept']:.1f} %",
            f"{r['before_ms']:.2f} to {r['after_ms']:.2f}",
            f"{r['ratio']:.2f} [{r['ratio_p20']:.2f}, {r['ratio_p80']:.2f}]",
            f"{r['rounds']} of batch {r['batch']}",
        ]
        for r in found.values()
    ]
    head = ["network", "units kept", "run by", "MACs kept", "ms", "dense / pruned [p20, p80]"]
    return table([*head, "rounds"], lines) if lines else "not run"


def live() -> str:
    """Cost of a Profiler along a training, as the median ratio to the same steps without it."""
    lines = [
        [
            r["net"],
            r["way"],
            f"{r['step_ms']:.2f}",
            f"{r['ratio']:.3f} [{r['ratio_p20']:.3f}, {r['ratio_p80']:.3f}]",
            str(r["rounds"]),
        ]
        for r in rows("live_overhead")
    ]
    return table(["network", "passes counted", "ms a step", "ratio [p20, p80]", "rounds"], lines)


def _on_a_gpu() -> list[list[str]]:
    found = rows("profile_gpu")
    if not found:
        return [["LLaMA-7B-shaped, on a GPU", "Triton", "not run on a GPU", "-", "-", "-"]]
    return [
        [
            r.get("net") or f"{r['layout']}, {r['dtype']}, {r['gib']:.1f} GiB",
            r.get("way") or f"kernel reads {r['read_gb_s']:.0f} GB/s, of the copy's bandwidth",
            f"{r['median_ms']:.2f}" if "median_ms" in r else "-",
            f"{r['ratio']:.3f} [{r['ratio_p20']:.3f}, {r['ratio_p80']:.3f}]",
            f"{100 * r['memory_above_plain']:+.1f} %" if "memory_above_plain" in r else "-",
            str(r["rounds"]),
        ]
        for r in found
    ]


def selection_speed() -> str:
    """Seconds to order the units of one site, against the definition."""
    lines = [
        [
            f"{r['units']:,}",
            str(r["width"]),
            f"{r['outputs']:,}",
            f"{r['seconds']:.3g}",
            f"{r['naive_seconds']:.3g}" if "off" in r else "not run",
            ("same" if r["same_order"] else "other") if "off" in r else "-",
            f"{r['off']:.0e}" if "off" in r else "-",
        ]
        for r in rows("selection_speed")
    ]
    head = ["units", "columns a unit", "outputs", "seconds", "definition", "order"]
    return table([*head, "costs differ by, relative to the largest"], lines)


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


def criteria() -> str:
    """The criteria as the registry lists them."""
    lines = [[f"`{name}`", e.score, e.source, e.needs] for name, e in CATALOG.items()]
    return table(["criterion", "score", "source", "needs"], lines)


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


def real(make: Callable[[list[dict[str, Any]]], str]) -> Callable[[], str]:
    """A table of the theory on trained networks."""
    return lambda: make(rows("theory_on_real_networks"))


def run() -> str:
    """What `make prune` printed."""
    path = RESULTS / "digits-mlp-refit.txt"
    text = path.read_text().rstrip() if path.is_file() else "not run"
    return f"```\n{text}\n```"


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


def scaling(make: Callable[[list[dict[str, Any]]], str]) -> Callable[[], str]:
    """A table of the scaling study."""
    return lambda: make(rows("scaling_study"))


def peers(make: Callable[[list[dict[str, Any]]], str]) -> Callable[[], str]:
    """A table of the comparison with peers."""
    return lambda: make(rows("peers"))


TABLES: Mapping[str, Callable[[], str]] = {
    "peers": peers(rivalry.headline),
    "peers_verdicts": peers(rivalry.verdicts),
    **{name: peers(make) for name, make in rivalry.network_tables().items()},
    "criteria": criteria,
    "run": run,
    "cifar": cifar,
    "cifar_forecast": cifar_forecast,
    "heal": heal,
    "coupled": coupled,
    "language": language,
    "digits": digits,
    "digits_sentence": seeds_summary,
    "forecasts": forecasts(forecast_text.summary),
    "forecasts_by_network": forecasts(forecast_text.by_network),
    "forecasts_by_change": forecasts(forecast_text.by_change),
    "certificate": certificate,
    "exact": exact,
    "overhead": overhead,
    "live": live,
    "speed": speed,
    "crash_safety": crash_safety,
    "selection_speed": selection_speed,
    "budgets": budgets,
    "scaling_claims": scaling(claims.claim_table),
    "scaling_growth": scaling(growth.growth_table),
    "scaling_loss": scaling(loss_growth.loss_table),
    "scaling_orders": scaling(order_study.order_table),
    "scaling_labels": scaling(label_study.label_table),
    "real_claims": real(real_claims.claim_table),
    "real_laws": real(summary.laws),
    "real_tails": real(summary.tails),
    "real_forecasts": real(summary.forecasts),
    "real_verdict": real(summary.sentence),
    "real_estimators": real(summary.estimators),
    "real_certificates": real(summary.certificates),
    "real_documents": real(summary.documents),
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


def main() -> None:
    """Fill or check every file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    for path in FILES:
        if check and stale(path):
            sys.exit(f"{path.relative_to(ROOT)}: tables are not those of benchmarks/results")
        if not check:
            path.write_text(filled(path.read_text()))


if __name__ == "__main__":
    main()
