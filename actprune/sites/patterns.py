"""Names of sites and layers, as users write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from actprune.errors import ActpruneError
from actprune.sites.site import Site


def matches(name: str, pattern: str) -> bool:
    """Shell-style (`layer1.*`), or a regular expression after `re:` that fits the whole name;
    raises ActpruneError where it is none."""
    if pattern.startswith("re:"):
        try:
            return re.fullmatch(pattern[3:], name) is not None
        except re.error as e:
            raise ActpruneError(f"{pattern!r} is not a regular expression: {e}.") from e
    return fnmatchcase(name, pattern)


def named_sites(sites: Sequence[Site], patterns: Sequence[str]) -> tuple[Site, ...]:
    """The sites that at least one of the patterns names; all of them without patterns.

    Raises:
        ActpruneError: if a pattern names no site.
    """
    for pattern in patterns:
        if not any(matches(s.name, pattern) for s in sites):
            names = ", ".join(s.name for s in sites) or "none"
            raise ActpruneError(f"{pattern!r} names no site of the model; the sites are {names}.")
    return tuple(s for s in sites if not patterns or any(matches(s.name, p) for p in patterns))
