"""A language model's gated MLPs cut: nats a token on stories that nothing else has read.

    python -m benchmarks.language [--seeds 0 1 2] [--cuts units=80% units=70% units=50%]

The LLaMA of benchmarks/stories.py (5 layers, 172 SwiGLU units each). A sample is a document: the
first tokens of one story, so that no two samples share one. A seed decides which stories are for
calibration and which for the test; all methods of one seed read the same. Only the MLPs are cut.
Rows go to benchmarks/results/language.jsonl as they come; what is there is not run again.
"""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

import actprune
from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.loading.documents import documents_of
from actprune.planning.result import Allocation
from actprune.running.evaluate import loss_for
from actprune.running.loss import Loss
from actprune.running.scores import scored
from actprune.verifying.bootstrap import bootstrap_mean
from benchmarks import stories
from benchmarks.forecasting.judge import covers
from benchmarks.harness import append, rows

OPENING = re.compile(r"Once\b|One day, an? ")  # of a story; its other paragraphs start otherwise
TOKENS = 256  # predicted of each story
CALIBRATION = 100  # stories; the others that are long enough are the test
CUTS = ("units=80%", "units=70%", "units=50%")
LEVEL = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A criterion with its compensation and its allocation."""

    criterion: str
    compensate: Literal["none", "mean", "refit"]
    allocate: Allocation = "uniform"


METHODS = {
    "residual + refit, global": Method(criterion="residual", compensate="refit", allocate="global"),
    "residual + refit": Method(criterion="residual", compensate="refit"),
    "random + refit": Method(criterion="random", compensate="refit"),
    "fluctuation + mean (FLAP)": Method(criterion="fluctuation", compensate="mean"),
    "wanda": Method(criterion="wanda", compensate="none"),
    "magnitude": Method(criterion="magnitude", compensate="none"),
    "random": Method(criterion="random", compensate="none"),
}


def documents() -> torch.Tensor:
    """The first TOKENS + 1 tokens of every story that has as many, int64 [stories, TOKENS + 1]."""
    path = stories.assets() / "stories260k" / "tinystories_196k.txt"
    if not path.is_file():
        raise ActpruneError(f"{path}: no such file; set ACTPRUNE_ASSETS to the folder of assets.")
    told: list[list[str]] = []
    for paragraph in documents_of(path.read_text(), "blank")[0]:
        if OPENING.match(paragraph) or not told:
            told.append([])
        told[-1].append(paragraph)
    ids = stories.tokens()(["\n\n".join(story) for story in told])
    return torch.tensor([x[: TOKENS + 1] for x in ids if len(x) > TOKENS])


def parted(seed: int) -> tuple[Arrays, Arrays]:
    """Calibration and test stories, whose labels are the next tokens."""
    found = documents()
    found = found[torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))]
    return tuple(
        Arrays.of(x[:, :-1], labels=x[:, 1:], spec=f"tinystories {name}@{seed}")
        for name, x in (("calibration", found[:CALIBRATION]), ("test", found[CALIBRATION:]))
    )  # pyright: ignore[reportReturnType]


def measure(
    model: nn.Module, profile: actprune.Profile, cut: str, method: Method, calibration: Arrays,
    test: Arrays, dense: np.ndarray, loss: Loss,
) -> dict[str, Any]:  # fmt: skip
    """Plan with a forecast, cut, and measure on the test stories."""
    start = time.perf_counter()
    plan = actprune.plan(
        model, profile, cut, criterion=method.criterion, allocate=method.allocate,
        compensation=actprune.Compensation(kind=method.compensate), batches=calibration,
        level=LEVEL, probes=False,
    )  # fmt: skip
    small = actprune.prune(model, plan, batches=calibration)
    seconds = time.perf_counter() - start
    change = scored(small, test.batches(), loss).losses - dense
    low, high = bootstrap_mean(change, level=LEVEL, seed=0)
    point = float(change.mean())
    measured = {
        "loss_delta": point,
        "low": low,
        "high": high,
        "level": LEVEL,
        "samples": len(change),
    }
    assert plan.forecast is not None
    assert plan.local is not None
    return {
        "kept": [len(p.kept) for p in plan.sites],
        "params_kept": plan.after.params / plan.before.params,
        "macs_kept": plan.after.macs / plan.before.macs,
        "dense_loss": float(dense.mean()),
        "loss": float(dense.mean()) + point,
        "measured": measured,
        "forecast": plan.forecast.model_dump(),
        "local": plan.local.model_dump(),
        "covered": covers(plan.forecast.model_dump(), measured),
        "seconds": seconds,
    }


def main() -> None:
    """Run what is missing, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--cuts", nargs="+", default=list(CUTS))
    asked = parser.parse_args()
    done = {(r["cut"], r["method"], r["seed"]) for r in rows("language")}
    for seed in asked.seeds:
        left = [
            (cut, name) for cut in asked.cuts for name in METHODS if (cut, name, seed) not in done
        ]
        if not left:
            continue
        model = stories.model()
        calibration, test = parted(seed)
        profile = actprune.profile(
            model, calibration, leave_out=False, seed=seed, spec="stories260k"
        )
        loss = loss_for(model, list(test.batches()), None)
        dense = scored(model, test.batches(), loss).losses
        for cut, name in left:
            found = measure(model, profile, cut, METHODS[name], calibration, test, dense, loss)
            named = {"net": "stories260k", "cut": cut, "method": name, "seed": seed}
            append("language", {**named, "calibration": CALIBRATION, "tokens": TOKENS, **found})
            f, m = found["forecast"], found["measured"]
            print(
                f"{cut} {name} seed {seed}: forecast {f['loss_delta']:+.4f} "
                f"[{f['low']:+.4f}, {f['high']:+.4f}], measured {m['loss_delta']:+.4f} "
                f"[{m['low']:+.4f}, {m['high']:+.4f}], loss {found['dense_loss']:.4f} -> "
                f"{found['loss']:.4f}, {found['seconds']:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
