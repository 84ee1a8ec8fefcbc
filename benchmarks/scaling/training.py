"""Train one net, watched along the way, and look at it now and then.

Shapes: n samples, N units of a hidden layer, V windows of the training.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import actprune
from actprune.profiling.live.windows import Windows
from benchmarks.scaling.counting import fired
from benchmarks.scaling.grid import Run
from benchmarks.scaling.images import Images

BATCH = 100
WINDOW = 5  # steps a window of the counts along the training
LOOKS = (5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)  # steps at which a net is looked at


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A net at its end, its counts along the way, and how it did."""

    net: nn.Sequential
    x: Tensor  # its training images, in random order
    y: Tensor
    windows: Windows
    steps: int
    reached: bool  # the goal, before the cap
    train_loss: float  # mean of the last steps
    looks: list[dict[str, Any]]  # at step 0, at LOOKS and at the end
    untrained: list[np.ndarray]  # a layer: counts (N,) over the other images at step 0


def new_net(run: Run) -> nn.Sequential:
    """784 - width - ... - 10 with ReLU, PyTorch's initialization by the run's seed."""
    torch.manual_seed(run.seed)
    widths = [784, *[run.width] * run.layers]
    parts: list[nn.Module] = []
    for before, after in pairwise(widths):
        linear = nn.Linear(before, after)
        if run.bias is not None:
            nn.init.constant_(linear.bias, run.bias)
        parts += [linear, nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(widths[-1], 10))


def training_set(run: Run, images: Images) -> tuple[Tensor, Tensor]:
    """The run's images and labels; of one seed, the smaller sets lie in the larger ones."""
    drawn = run.seed if run.subset is None else run.subset
    chosen = np.random.default_rng([1, drawn]).permutation(len(images.x))[: run.samples]
    x, y = images.x[chosen], images.y[chosen].clone()
    if run.noise:
        rng = np.random.default_rng([2, run.seed])
        replaced = torch.from_numpy(rng.random(len(y)) < run.noise)
        y[replaced] = torch.from_numpy(rng.integers(0, 10, len(y)))[replaced]
    return x, y


def train(run: Run, images: Images) -> Trained:
    """Adam at 1e-3 on batches of 100 until the goal or the cap."""
    net, (x, y) = new_net(run), training_set(run, images)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    untrained = fired(net, images.other_x)
    looks = [_look(net, images, 0, None)]
    recent: deque[float] = deque(maxlen=max(5, min(50, run.samples // BATCH)))
    step, reached = 0, False
    penalized: list[Tensor] = []  # activity of a sample in the pass under way
    if run.penalty:
        net[1].register_forward_hook(
            lambda _, __, h: penalized.append(h.sum(1).mean()) if net.training else None
        )
    with actprune.Profiler(net, example=x[:2], window=WINDOW, training=True) as watched:
        for batch in _batches(run):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x[batch]), y[batch])
            (loss + run.penalty * penalized.pop() if run.penalty else loss).backward()
            optimizer.step()
            step += 1
            recent.append(loss.item())
            mean = sum(recent) / len(recent)
            full = len(recent) == recent.maxlen
            reached = run.goal is not None and full and step % WINDOW == 0 and mean < run.goal
            done = reached or step == run.cap
            if done or step in LOOKS:
                looks.append(_look(net, images, step, mean))
            if done:
                break
    return Trained(
        net=net,
        x=x,
        y=y,
        windows=watched.windows,
        steps=step,
        reached=reached,
        train_loss=sum(recent) / len(recent),
        looks=looks,
        untrained=untrained,
    )


def _batches(run: Run) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(1_000 * run.seed + run.order)
    while True:
        yield from torch.randperm(run.samples, generator=generator).split(BATCH)


def _look(
    net: nn.Sequential, images: Images, step: int, train_loss: float | None
) -> dict[str, Any]:
    """Losses on both halves of the other images, and how many units work there."""
    net.eval()
    counts = [torch.zeros(0)] * (len(net) // 2)
    with torch.no_grad():
        h = images.other_x
        for i, part in enumerate(net):
            h = part(h)
            if isinstance(part, nn.ReLU):
                counts[i // 2] = (h > 0).sum(0)
    net.train()
    half = len(h) // 2
    chosen, judged = (
        nn.functional.cross_entropy(h[part], images.other_y[part]).item()
        for part in (slice(half), slice(half, None))
    )
    right = (h[half:].argmax(1) == images.other_y[half:]).double().mean().item()
    return {
        "step": step,
        "train_loss": train_loss,
        "choosing_loss": chosen,
        "test_loss": judged,
        "test_accuracy": right,
        "working": [int((n > 0).sum()) for n in counts],
        "active": [float(n.sum()) / len(h) for n in counts],  # units a sample
    }
