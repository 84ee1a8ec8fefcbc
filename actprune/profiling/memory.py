"""Is there room? Asked before work starts, so that nothing is killed in the middle of it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from actprune.errors import ActpruneError


def check_room(needed: int, available: int | None, what: str, remedy: str) -> None:
    """Raise ActpruneError if `needed` bytes are more than there are; None is not known."""
    if available is not None and needed > available:
        raise ActpruneError(
            f"{what} need {needed / 1e9:.1f} GB, and {available / 1e9:.1f} GB are free; {remedy}."
        )


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be taken on `device`; None where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    told = [n for n in (_meminfo(), _left_to_cgroup()) if n is not None]
    return min(told, default=None)


def _meminfo() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _left_to_cgroup() -> int | None:
    """What a container may still take; its page cache counts as taken and can be had back."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, taken = (int((folder / f"memory.{x}").read_text()) for x in ("max", "current"))
        cache = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no limit is written "max"
        return None
    return max(0, limit - taken + int(cache.get("inactive_file", 0)))
