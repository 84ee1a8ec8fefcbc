"""Which samples a plan is fitted on, and which its forecast is made on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from actprune.data.batch import Batch
from actprune.data.calibration import read_again
from actprune.data.source import Source, as_source, fingerprint
from actprune.data.split import Part
from actprune.errors import ActpruneError
from actprune.planning.result import Plan
from actprune.profiling.result import Profile


def calibration(
    profile: Profile, batches: Source | Iterable[Any] | None, parts: Sequence[Part]
) -> list[Batch]:
    """The profiled samples of `parts`; none without data. Raises ActpruneError if none is there."""
    if batches is None:
        return []
    source = as_source(batches)
    read = read_again(
        source,
        origins=[(s.source, s.start, s.stop) for s in profile.shards],
        seed=profile.identity.seed,
        leave_out=profile.identity.heldout,
        parts=parts,
    )
    found = [b for b in read if len(b)]
    if not found:
        names = " and ".join(p.name.lower() for p in parts)
        raise ActpruneError(
            f"{source.spec}: no calibration sample falls into the {names} part; give more data."
        )
    return found


def elsewhere(profile: Profile, source: Source) -> list[Batch]:
    """The samples given for the forecast alone; raises ActpruneError if they were profiled."""
    found = list(source.batches())
    if not found:
        raise ActpruneError(f"{source.spec}: no sample to forecast on; give data for the check.")
    if fingerprint(found[0]) in {s.source for s in profile.shards}:
        raise ActpruneError(
            f"{source.spec}: these are the calibration data; a forecast needs other samples. "
            f"Without `check` a part of the calibration data is kept for it."
        )
    return found


def refit_samples(plan: Plan, batches: Source | Iterable[Any]) -> list[Batch]:
    """The samples that the compensation of `plan` is fitted on."""
    return read_again(
        as_source(batches),
        origins=plan.data.origins,
        seed=plan.data.seed,
        leave_out=plan.data.heldout,
        parts=[Part[p.upper()] for p in plan.refit_parts],
    )
