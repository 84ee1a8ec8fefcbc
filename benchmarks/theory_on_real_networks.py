"""Does the theory hold on trained networks? Laws, tails, forecasts of K and certificates.

    python -m benchmarks.theory_on_real_networks [--only NET ...] [--quick] [--figures]

Rows go to benchmarks/results/theory_on_real_networks.jsonl, one a site and rule; those that are
there already are not made again, so a run that was stopped goes on. Remove the file to begin anew.
At the end the figures are drawn from the rows, into docs/figures/. With --figures nothing else is
done; --quick looks at a small part of the digits network, and writes nothing.

MNIST, CIFAR-10, the small LLaMA and the texts are read from the folder ACTPRUNE_ASSETS; MiniLM and
SmolLM2 need `actprune zoo fetch`. What is missing is left out, and named.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import torch

from actprune.errors import ActpruneError
from benchmarks.harness import ROOT, append, rows
from benchmarks.real_networks.certify import by_document, coverage, plans
from benchmarks.real_networks.figures import figures
from benchmarks.real_networks.growth import Settings, cases, curve, shuffled, sizes
from benchmarks.real_networks.judge import verdict
from benchmarks.real_networks.laws import law, tail
from benchmarks.real_networks.networks import NETWORKS, digits_mlp
from benchmarks.real_networks.record import Recorded, Recording

NAME = "theory_on_real_networks"
CALIBRATION = 1_000  # samples, at most, of a usual calibration set: laws are fitted to so many
FIGURES = ROOT / "docs" / "figures"

Key = tuple[str, str, str, str]  # kind, net, site, rule


def key(row: dict[str, Any]) -> Key:
    """What a row is about."""
    return row["kind"], row["net"], row["site"], row["rule"]


def run(
    recording: Recording, settings: Settings, done: Collection[Key] = frozenset()
) -> Iterator[dict[str, Any]]:
    """All rows of one network but those that are done."""
    about = {"net": recording.net, "data": recording.data, "T": recording.T}
    bootstrapped = {recording.sites[i].name for i in (0, len(recording.sites) // 2, -1)}
    for site in recording.sites:
        for rule, threshold in site.rules.items():
            head = {"kind": "site", **about, "site": site.name, "rule": rule}
            if key(head) in done:
                continue
            start = time.perf_counter()
            fires = site.fires(rule)
            replicates = settings.replicates if site.name in bootstrapped else 0
            laws = [law(fires[:CALIBRATION], replicates=replicates)]
            if recording.T > 2 * CALIBRATION:
                laws.append(law(fires, replicates=0))
            tails = tail(
                fires[:CALIBRATION], laws[0]["family"], replicates=2 * settings.replicates + 1
            )
            found = cases(fires, draws=settings.draws, seed=seed_of(head))
            yield {
                **head,
                "units": fires.shape[1],
                "threshold": threshold,
                "laws": laws,
                "tail": tails,
                "cases": found,
                "seconds": round(time.perf_counter() - start, 2),
            }
    for site in recording.sites:
        for rule in site.rules:
            head = {"kind": "control", **about, "site": site.name, "rule": rule}
            if key(head) not in done:
                fires = shuffled(site.fires(rule), seed=seed_of(head))
                found = cases(fires, draws=1, seed=seed_of(head))
                yield {**head, "units": fires.shape[1], "cases": found}
    head = {"kind": "curve", **about, "site": "", "rule": ""}
    if key(head) not in done:
        site, rule, D = fastest(recording)
        yield {**head, "of": site.name, "under": rule, **curve(site.fires(rule), D, seed=0)}
    for plan, (rule, fires) in plans(recording).items():
        head = {"kind": "certificate", **about, "site": plan, "rule": rule}
        if key(head) not in done:
            yield {**head, **coverage(fires, splits=settings.splits, seed=0)}
        head = {**head, "kind": "documents"}
        if recording.documents is not None and key(head) not in done:
            pieces = by_document(fires, recording.documents, splits=settings.splits, seed=0)
            yield {**head, **pieces}


def fastest(recording: Recording) -> tuple[Recorded, str, int]:
    """Site, rule and D >= 30 with the greatest growth of K from D to 10 D, as a share of N."""
    found = []
    for site in recording.sites:
        for rule in site.rules:
            fires = site.fires(rule)
            for D in sizes(recording.T):
                if D >= 30:
                    grown = fires[: 10 * D].any(0).mean() - fires[:D].any(0).mean()
                    found.append((float(grown), D, site.name, rule, site))
    _, D, _, rule, site = max(found, key=lambda f: f[:4])
    return site, rule, D


def seed_of(row: dict[str, Any]) -> int:
    """Of the orders in which the samples of one site are read."""
    return zlib.crc32(f"{row['net']} {row['site']} {row['rule']}".encode())


def draw() -> None:
    """Write the figures."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    for name, content in figures(rows(NAME)).items():
        (FIGURES / f"{name}.svg").write_text(content)


def main() -> None:
    """Make what is missing, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=sorted(NETWORKS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--figures", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.figures:
        draw()
        return
    if args.quick:
        whole = digits_mlp()
        part = replace(whole, sites=whole.sites[-1:])
        found = list(run(part, Settings(draws=1, replicates=9, splits=50)))
        print(verdict(found, chosen_on=("digits-mlp",), reported_on=("digits-mlp",)))
        return
    for net in args.only or NETWORKS:
        done = {key(r) for r in rows(NAME)}
        if ("end", net, "", "") in done:
            continue
        start = time.perf_counter()
        try:
            recording = NETWORKS[net]()
        except (FileNotFoundError, ActpruneError, ImportError) as e:
            print(f"{net} is left out: {e}")
            continue
        seconds = time.perf_counter() - start
        for row in run(recording, Settings(), done):
            append(NAME, {"benchmark": NAME, **row})
            print(f"{time.perf_counter() - start:7.1f} s", *key(row), flush=True)
        end = {"kind": "end", "net": net, "site": "", "rule": "", "record_seconds": seconds}
        append(NAME, {"benchmark": NAME, **end})
    draw()
    print(verdict(rows(NAME)))


if __name__ == "__main__":
    main()
