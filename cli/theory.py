"""`actprune theory`: which units are free, how sure that is, and the law of their counts."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actprune.errors import ActpruneError
from actprune.files import check_new_folder

from ._console import emit, emit_json, note, stages, table, working
from ._options import Json, ProfileFile
from ._paths import read_text

if TYPE_CHECKING:
    from actprune.profiling.result import Profile
    from actprune.theory.allowance import Probed

REPLICATES = 99  # of a bootstrap


def theory(
    profile: ProfileFile,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="DIR", help="Also write theory.json and theory.html there."
        ),
    ] = None,
    site: Annotated[
        str | None, typer.Option(metavar="NAME", help="Show all there is about one site.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="Count as if profiled with --rule magnitude:T, to the nearest of two thresholds "
            "an octave; needs a profile with --stats histogram.",
        ),
    ] = None,
    ahead: Annotated[
        int, typer.Option(metavar="TIMES", help="Look ahead to so many times the samples.")
    ] = 4,
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Inputs one is ready to touch, 0 to 1: what certificates and warnings go by.",
        ),
    ] = 0.01,
    goodness: Annotated[
        bool,
        typer.Option(
            "--goodness", help="Test every fit by a parametric bootstrap; seconds a site."
        ),
    ] = False,
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="plan.json",
            help="Take the counts-only forecast from this plan, made with --data, and say how many "
            "units may go at --loss.",
        ),
    ] = None,
    loss: Annotated[
        float | None,
        typer.Option(metavar="CHANGE", help="A change of the loss, with --plan.  [default: 0.01]"),
    ] = None,
    json: Json = False,
) -> None:
    """Say which units are free, whether the samples suffice, and what law the counts follow.

    Needs the profile alone: neither the model nor the data. A line below the table sums each site
    up. Nothing here is a loss, unless a plan has probed one.

    \b
    Columns: free, units that never fired, and how many the fitted law leaves of them at TIMES the
    samples, with a 95 % interval; on, units that always fired; fires, est. and at most: further
    inputs that fire a free unit, leave-one-out estimate and 95 % bound; too small, how many times
    more samples are needed; fit: poor where the law is rejected at 5 %, ? where only --goodness
    can tell; b, of the family chosen by held-out samples; alpha, of the tail, none where a power
    law is rejected; eff. units, 1 / sum of squares of the units' shares of all activity. Of a text
    samples and inputs are documents.

    \b
    Examples:
      actprune theory P.safetensors
      actprune theory P.safetensors --site fc1 --goodness
      actprune theory P.safetensors -o theory --ahead 10
      actprune theory P.safetensors --json | jq '.sites[].free'
      actprune theory P.safetensors --threshold 0.05
      actprune theory P.safetensors --plan plan.json --loss 0.02
    """
    if out is not None:
        check_new_folder(out)
    if ahead < 1 or not 0 < tolerance < 1:
        raise ActpruneError(
            f"--ahead needs a whole number from 1 on and --tolerance a share between 0 and 1, "
            f"got {ahead} and {tolerance:g}."
        )
    if loss is not None and (plan is None or loss <= 0):
        raise ActpruneError(f"--loss {loss:g}: needs --plan, and a change above 0.")

    from actprune.files import write_atomically
    from actprune.profiling.store import load_profile
    from actprune.reporting import theory_text
    from actprune.theory.account import account_of
    from actprune.theory.account_document import document
    from actprune.theory.wording import reworded

    seen = load_profile(profile)
    names = [s.site.name for s in seen.sites]
    if site is not None and site not in names:
        raise ActpruneError(f"--site {site}: the profile has {', '.join(names) or 'no site'}.")
    counted = seen.identity.counted
    probed = None if plan is None else _probed(plan, seen)
    read = seen
    if threshold is not None:
        from actprune.profiling.thresholds import relative_thresholds, rethresholded

        taken = relative_thresholds(seen, threshold)
        for name, t in taken.items():
            note(f"{name}: active where |a| > {t:.4g}")
        read = rethresholded(seen, taken)
    with working(), stages("fitting") as stage:
        found = account_of(
            read,
            times=ahead,
            tolerance=tolerance,
            goodness=REPLICATES if goodness else 0,
            **({} if probed is None else {"probed": probed, "loss": loss or 0.01}),
            progress=lambda name: stage(f"bootstrap of {name}"),
        )
    data = document(found, counted) if json or out is not None else {}
    if data:
        data["profile"] = _about(seen)
    if out is not None:
        from actprune.reporting.theory_page import render

        out.mkdir(parents=True, exist_ok=True)
        text = jsonlib.dumps(data, indent=1, allow_nan=False)
        write_atomically(out / "theory.json", text)
        write_atomically(out / "theory.html", render(found, seen))
    if json:
        emit_json(data)
        return
    if site is not None:
        emit(theory_text.page(found.sites[names.index(site)], found, counted))
        return
    emit(table(theory_text.head(found), [theory_text.row(s) for s in found.sites]))
    emit("")
    for each in found.sites:
        emit(f"{each.name}: {reworded(each.verdict, counted)}")
    emit(f"\n{reworded(found.verdict, counted)}")
    for ended in (s.until for s in seen.shards if s.until is not None):
        emit(str(ended))
        if ended.met:
            emit(theory_text.FIXED_SIZE)


def _about(seen: Profile) -> dict[str, object]:
    """What the document says of the profile it was made from."""
    return {
        "identity": seen.identity.model_dump(mode="json"),
        "samples": seen.samples,
        "until": [s.until.model_dump() for s in seen.shards if s.until is not None],
    }


def _probed(path: Path, seen: Profile) -> Probed | str:
    """The counts-only law of the loss from a plan, or why it has none.

    Raises:
        ActpruneError: if the plan is of another model.
    """
    from actprune.planning.result import Plan
    from actprune.reporting.numbers import unit_of
    from actprune.theory.allowance import Probed

    plan = Plan.from_json(read_text(path, "plan; make one with `actprune plan`"), str(path))
    if plan.model.hash != seen.identity.model_hash:
        raise ActpruneError(f"--plan {path}: it is a plan for another model than the profile's.")
    found = plan.counts_only
    if found is None:
        return plan.counts_only_reason or f"{path} has no counts-only forecast"
    if found.share == 0:
        return "the plan removes no activation, so nothing was probed; plan a larger cut"
    unit = unit_of(plan.loss_kind)
    return Probed(kappa=found.kappa, gamma=found.gamma, share=found.share, unit=unit)
