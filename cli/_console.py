"""Results go to stdout; progress, notes and complaints go to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

import typer


def is_first() -> bool:
    """Whether this process speaks for all, of those that torchrun may have started."""
    return int(os.environ.get("WORLD_SIZE", "1")) < 2 or os.environ.get("RANK", "0") == "0"


def emit(text: str) -> None:
    """Print a result."""
    if is_first():
        typer.echo(text.rstrip("\n"))


def emit_json(value: Any) -> None:
    """Print one JSON document; `value` may also be JSON text. NaN and infinities become null."""
    document = json.loads(value) if isinstance(value, str) else value
    if is_first():
        typer.echo(json.dumps(_finite(document), indent=1, allow_nan=False))


def note(text: str) -> None:
    """Tell the user something that is not the result."""
    if is_first():
        typer.echo(f"actprune: {text}", err=True)


@contextmanager
def working() -> Iterator[None]:
    """Keep stdout clean: whatever a user's model or loader prints meanwhile goes to stderr."""
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def counting(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar to advance by a number of steps; nothing is drawn unless stderr is a terminal."""
    if not sys.stderr.isatty() or not is_first():
        yield lambda steps: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda steps: bar.advance(task, steps)


@contextmanager
def stages(first: str) -> Iterator[Callable[[str], None]]:
    """A line that names what is going on; nothing is drawn unless stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda stage: None
        return
    from rich.console import Console

    with Console(stderr=True).status(first) as status:
        yield status.update


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns aligned with spaces: the first to the left, numbers to the right."""
    lines = [list(head), *(list(r) for r in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    left = [any(c.isalpha() for line in lines[1:] for c in line[i]) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            c.ljust(w) if i == 0 or lean else c.rjust(w)
            for i, (c, w, lean) in enumerate(zip(line, widths, left, strict=True))
        ).rstrip()
        for line in lines
    )


def _finite(x: Any) -> Any:
    if isinstance(x, dict):
        return {k: _finite(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_finite(v) for v in x]
    if isinstance(x, float) and x - x != 0:
        return None
    return x
