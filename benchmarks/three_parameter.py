"""Would a three-parameter law of the counts, after Pitman and Yor, predict better?

Run as `python -m benchmarks.three_parameter`; rows go to results/three_parameter.jsonl. The MNIST
part reads mnist/mnist.npz below the folder named by ACTPRUNE_ASSETS, skipped where it is missing.

The law (ours): rates of N units with the density G p^(-s-1) (1-p)^(t+s-1), s < 1 the discount, t >
-s, as in the three-parameter Indian buffet of Teh & Gorur (2009), NIPS 22, beside always-on units
of weight pi1. For s > 0 the density has infinitely many units near rate 0, here all counted as
silent, so its zero class is free. For s = -b < 0 it is the zero/one-inflated beta-binomial, of
which it is a proper extension only at s >= 0. It joins the library if held-out samples prefer it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import betaln, expit
from sklearn.datasets import load_digits
from torch import nn

from actprune.theory import choose, fit_family, predictive_log_pmf
from actprune.theory.betabinomial import log_choose
from benchmarks.calibration import draw
from benchmarks.certificate import mnist_firings
from benchmarks.cifar import assets
from benchmarks.harness import append, begin

BLOCKS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Discounted:
    """A fit: b = -s > -1, rest = t + s > 0, ln G per unit, weight of always-on units."""

    b: float
    rest: float
    log_G: float
    pi1: float

    def log_seen(self, d: int) -> float:
        """ln of the expected share of units of this density that fire on d samples."""
        # 1 - (1 - p)^d = p sum_j (1 - p)^j: no difference of infinite integrals
        return self.log_G + float(np.logaddexp.reduce(betaln(self.b + 1, self.rest + np.arange(d))))

    def log_joint(
        self, k: NDArray[np.int64], d: int, j: NDArray[np.int64], e: int
    ) -> NDArray[np.float64]:
        """ln P(k on d samples, j on e others); -inf where nothing is left for the zero class."""
        some = np.maximum(k + j, 1)
        fires = self.log_G + betaln(some + self.b, d + e - some + self.rest)
        fires += log_choose(d, k) + log_choose(e, j)
        silent = 1 - self.pi1 - math.exp(self.log_seen(d + e))
        with np.errstate(divide="ignore"):
            zero = np.log(max(0.0, silent))
            full = np.log(self.pi1)
        value = np.where(k + j == 0, zero, fires)
        return np.where(k + j == d + e, np.logaddexp(value, full), value)


def fit_discounted(k: NDArray[np.int64], d: int) -> Discounted:
    """Maximum likelihood; zero class and always-on weight met through their own coordinates."""
    different, n = np.unique(k, return_counts=True)
    none = np.zeros_like(different)

    def law(theta: NDArray[np.float64]) -> Discounted:
        x = theta.clip(-12, 12)
        b, rest = math.exp(x[0]) - 1, math.exp(x[1])
        seen, pi1 = expit(x[2]), expit(x[3])
        open_law = Discounted(b=b, rest=rest, log_G=0.0, pi1=0.0)
        log_G = math.log(seen * (1 - pi1)) - open_law.log_seen(d)
        return Discounted(b=b, rest=rest, log_G=log_G, pi1=pi1)

    def loss(theta: NDArray[np.float64]) -> float:
        value = float(n @ law(theta).log_joint(different, d, none, 0))
        return -value if math.isfinite(value) else 1e12

    seen = float(np.clip((k > 0).mean(), 1e-3, 1 - 1e-3))
    at = [
        minimize(
            loss,
            np.array([start, 0.5, math.log(seen / (1 - seen)), -5.0]),
            method="Nelder-Mead",
            options={"xatol": 1e-6, "fatol": 1e-8, "maxiter": 4_000, "maxfev": 4_000},
        )
        for start in (-0.3, 0.0, 0.7)
    ]
    return law(min(at, key=lambda found: found.fun).x)


def heldout(active: NDArray[np.int64], samples: NDArray[np.int64]) -> tuple[float, list[float]]:
    """Predictive log-likelihood over both directions, as `theory.choose` scores it, and both b."""
    total, exponents = 0.0, []
    for fitted in (0, 1):
        k, d = active[fitted::2].sum(0), int(samples[fitted::2].sum())
        j, e = active[1 - fitted :: 2].sum(0), int(samples[1 - fitted :: 2].sum())
        law = fit_discounted(k, d)
        marginal = law.log_joint(k, d, np.zeros_like(k), 0)
        with np.errstate(invalid="ignore"):
            total += float((law.log_joint(k, d, j, e) - marginal).sum())
        exponents.append(law.b)
    return total, exponents


def in_blocks(fires: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Block counts of firings (D, N), sample i in block i % 32."""
    block = np.arange(len(fires)) % BLOCKS
    active = np.stack([fires[block == i].sum(0) for i in range(BLOCKS)]).astype(np.int64)
    return active, np.bincount(block, minlength=BLOCKS)


