"""How long does it take to order the units of one site by backward elimination?

Run as `python -m benchmarks.selection_speed`; rows go to results/selection_speed.jsonl. Against the
definition (`refit.eliminate_naive`) where that takes less than a minute: the time of both, and how
far apart their orders and costs are. The data are drawn; time depends on the shapes alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from actprune.refit import eliminate_naive
from actprune.refit.eliminate import RIDGE, eliminate
from benchmarks.harness import append, begin

# units, columns a unit, outputs; the last three are the sites of the CIFAR ResNets
SHAPES = (
    (1024, 1, 1024),
    (2048, 1, 2048),
    (4096, 1, 1024),
    (4096, 1, 4096),
    (256, 9, 256),
    (64, 9, 64),
    (32, 9, 32),
    (16, 9, 16),
)
NAIVE = 2400  # columns up to which the definition is timed too
ROUNDS = 5  # of shapes that take less than a second


def draw(units: int, width: int, outputs: int) -> tuple[Tensor, Tensor]:
    """A covariance of columns of unlike sizes, neighbours alike, and a weight."""
    gen = torch.Generator().manual_seed(0)
    p = units * width
    x = torch.randn(2 * p, p, generator=gen, dtype=torch.float64)
    x[:, 1:] += 0.5 * x[:, :-1]
    x *= torch.rand(p, generator=gen, dtype=torch.float64)
    x -= x.mean(0)
    weight = torch.randn(outputs, p, generator=gen, dtype=torch.float64)
    return x.T @ x / len(x), weight


def timed(run: Callable[[], tuple[Tensor, Tensor]]) -> tuple[float, Tensor, Tensor]:
    """Median seconds and the answer, over `ROUNDS` runs or one long one."""
    seconds: list[float] = []
    while True:
        start = time.perf_counter()
        order, costs = run()
        seconds.append(time.perf_counter() - start)
        if seconds[0] > 1 or len(seconds) == ROUNDS:
            return median(seconds), order, costs


def main() -> None:
    """Time every shape, print and write."""
    begin("selection_speed")
    eliminate(*draw(64, 1, 8), 64)  # the libraries load
    for units, width, outputs in SHAPES:
        cov, weight = draw(units, width, outputs)
        fast, order, costs = timed(lambda c=cov, w=weight, n=units: eliminate(c, w, n))
        row = {"units": units, "width": width, "outputs": outputs, "seconds": fast}
        if units * width <= NAIVE:
            naive, expected, exact = timed(
                lambda c=cov, w=weight, n=units: eliminate_naive.eliminate(c, w, n, strength=RIDGE)
            )
            off = ((costs - exact).abs().max() / exact.max()).item()
            row |= {"naive_seconds": naive, "same_order": torch.equal(order, expected), "off": off}
        append("selection_speed", {"benchmark": "selection_speed", **row, "seed": 0})
        print(row)


if __name__ == "__main__":
    main()
