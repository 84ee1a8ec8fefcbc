"""`actprune recipes`: the recipes that come along, and checks of your own."""

from __future__ import annotations

import difflib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actprune.errors import ActpruneError

from ._console import emit, emit_json, table
from ._options import Force, Json
from ._paths import check_new_file

if TYPE_CHECKING:
    from actprune.recipe.schema import Recipe

app = typer.Typer(
    no_args_is_help=False, help="List, show, check and copy recipes.", rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A shipped recipe, as in recipes list.")]


def shipped() -> dict[str, Traversable]:
    """The recipes installed with actprune, by name."""
    found = (f for f in files("actprune_recipes").iterdir() if f.name.endswith(".yaml"))
    return {f.name.removesuffix(".yaml"): f for f in sorted(found, key=lambda f: f.name)}


def read_recipe(name: str) -> Recipe:
    """The recipe in the file of that name, else the shipped one.

    Raises:
        ActpruneError: if there is neither, or the recipe has faults.
    """
    from actprune.recipe.load import load_recipe, parse_recipe

    if Path(name).exists():
        return load_recipe(Path(name))
    source = _shipped(name, "neither a file nor one of the shipped recipes")
    return parse_recipe(source.read_text("utf-8"), source.name)


def _shipped(name: str, problem: str = "not one of the shipped recipes") -> Traversable:
    known = shipped()
    key = name.removesuffix(".yaml")
    if key in known:
        return known[key]
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ActpruneError(f"{name}: {problem} ({', '.join(known)}){hint}")


def _opening(text: str) -> str:
    """The first sentence of the comment with which a recipe opens."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines).partition(". ")[0].rstrip(".")


@app.callback(invoke_without_command=True)
def _root(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        emit(ctx.get_help())


@app.command("list")
def list_(json: Json = False) -> None:
    """List the recipes that come with actprune."""
    found = {name: _opening(f.read_text("utf-8")) for name, f in shipped().items()}
    if json:
        emit_json([{"name": n, "summary": s} for n, s in found.items()])
    else:
        emit(table(("name", "what it does"), found.items()))


@app.command()
def show(name: Name) -> None:
    """Print a shipped recipe."""
    emit(_shipped(name).read_text("utf-8").rstrip())


@app.command()
def check(
    recipes: Annotated[
        list[str],
        typer.Argument(metavar="R.yaml ...", help="Recipe files, or names of shipped ones."),
    ],
) -> None:
    """Say whether recipes are valid, without running them; name every fault with its line.

    \b
    Examples:
      actprune recipes check mine.yaml
    """
    faults = []
    for recipe in recipes:
        try:
            read_recipe(recipe)
        except ActpruneError as e:
            faults.append(str(e))
        else:
            emit(f"{recipe}: ok")
    if faults:
        raise ActpruneError("\n".join(faults))


@app.command()
def copy(
    name: Name,
    to: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Where to; default: NAME.yaml here."),
    ] = None,
    force: Force = False,
) -> None:
    """Copy a shipped recipe, to make it your own.

    \b
    Examples:
      actprune recipes copy digits-mlp-refit mine.yaml
    """
    from actprune.files import write_atomically

    source = _shipped(name)
    target = Path(source.name) if to is None else to / source.name if to.is_dir() else to
    check_new_file(target, force=force)
    write_atomically(target, source.read_bytes())
    emit(str(target))
