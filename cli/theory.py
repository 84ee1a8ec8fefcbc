"""`actprune theory`: which units are free, how sure that is, and the law of their counts."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actprune.files import check_new_folder

from ._console import emit, emit_json, note, table, working
from ._options import Json, ProfileFile

if TYPE_CHECKING:
    from actprune.theory import SiteTheory

HEAD = ("site", "units", "free", "always on", "rate", "family", "b", "M", "pi0", "pi1", "enough?")


def theory(
    profile: ProfileFile,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="DIR", help="Also write theory.json into this folder."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="Count as if profiled with --rule magnitude:T, to the nearest of two thresholds "
            "an octave; needs a profile with --stats histogram.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Say which units are free, whether the samples suffice, and what law the counts follow.

    Needs the profile alone: neither the model nor the data.

    \b
    Columns: free, units that never fired; rate, positions active per position; b and M, of the
    fitted family of count distributions; pi0 and pi1, its shares of dead and always-on units.

    \b
    Examples:
      actprune theory P.safetensors
      actprune theory P.safetensors --json | jq '.sites[].free'
      actprune theory P.safetensors --threshold 0.05
    """
    if out is not None:
        check_new_folder(out)

    from actprune.files import write_atomically
    from actprune.profiling.store import load_profile
    from actprune.theory import fit

    seen = load_profile(profile)
    if threshold is None:
        found = fit(seen)
    else:
        from actprune.profiling.thresholds import relative_thresholds, rethresholded

        taken = relative_thresholds(seen, threshold)
        for site, t in taken.items():
            note(f"{site}: active where |a| > {t:.4g}")
        found = fit(rethresholded(seen, taken))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        text = jsonlib.dumps(found.to_dict(), indent=1, allow_nan=False)
        write_atomically(out / "theory.json", text)
    if json:
        emit_json(found.to_dict())
        return
    with working():
        rows = [_row(s) for s in found.sites]
    emit(table(HEAD, rows))
    for site in found.sites:
        emit(f"\n{site.name}: {site.verdict}")


def _row(site: SiteTheory) -> tuple[str, ...]:
    from actprune.reporting.numbers import number, percent

    def shown(x: float | None) -> str:
        return "-" if x is None else number(x)

    fit = site.fit
    rate = site.rate.value
    return (
        site.name,
        str(site.units),
        str(site.free),
        str(site.always_on),
        "-" if rate is None else percent(rate),
        site.family or "-",
        *((shown(fit.b), shown(fit.M), shown(fit.pi0), shown(fit.pi1)) if fit else ("-",) * 4),
        site.enough.answer if site.enough else "-",
    )
