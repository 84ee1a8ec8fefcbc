"""ResNet-20 with 30 % of its inner channels, healed: what the refit and a short training win back.

    python -m benchmarks.heal [--steps 300] [--batch 128] [--device cpu]

The cut keeps 30 % of the channels inside every block (`units=30%`, 2,048 training images, the same
share at each site). Healing starts from the refitted and from the uncompensated cut, with the fit
part of the same 2,048 images, and with that of 10,000 mirrored and shifted ones; the select part of
either decides when to stop. Accuracy is on all 10,000 test images, which nothing else reads. Rows
go to benchmarks/results/heal.jsonl. With `--device cuda` the models and the images are on the GPU,
and half precision is used; that has not been run.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

import actprune
from actprune.data.batch import Batch
from actprune.data.source import Arrays
from benchmarks import cifar
from benchmarks.harness import append, rows
from benchmarks.score import score

PLAIN = actprune.Compensation(kind="none")
NET, TARGET, SHIFT = "resnet20", "units=30%", 4
CALIBRATION, MANY = 2_048, 10_000
WAYS = ((CALIBRATION, False), (MANY, True))  # images, whether they are mirrored and shifted


def mirrored_and_shifted(batch: Batch) -> Batch:
    """Each image mirrored or not, and moved by up to 4 pixels over zeros, as is usual for CIFAR."""
    (x,) = batch.args
    flip = torch.rand(len(x)) < 0.5
    by = torch.randint(0, 2 * SHIFT + 1, (len(x), 2)).tolist()
    flipped = torch.where(flip.to(x.device)[:, None, None, None], x.flip(-1), x)
    wide = nn.functional.pad(flipped, (SHIFT,) * 4)
    size = x.shape[-1]
    moved: list[Tensor] = [
        image[:, dy : dy + size, dx : dx + size] for image, (dy, dx) in zip(wide, by, strict=True)
    ]
    return replace(batch, args=(torch.stack(moved),))


def cuts(device: str, seed: int) -> tuple[nn.Module, dict[str, nn.Module], actprune.Plan]:
    """The dense network, and its cut with and without the refit."""
    dense = cifar.resnet20().to(device)
    train = cifar.train(CALIBRATION, seed=seed)
    profile = actprune.profile(dense, train, seed=seed, spec=NET)
    streams = [s.site.name for s in profile.sites if s.site.kind == "residual"]
    plan = actprune.plan(dense, profile, TARGET, ignore=streams, batches=train, probes=False)
    bare = plan.model_copy(update={"compensation": PLAIN})
    return (
        dense,
        {
            "refit": actprune.prune(dense, plan, batches=train),
            "no compensation": actprune.prune(dense, bare),
        },
        plan,
    )


def main() -> None:
    """Run what is missing, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    common: dict[str, Any] = {"net": NET, "target": TARGET, **vars(asked)}
    settings = actprune.HealSettings(
        steps=asked.steps, batch=asked.batch, lr=asked.lr, every=max(1, asked.steps // 10)
    )
    dense, starts, plan = cuts(asked.device, asked.seed)
    test = cifar.test()
    before = {name: _score(model, test, asked.device) for name, model in starts.items()}
    common["dense"] = _score(dense, test, asked.device)
    done = {_key(r) for r in rows("heal")}
    for images, augmented in WAYS:
        train = cifar.train(images, seed=asked.seed)
        for start, small in starts.items():
            row = {**common, "start": start, "images": images, "augmented": augmented}
            if _key(row) in done:
                continue
            healed = actprune.heal(
                small,
                dense,
                train,
                settings=settings,
                # of more images than the plan has seen the same seed makes the same parts
                plan=plan if images == CALIBRATION else None,
                seed=asked.seed,
                augment=mirrored_and_shifted if augmented else None,
            )
            row |= {
                "before": before[start],
                "after": _score(healed.model, test, asked.device),
                "taken": healed.steps,
                "best_step": healed.best_step,
                "stopped": healed.stopped,
                "select": [[x.step, x.select] for x in healed.curve],
                "seconds": healed.seconds,
            }
            append("heal", row)
            print(
                f"{start}, {images:,} images: {row['before']['accuracy']:.4f} to "
                f"{row['after']['accuracy']:.4f} in {healed.seconds:.0f} s; {healed.reason}",
                flush=True,
            )


def _score(model: nn.Module, data: Arrays, device: str) -> dict[str, float]:
    there = Arrays(
        inputs=tuple(x.to(device) for x in data.inputs),
        labels=None if data.labels is None else data.labels.to(device),
        ids=data.ids,
        spec=data.spec,
    )
    return score(model, there)


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("net", "target", "steps", "batch", "lr", "seed", "device", "start", "images")
    return tuple(row[n] for n in names)


if __name__ == "__main__":
    main()
