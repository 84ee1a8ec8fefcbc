"""Profiles of given firings, with no more than the theory reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCKS = 32


@dataclass(frozen=True)
class FakeSite:
    name: str = "layer"
    kind: str = "linear"


@dataclass(frozen=True)
class FakeSiteProfile:
    site: FakeSite
    units: int
    samples: np.ndarray
    positions: np.ndarray
    samples_active: np.ndarray
    positions_active: np.ndarray
    first: np.ndarray


@dataclass(frozen=True)
class FakeProfile:
    sites: tuple[FakeSiteProfile, ...]


def profiled(
    fires: np.ndarray,
    positions: int = 1,
    blocks: int = BLOCKS,
    rows: int = BLOCKS,
    name: str = "layer",
) -> FakeSiteProfile:
    """A profile of firings (D, N), sample i in block i % blocks of `rows`; all positions or none
    fire."""
    D, N = fires.shape
    block = np.arange(D) % blocks
    active = np.zeros((rows, N), dtype=np.int64)
    np.add.at(active, block, fires)
    samples = np.bincount(block, minlength=rows)
    first = np.where(fires.any(0), fires.argmax(0) if D else -1, -1)
    return FakeSiteProfile(
        site=FakeSite(name),
        units=N,
        samples=samples,
        positions=samples * positions,
        samples_active=active,
        positions_active=active * positions,
        first=first,
    )
