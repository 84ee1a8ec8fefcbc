"""The frontier of `actprune plan --sweep`: in the terminal, and as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from actprune.errors import ActpruneError
from actprune.files import check_new_folder, new_folder, write_atomically

from ._console import table
from ._paths import check_new_file

if TYPE_CHECKING:
    from actprune.planning.sweep import Frontier

WIDTH = 30  # of the longest bar
ENDINGS = (".json", ".html", ".svg")


def frontier_text(found: Frontier) -> str:
    """A table of sizes, each with a bar as long as its harm is high in the drawing."""
    from actprune.reporting.frontier_page import said
    from actprune.reporting.numbers import percent
    from actprune.reporting.plot_frontier import length

    rows = [
        (percent(r.macs), percent(r.params), percent(r.units), f"{r.harm:.4g}",
         ("#" * round(WIDTH * length(found, r))).ljust(WIDTH))
        for r in found.rows
    ]  # fmt: skip
    return table(("macs", "params", "units", "harm", "log scale"), rows) + "\n\n" + said(found)


def check_place(out: Path, *, force: bool) -> None:
    """Make sure, before any work, that a frontier can be saved at `out`.

    Raises:
        ActpruneError: if it cannot be written, or its ending says nothing of what to write.
    """
    if not out.suffix:
        check_new_folder(out)
    elif out.suffix in ENDINGS:
        check_new_file(out, force=force)
    else:
        raise ActpruneError(
            f"-o {out}: end it in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}, or name a new folder "
            f"for all of them."
        )


def save(found: Frontier, out: Path) -> None:
    """One file, by its ending; or a folder with all."""
    if out.suffix:
        write_atomically(out, _content(found, out.suffix))
        return
    with new_folder(out) as folder:
        for ending in ENDINGS:
            write_atomically(folder / f"frontier{ending}", _content(found, ending))


def _content(found: Frontier, ending: str) -> str:
    from actprune.reporting.frontier_page import render
    from actprune.reporting.plot_frontier import frontier_file

    if ending == ".json":
        return found.to_json() + "\n"
    return render(found) if ending == ".html" else frontier_file(found)
