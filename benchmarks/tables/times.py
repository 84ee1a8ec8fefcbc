"""What watching and choosing cost, and what a cut gains, in seconds."""

from __future__ import annotations

from benchmarks.harness import rows, table


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


def whole_way() -> str:
    """Seconds from a model to a smaller one: the newest row of each network and way."""
    found = {(r["net"], r["allocate"]): r for r in rows("whole_way")}
    lines = [
        [
            r["net"].replace("resnet", "ResNet-"),
            r["allocate"],
            f"{100 * r['macs_kept']:.1f} %",
            f"{r['profile_s']:.0f}",
            f"{r['plan_s']:.0f}",
            f"{r['prune_s']:.2f}",
            f"{r['profile_s'] + r['plan_s'] + r['prune_s']:.0f}",
            f"{100 * r['accuracy']:.2f}",
        ]
        for r in found.values()
    ]
    head = ["network", "units kept", "MACs kept", "profile", "plan", "prune", "in all", "accuracy"]
    return table(head, lines) if lines else "not run"


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
