"""What two profiles have in common."""

from __future__ import annotations

import numpy as np

from actprune.profiling.result import Profile, SiteProfile

ADDITIVE = ("samples", "positions", "samples_active", "positions_active", "total", "square")
OPTIONAL = ("gram", "gram_drawn", "histogram_positions", "histogram_samples")
ARRAYS = (*ADDITIVE, "low", "high", *OPTIONAL)


def assert_same_counts(a: Profile, b: Profile, *, first: bool = True) -> None:
    """Every statistic is the same, bit by bit, also of each stratum; the first firing ids too, if
    wanted.

    These ids carry the data set's mark, so those of shards differ from those of the whole.
    """
    assert [s.name for s in a.strata] == [s.name for s in b.strata]
    _assert_same_sites(a.sites, b.sites, first=first)
    for p, q in zip(a.strata, b.strata, strict=True):
        _assert_same_sites(p.sites, q.sites, first=first)


def _assert_same_sites(
    a: tuple[SiteProfile, ...], b: tuple[SiteProfile, ...], *, first: bool
) -> None:
    assert [s.site for s in a] == [s.site for s in b]
    assert [s.rule for s in a] == [s.rule for s in b]
    for x, y in zip(a, b, strict=True):
        for name in (*ARRAYS, *(("first",) if first else ())):
            p, q = getattr(x, name), getattr(y, name)
            if p is None or q is None:
                assert p is q, name
            else:
                assert p.dtype == q.dtype, name
                np.testing.assert_array_equal(p, q, err_msg=f"{x.site.name}.{name}")