def digits_firings(seed: int) -> dict[str, NDArray[np.bool_]]:
    """Firings of both hidden layers of a 64-512-512-10 ReLU MLP trained on 1,000 digits, on all."""
    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32) / 16  # pyright: ignore[reportAttributeAccessIssue]
    y = torch.tensor(data.target)  # pyright: ignore[reportAttributeAccessIssue]
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(x)))
    x, y = x[order], y[order]
    torch.manual_seed(seed)
    first, second, last = nn.Linear(64, 512), nn.Linear(512, 512), nn.Linear(512, 10)
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
    for _ in range(40):
        for batch in torch.randperm(1_000).split(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        hidden = first(x).relu()
        return {"hidden 1": (hidden > 0).numpy(), "hidden 2": (second(hidden) > 0).numpy()}


def stable(rng: np.random.Generator, N: int, s: float, t: float) -> NDArray[np.float64]:
    """N rates from p^(-s-1) (1-p)^(t+s-1) above p = 1e-5: a truth with a discount s > 0."""
    u = np.linspace(math.log(1e-5), 0, 200_001)[:-1]
    weight = np.exp(-s * u + (t + s - 1) * np.log1p(-np.exp(u)))
    return np.exp(u[draw.weighted(rng, N, weight) - 1])


def main() -> None:
    """Every site's held-out score by both laws; a table and the rows."""
    torch.set_num_threads(1)
    seed, rng = 0, np.random.default_rng(0)
    sites: dict[str, NDArray[np.bool_]] = {}
    rates = stable(rng, 2_000, 0.4, 1.0)
    sites["simulated, discount .4"] = rng.random((1_024, 2_000), dtype=np.float32) < rates
    rates = draw.rates(rng, 600, 0.5, 4.0, pi0=0.1)
    sites["simulated, Beta rates, dead .1"] = rng.random((1_024, 600), dtype=np.float32) < rates
    for name, fires in digits_firings(seed).items():
        sites[f"digits MLP 64-512-512-10, {name}"] = fires
    archive = assets() / "mnist" / "mnist.npz"
    if archive.exists():
        layers, _ = mnist_firings(archive, seed)
        for name, fires in layers.items():
            for D in (500, 5_000, 60_000):
                sites[f"MNIST MLP 784-512-512-10, {name}, D {D}"] = fires[:D]
    else:
        print(f"MNIST is skipped: {archive.name} not found (set ACTPRUNE_ASSETS).")
    begin("three_parameter")
    print(
        f"{'site':48}{'inflated':>13}{'discounted':>13}{'gain':>9}{'error':>8}   b of both halves"
    )
    for name, fires in sites.items():
        start = time.perf_counter()
        active, samples = in_blocks(fires)
        ours = choose(active, samples).heldout["inflated"]
        score, exponents = heldout(active, samples)
        known = ours is not None and math.isfinite(score)
        gain = score - ours if known and ours is not None else None
        error = spread(active, samples) if known else None
        row = {
            "benchmark": "three_parameter", "site": name, "units": fires.shape[1], "D": len(fires),
            "inflated": ours, "discounted": score if math.isfinite(score) else None, "gain": gain,
            "gain_error": error, "b": exponents, "seed": seed,
            "seconds": round(time.perf_counter() - start, 2),
        }  # fmt: skip
        append("three_parameter", row)
        shown = f"{gain:+9.2f}{error:8.2f}" if gain is not None and error is not None else " " * 17
        print(f"{name:48}{ours or math.nan:13.1f}{score:13.1f}{shown}   {np.round(exponents, 3)}")


def spread(active: NDArray[np.int64], samples: NDArray[np.int64]) -> float:
    """Standard error of the gain: root of N times the units' variance of it, both directions."""
    gains = np.zeros(active.shape[1])
    for fitted in (0, 1):
        k, d = active[fitted::2].sum(0), int(samples[fitted::2].sum())
        j, e = active[1 - fitted :: 2].sum(0), int(samples[1 - fitted :: 2].sum())
        law, fit = fit_discounted(k, d), fit_family(k, d, "inflated")
        gains += law.log_joint(k, d, j, e) - law.log_joint(k, d, np.zeros_like(k), 0)
        gains -= predictive_log_pmf(fit, j, e, k, d)
    return float(gains.std(ddof=1) * len(gains) ** 0.5)


if __name__ == "__main__":
    main()
