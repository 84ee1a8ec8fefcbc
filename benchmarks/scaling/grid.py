"""Which nets are trained: five arms, each asking something else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Arm = Literal["plain", "two", "sparse", "sparser", "labels", "orders", "orders sparse"]

# A sparse arm starts with 4 % of its units active and pays for activity, so that few stay active:
# there c << N, as the published form of the law needs it. Chosen by c/N alone (7 % of 512 units).
SPARSE_BIAS = -1.0  # of the hidden units at the start
SPARSE_PENALTY = 1e-3  # nats per unit of activation of a sample, summed over its hidden units
SPARSER_PENALTY = 1e-2  # of one more arm, whose bN/c lies an order of magnitude higher


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One net: what it is, what it is trained on and when it stops."""

    arm: Arm
    width: int
    layers: int  # hidden ones, all of this width
    samples: int  # D, images to train on
    seed: int  # of the initialization and, unless `subset` is another, of the images drawn
    order: int = 0  # seed of the order of the batches
    subset: int | None = None  # draws the images instead of `seed`
    noise: float = 0.0  # share of the labels that are replaced by random ones
    cap: int = 2_000  # steps of 100 images at most
    goal: float | None = 0.01  # stop when the mean loss of the last steps is below

    @property
    def bias(self) -> float | None:
        """Of the hidden units at the start; None: PyTorch's."""
        return SPARSE_BIAS if "sparse" in self.arm else None

    @property
    def penalty(self) -> float:
        """On the activations of the hidden units, in nats."""
        if self.arm == "sparser":
            return SPARSER_PENALTY
        return SPARSE_PENALTY if "sparse" in self.arm else 0.0

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells this run from all others, in the order of `names`."""
        return tuple(asdict(self).values())

    @property
    def names(self) -> tuple[str, ...]:
        """The fields of `key`."""
        return tuple(asdict(self))


FEW = (1, 3, 10, 30)  # about bN/c, where the theory expects a crossover
DATA = (100, 300, 1_000, 3_000, 10_000, 30_000, 60_000)


def full() -> Iterator[Run]:
    """All runs of the study, the widest last; three seeds where a run is short."""
    for seed in range(3):
        yield from _narrow(seed, DATA)
        yield from _orders(seed, range(3), (101, 102), width=512, samples=10_000, cap=1_000)
        for noise in (0.0, 0.5, 1.0):
            yield from _labels(seed, noise, ((512, 1), (256, 4)), samples=1_000, cap=1_500)
    for seed in range(3):
        yield from _narrow(seed, FEW)
    for samples in (*FEW, *DATA):
        yield Run(arm="plain", width=2_048, layers=1, samples=samples, seed=0)
    for seed in range(2):
        for samples in (*FEW, *DATA):
            yield Run(arm="sparser", width=512, layers=1, samples=samples, seed=seed)
    for samples in (*FEW, *DATA[::2]):
        yield Run(arm="sparse", width=2_048, layers=1, samples=samples, seed=0)
    for samples in (*FEW, *DATA[::2]):
        yield Run(arm="plain", width=4_096, layers=1, samples=samples, seed=0)


def _narrow(seed: int, sizes: Iterable[int]) -> Iterator[Run]:
    """The three main arms at the widths that train in seconds, by training size."""
    for samples in sizes:
        for width in (32, 128, 512):
            yield Run(arm="plain", width=width, layers=1, samples=samples, seed=seed)
        for width in (128, 512):
            yield Run(arm="sparse", width=width, layers=1, samples=samples, seed=seed)
        for width in (32, 128, 512) if seed < 2 else ():
            yield Run(arm="two", width=width, layers=2, samples=samples, seed=seed)


def _orders(
    seed: int, orders: Iterable[int], subsets: Iterable[int], *, width: int, samples: int, cap: int
) -> Iterator[Run]:
    """One initialization, the same images in several orders, and other images."""
    base = Run(arm="orders", width=width, layers=1, samples=samples, seed=seed, cap=cap)
    for order in orders:
        yield replace(base, order=order)
        yield replace(base, arm="orders sparse", order=order)
    for subset in subsets:
        yield replace(base, subset=subset)


def _labels(
    seed: int, noise: float, shapes: Iterable[tuple[int, int]], *, samples: int, cap: int
) -> Iterator[Run]:
    """Nets that all train for `cap` steps, whatever their loss: only the labels differ."""
    for width, layers in shapes:
        yield Run(
            arm="labels",
            width=width,
            layers=layers,
            samples=samples,
            seed=seed,
            noise=noise,
            cap=cap,
            goal=None,
        )


def quick() -> Iterator[Run]:
    """The same arms in a few seconds, on few images: a test of the code and no evidence."""
    for samples in (100, 300, 1_000, 2_000):
        for width in (16, 48):
            yield Run(arm="plain", width=width, layers=1, samples=samples, seed=0, cap=40)
            yield Run(arm="sparse", width=width, layers=1, samples=samples, seed=0, cap=40)
        yield Run(arm="sparser", width=16, layers=1, samples=samples, seed=0, cap=40)
        yield Run(arm="two", width=32, layers=2, samples=samples, seed=0, cap=40)
    for seed in (0, 1):
        yield from _orders(seed, range(2), (101,), width=32, samples=1_000, cap=20)
        for noise in (0.0, 0.5, 1.0):
            yield from _labels(seed, noise, ((48, 1), (32, 4)), samples=300, cap=40)
