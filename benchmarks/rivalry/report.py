"""The rows of the comparison in tables, sentences and a figure; partial rows are said to be so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from statistics import mean
from typing import Any

from benchmarks.harness import table
from benchmarks.rivalry.material import NETS, published
from benchmarks.rivalry.methods import METHODS

Row = Mapping[str, Any]
TARGETS = (70, 50, 30)
NAMES = {"resnet20": "ResNet-20", "resnet56": "ResNet-56"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A method at one target of one network: means over its seeds."""

    method: str
    seeds: int
    accuracy: float  # 0 to 1
    loss: float  # nats
    macs_kept: float
    params_kept: float
    images: int  # test images, over all seeds where each has others
    seconds: float | None  # over the seeds measured on a quiet machine
    peak_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All entries, and the failures by the same keys: (net, target, method)."""

    entries: Mapping[tuple[str, int, str], Entry]
    failures: Mapping[tuple[str, int, str], str]

    def best(self, net: str, target: int, *sides: str) -> Entry | None:
        """The most accurate entry of the methods on these sides; the first listed of equals."""
        found = [
            e
            for m in METHODS
            if METHODS[m].side in sides and (e := self.entries.get((net, target, m)))
        ]
        return max(found, key=lambda e: e.accuracy, default=None)


def results(rows: Iterable[Row]) -> Results:
    """Each cell's newest row that did not fail, on the most test images that a method has."""
    groups: dict[tuple[str, int, str], list[Row]] = {}
    failures: dict[tuple[str, int, str], str] = {}
    for r in rows:
        if r["method"] not in METHODS:
            continue
        cell = (r["net"], r["target"], r["method"])
        if "error" in r:
            failures[cell] = r["error"]
        else:
            groups.setdefault(cell, []).append(r)
    entries = {}
    for cell, found in groups.items():
        most = max(r["test_images"] for r in found)
        chosen = {r["seed"]: r for r in found if r["test_images"] == most}
        entries[cell] = _entry(cell, list(chosen.values()))
    return Results(
        entries=entries, failures={k: v for k, v in failures.items() if k not in entries}
    )


def _entry(cell: tuple[str, int, str], found: Sequence[Row]) -> Entry:
    net, _, method = cell
    tested = [r["tested_images"] for r in found]
    quiet = [r["seconds"] for r in found if not r["busy"]]
    return Entry(
        method=method,
        seeds=len(found),
        accuracy=mean(r["accuracy"] for r in found),
        loss=mean(r["loss"] for r in found),
        macs_kept=mean(r["macs_kept"] for r in found),
        params_kept=mean(r["params_kept"] for r in found),
        images=max(tested) if published(net) else sum(tested),
        seconds=mean(quiet) if quiet else None,
        peak_mb=mean(r["peak_mb"] for r in found),
    )


def title_of(net: str) -> str:
    """A network as tables call it."""
    return NAMES.get(net, net)


def network_table(net: str, rows: Iterable[Row]) -> str:
    """All methods on one network: accuracy in % at the three targets, the best of each bold."""
    known = results(rows)
    if not any(key[0] == net for key in (*known.entries, *known.failures)):
        return "not run"
    best = {t: known.best(net, t, "ours", "rival", "mixed") for t in TARGETS}

    def accuracy(method: str, target: int) -> str:
        e = known.entries.get((net, target, method))
        if e is None:
            return "failed" if (net, target, method) in known.failures else "not run"
        first = best[target]
        shown = f"{100 * e.accuracy:.2f}"
        return f"**{shown}**" if first and e.accuracy == first.accuracy else shown

    lines = []
    for name, method in METHODS.items():
        if not method.applies(net, 0):
            continue
        targets = (100,) if method.side == "dense" else TARGETS
        found = [e for t in targets if (e := known.entries.get((net, t, name)))]
        if not found and not any((net, t, name) in known.failures for t in targets):
            continue
        seeds = sorted({e.seeds for e in found})
        at = known.entries.get((net, 100 if method.side == "dense" else 50, name))
        shown = (
            [f"{100 * found[0].accuracy:.2f}"] * len(TARGETS)
            if method.side == "dense"
            else [accuracy(name, t) for t in TARGETS]
        )
        lines.append([method.label, *shown, "-".join(map(str, seeds)) or "0", *_costs(at)])
    head = ["method", *(f"{t} % of MACs" for t in TARGETS), "seeds"]
    head += ["loss at 50 %", "MACs kept", "parameters kept", "seconds", "peak MB"]
    failed: dict[str, list[str]] = {}  # by the start of what the tool says
    for (n, t, m), why in known.failures.items():
        if n == net:
            failed.setdefault(why.split("; ")[0], []).append(f"{METHODS[m].label} at {t} %")
    notes = [f"{', '.join(cells)}: {why}" for why, cells in failed.items()]
    return table(head, lines) + (f"\n\nFailed: {'; '.join(notes)}." if notes else "")


