"""What a plan and a sweep start from: the sites chosen, their units ranked, the samples parted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from actprune.data.batch import Batch
from actprune.data.calibration import ALL_PARTS
from actprune.data.source import Source, as_source
from actprune.data.split import Part
from actprune.errors import ActpruneError
from actprune.exact.box import Box, read_box
from actprune.planning.allocate import Room
from actprune.planning.criteria import Criterion, Evidence
from actprune.planning.evidence import gather
from actprune.planning.forecast import Forecaster
from actprune.planning.limits import limited
from actprune.planning.lossless import lossless_rooms
from actprune.planning.result import ExactPlan
from actprune.planning.rooms import ranked_rooms
from actprune.planning.samples import calibration, elsewhere
from actprune.planning.select import check_named, chosen_sites, named_units
from actprune.profiling.result import Profile
from actprune.refit.settings import Compensation
from actprune.running.hashing import model_hash
from actprune.running.wrapped import at_hand
from actprune.sites.site import Site

Data = Source | Iterable[Any]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare tensors
class Choice:
    """What the user lets go: the arguments of the same names of `plan`."""

    only: Sequence[str] = ()
    ignore: Sequence[str] = ()
    keep: Sequence[str] = ()
    drop: Sequence[str] = ()
    least: Mapping[str, int | float | str]
    most: Mapping[str, int | float | str]
    round_to: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A model at hand with its rooms, the evidence that ranked them and the samples to fit on.

    `evidence` is empty where units were chosen as lossless, and `exact` then says why they can go.
    """

    model: nn.Module
    sites: Sequence[Site]
    rooms: list[Room]
    evidence: Mapping[str, Evidence]
    settings: Compensation
    exact: ExactPlan | None
    fit_on: list[Batch]
    refit_parts: tuple[Part, ...]


def prepare(
    model: nn.Module,
    profile: Profile,
    *,
    criterion: str | Criterion,
    settings: Compensation,
    choice: Choice,
    batches: Data | None,
    parts: tuple[Part, ...],
    seed: int,
    progress: Progress,
    lossless: bool = False,
    certified: bool = True,
    box: str | Box | None = None,
) -> Prepared:
    """Take the model at hand and rank what may go.

    Args:
        parts: of the samples, to rank and refit on.
        lossless: the units that can go without loss, instead of a ranking; `certified` and `box`
            as `lossless_rooms`.

    Raises:
        ActpruneError: as `plan`.
    """
    model = at_hand(model)
    if model_hash(model) != profile.identity.model_hash:
        raise ActpruneError(
            f"The profile is of another model ({profile.identity.model}, other weights or shapes); "
            f"profile this model."
        )
    if choice.round_to < 1:
        raise ActpruneError(f"round_to must be at least 1, got {choice.round_to}.")
    sites = chosen_sites(
        [s.site for s in profile.sites], choice.only, choice.ignore, profile.refusals
    )
    stay, go = named_units(choice.keep, sites), named_units(choice.drop, sites)
    check_named(stay, go, sites)
    fit_on = calibration(profile, batches, parts)
    if box is not None and not lossless:
        raise ActpruneError("--box: serves the target lossless only; leave it out.")
    evidence: Mapping[str, Evidence] = {}
    exact = None
    if lossless:
        if go or choice.least or choice.most:
            left_out = "drop" if go else "least and most"
            raise ActpruneError(
                f"The target lossless chooses its units itself; leave out {left_out}."
            )
        found = lossless_rooms(
            model, profile, sites, stay, choice.round_to,
            box=_box(box, profile, batches, certified),
            example=fit_on[0] if fit_on else None, certified=certified,
        )  # fmt: skip
        rooms, settings, exact = found.rooms, found.settings, found.why
    else:
        evidence = gather(model, profile, sites, fit_on, seed=seed, progress=progress)
        rooms = ranked_rooms(evidence, sites, criterion, keep=stay, drop=go, step=choice.round_to)
        rooms = limited(rooms, choice.least, choice.most)
    return Prepared(
        model=model,
        sites=sites,
        rooms=rooms,
        evidence=evidence,
        settings=settings,
        exact=exact,
        fit_on=fit_on,
        refit_parts=parts,
    )


def refit_parts(check: Data | None) -> tuple[Part, ...]:
    """The parts of the samples to rank and refit on: all, where the forecast has its own."""
    return tuple(ALL_PARTS) if check is not None else (Part.FIT, Part.SELECT)


def forecaster_of(
    ready: Prepared,
    profile: Profile,
    batches: Data | None,
    check: Data | None,
    *,
    loss: str | None,
    level: float,
    seed: int,
    progress: Progress,
) -> Forecaster | None:
    """The forecaster of a prepared model; None without data."""
    if batches is None:
        return None
    if check is None:
        watched = calibration(profile, batches, (Part.CHECK,))
    else:
        watched = elsewhere(profile, as_source(check))
    return Forecaster(
        ready.model, profile, ready.sites, ready.settings, ready.fit_on, watched,
        loss_name=loss, level=level, seed=seed, progress=progress,
    )  # fmt: skip


def _box(
    box: str | Box | None, profile: Profile, batches: Data | None, certified: bool
) -> Box | None:
    """The box that was named; raises ActpruneError where a proof needs data and there are none."""
    if batches is None and (box is not None or not certified):
        raise ActpruneError("A proof follows the model on its inputs; give the calibration data.")
    if not isinstance(box, str):
        return box
    return read_box(box, calibration(profile, batches, ALL_PARTS))
