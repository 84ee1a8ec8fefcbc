"""What `actprune profile` does about an earlier run that was stopped, and when it is stopped."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import typer

from actprune.errors import ActpruneError

from ._console import note


class Terminated(KeyboardInterrupt):
    """SIGTERM: as Ctrl-C, but with an exit code of its own."""


def partial_of(out: Path) -> Path:
    """Where a run keeps its work until `out` is written: P.partial.safetensors beside it."""
    return out.with_name(f"{out.stem}.partial{out.suffix}")


def is_finished(out: Path, partial: Path) -> bool:
    """Whether `out` is the result of the run that has left `partial`, and only that was to go.

    A result older than the partial file is another run's, whatever it holds.
    """
    from actprune.profiling.safety.checkpoint import load_checkpoint
    from actprune.profiling.store import load_profile

    if not (out.is_file() and partial.is_file()):
        return False
    if out.stat().st_mtime_ns < partial.stat().st_mtime_ns:
        return False
    done, asked = load_profile(out), load_checkpoint(partial).asked
    known = done.identity.model_dump(mode="json", exclude={"model"})
    same = all(asked.get(k) == v for k, v in known.items())
    return same and [s.source for s in done.shards] == [asked["source"]]


def check_unfinished(out: Path, partial: Path, *, resume: bool, force: bool) -> None:
    """Settle what becomes of an earlier run's work, before anything is loaded.

    Raises:
        ActpruneError: if there is such work, and neither `resume` nor `force` says what to do.
    """
    if resume and out.exists() and not force:
        instead = f"resume {partial} and write over it" if partial.exists() else "profile again"
        raise ActpruneError(f"-o {out}: exists already; add --force to {instead}.")
    if resume and not partial.exists():
        note(f"{partial}: no unfinished run to resume; profiling from the start.")
    elif partial.exists() and not resume and not force:
        raise ActpruneError(
            f"{partial}: an earlier run has left its work here; go on from it with --resume, or "
            f"start again with --force."
        )
    elif not resume:
        partial.unlink(missing_ok=True)


def resume_command(args: Sequence[str]) -> str:
    """The user's own command line, with --resume, quoted for a shell."""
    args = list(args)
    if "--resume" not in args:
        end = args.index("--") if "--" in args else len(args)
        args.insert(end, "--resume")
    return shlex.join(["actprune", *args])


@contextmanager
def resumable(partial: Path, args: Sequence[str]) -> Iterator[None]:
    """Say how to go on when the block is stopped, or fails by what may pass, and work is kept."""
    how = resume_command(args)
    try:
        with _terminable():
            yield
    except KeyboardInterrupt as e:
        if partial.exists():
            note(f"{partial} keeps what has been counted; go on with:\n{how}")
        number = signal.SIGTERM if isinstance(e, Terminated) else signal.SIGINT
        raise typer.Exit(128 + number) from None
    except ActpruneError as e:
        if isinstance(e.__cause__, OSError) and partial.exists():  # a disk that is full, say
            raise ActpruneError(f"{e} When that is mended, go on with: {how}") from e
        raise


@contextmanager
def _terminable() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
