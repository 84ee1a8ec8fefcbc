"""`actprune zoo`: small trained models to try things out with."""

from __future__ import annotations

import typer

from ._console import emit, emit_json, table
from ._options import Json

app = typer.Typer(help="List the small models that come along.", rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _root(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        emit(ctx.get_help())


@app.command("list")
def list_(json: Json = False) -> None:
    """List the zoo's models; each is named zoo:NAME and brings its own data."""
    from actprune.zoo import ZOO

    if json:
        emit_json([{"name": name, "summary": entry.summary} for name, entry in ZOO.items()])
    else:
        emit(table(("name", "what it is"), [(f"zoo:{n}", e.summary) for n, e in ZOO.items()]))