def _costs(entry: Entry | None) -> list[str]:
    if entry is None:
        return ["-"] * 5
    seconds = "busy" if entry.seconds is None else f"{entry.seconds:.1f}"
    return [
        f"{entry.loss:.4f}",
        f"{100 * entry.macs_kept:.1f} %",
        f"{100 * entry.params_kept:.1f} %",
        seconds,
        f"{entry.peak_mb:.0f}",
    ]


def headline(rows: Iterable[Row]) -> str:
    """Ours beside the best rival, as its authors publish it, wherever both have been run."""
    known = results(rows)
    lines = []
    for net in NETS:
        dense = known.entries.get((net, 100, "dense"))
        for target in TARGETS:
            rival, ours = known.best(net, target, "rival"), known.best(net, target, "ours")
            if not (dense and rival and ours):
                continue
            ahead = ours.accuracy >= rival.accuracy
            cells = [f"{100 * e.accuracy:.2f}" for e in (rival, ours)]
            cells[ahead] = f"**{cells[ahead]}**"
            lines.append(
                [
                    title_of(net),
                    f"{target} %",
                    f"{100 * dense.accuracy:.2f}",
                    f"{METHODS[rival.method].label}: {cells[0]}",
                    f"{METHODS[ours.method].label.removeprefix('actprune: ')}: {cells[1]}",
                    str(min(rival.seeds, ours.seeds))
                    if rival.seeds == ours.seeds
                    else f"{rival.seeds}, {ours.seeds}",
                ]
            )
    head = ["network", "MACs kept", "dense", "best rival", "actprune", "seeds"]
    return table(head, lines) if lines else "not run"


def verdicts(rows: Iterable[Row]) -> str:
    """Where ours is not first: who is, by how much, and whether the test set can tell them apart.

    The standard error is that of a difference of two independent shares. Both methods answer the
    same images, which makes the real one smaller: more than two of these are no chance, while
    within two the test set may still tell the methods apart.
    """
    known = results(rows)
    found, compared, led = [], 0, 0
    for net in NETS:
        for target in TARGETS:
            ours = known.best(net, target, "ours")
            rival = known.best(net, target, "rival")
            if not (ours and rival):
                continue
            compared += 1
            led += ours.accuracy >= rival.accuracy
            cell = f"{title_of(net)} at {target} %"
            for other, words in ((rival, "a rival"), (known.best(net, target, "mixed"), "a mix")):
                if other and other.accuracy > ours.accuracy:
                    found.append(f"- {cell}, {words} is first: {_compared(other, ours)}.")
    if not compared:
        return "not run"
    text = f"Ours is first, or level with the first, of all rivals in {led} of {compared} cells."
    return "\n".join([text, *([""] if found else []), *found])


def _compared(other: Entry, ours: Entry) -> str:
    gap = other.accuracy - ours.accuracy
    error = sqrt(sum(e.accuracy * (1 - e.accuracy) / e.images for e in (other, ours)))
    inside = "within" if gap <= 2 * error else "more than"
    return (
        f"{METHODS[other.method].label} with {100 * other.accuracy:.2f} %, "
        f"{100 * gap:.2f} points above {METHODS[ours.method].label} "
        f"({inside} two standard errors of the test set, {200 * error:.2f} points)"
    )


def network_tables() -> Mapping[str, Any]:
    """Table name to its maker from rows, a network each."""
    return {f"peers_{net.replace('-', '_')}": partial(network_table, net) for net in NETS}
