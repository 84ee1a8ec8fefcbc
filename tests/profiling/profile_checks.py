"""What two profiles have in common."""

from __future__ import annotations

import numpy as np

from actprune.profiling.result import Profile

ADDITIVE = ("samples", "positions", "samples_active", "positions_active", "total", "square")
ARRAYS = (*ADDITIVE, "low", "high", "gram")


def assert_same_counts(a: Profile, b: Profile, *, first: bool = True) -> None:
    """Every statistic is the same, bit by bit; the first firing ids too, if wanted.

    These ids carry the data set's mark, so those of shards differ from those of the whole.
    """
    assert [s.site for s in a.sites] == [s.site for s in b.sites]
    assert [s.rule for s in a.sites] == [s.rule for s in b.sites]
    for x, y in zip(a.sites, b.sites, strict=True):
        for name in (*ARRAYS, *(("first",) if first else ())):
            p, q = getattr(x, name), getattr(y, name)
            if p is None or q is None:
                assert p is q, name
            else:
                assert p.dtype == q.dtype, name
                np.testing.assert_array_equal(p, q, err_msg=f"{x.site.name}.{name}")
