"""Which statistics a profile takes, as its identity names them; profiles that add up agree."""

from __future__ import annotations

from actprune.profiling.counting.stratify import Strata, strata_by
from actprune.profiling.gram.settings import GramSettings, gram_settings

ALWAYS = ("counts", "moments")


def statistics(
    gram: bool | GramSettings = False, histogram: bool = False, strata: Strata | None = None
) -> tuple[str, ...]:
    """The names of what is taken.

    Raises:
        ActpruneError: if `strata` is no way to name them.
    """
    settings, named = gram_settings(gram), strata_by(strata)
    return (
        *ALWAYS,
        *(() if settings is None else (settings.name,)),
        *(("histogram",) if histogram else ()),
        *(() if named is None else (f"strata by {named.name}",)),
    )
