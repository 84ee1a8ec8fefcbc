"""Limits of sites as the user writes them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from actprune.errors import ActpruneError


def read_limits(entries: Sequence[str]) -> dict[str, str]:
    """Read `site-pattern:COUNT-or-SHARE` entries; raises ActpruneError for another form."""
    found: dict[str, str] = {}
    for entry in entries:
        pattern, _, value = entry.rpartition(":")
        if not pattern or not re.fullmatch(r"[0-9]+|[0-9]*\.?[0-9]+%", value):
            raise ActpruneError(
                f"A limit is written SITE:COUNT or SITE:SHARE, as in fc1:8 or conv*:25%, got "
                f"{entry!r}."
            )
        if pattern in found:
            raise ActpruneError(f"{pattern!r} is limited twice; give it once.")
        found[pattern] = value
    return found
