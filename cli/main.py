"""The command `actprune`: its verbs, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, cast

import typer

from actprune.errors import ActpruneError, BudgetError

from . import (
    audit,
    diff,
    export,
    merge,
    plan,
    profile,
    prune,
    recipes,
    report,
    subtract,
    theory,
    verify,
    zoo,
)

DONE, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130
_STOPPED = {INTERRUPTED: "interrupted.", 143: "terminated."}

# ClickException, of whichever click typer brings
_USAGE = cast("type[Exception]", typer.BadParameter.__mro__[2])

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"actprune {version('actprune')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Prune a PyTorch network by its activation statistics: forecast the cost, cut, prove it.

    \b
    In one go, from a trained model to a smaller one and a report:
      actprune prune zoo:digits-mlp --target macs=50% -o out
      actprune prune net.py:make --weights net.pt --data npz:calib.npz --target loss=+0.02 -o out

    \b
    Step by step; each result is a file that can be kept, merged and asked again:
      actprune profile zoo:digits-mlp -o P.safetensors
      actprune theory P.safetensors
      actprune plan P.safetensors --data zoo:digits-mlp --target units=20% -o plan.json
      actprune prune --plan plan.json -o out
      actprune report out

    \b
    MODEL   zoo:NAME, hf:FOLDER-OR-ID, package.module:factory or file.py:factory
    DATA    npz:FILE, text:FILE, zoo:NAME, package.module:factory or file.py:factory
    TARGET  macs=50%, params=70%, bytes=60%, units=20% (shares kept), loss=+0.02, lossless

    Exit codes: 0 done, 1 verdict or budget failed, 2 a mistake in what was asked, 130 interrupted,
    143 terminated.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


for _verb, _short in (
    (profile.profile, "Watch a model on calibration data; save what was counted."),
    (theory.theory, "Which units are free, how sure that is, and their law."),
    (plan.plan, "Choose what to remove; price it and forecast its cost."),
    (prune.prune, "The whole way: a smaller model, verified, with a report."),
    (verify.verify, "Measure a saved cut again, on held-out data."),
    (export.export, "Write a saved cut as a file that runs without actprune."),
    (audit.audit, "What only a running model shows: order, linearity, basins."),
    (report.report, "Show a saved report, alone or beside another."),
    (merge.merge, "Add profiles up, over shards, machines and days."),
    (subtract.subtract, "Take a profile's samples out of a merged one."),
    (diff.diff, "Which units fire at another rate in another profile."),
):
    app.command(short_help=_short)(_verb)
app.add_typer(recipes.app, name="recipes")
app.add_typer(zoo.app, name="zoo")


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit; a user's mistake is one line on stderr, never a traceback."""
    try:
        code = run(sys.argv[1:] if args is None else list(args))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has left, as in `actprune ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    sys.exit(code)


def run(args: list[str]) -> int:
    """Run one command; the exit code."""
    try:
        code = app(args, prog_name="actprune", standalone_mode=False, obj=tuple(args))
    except ActpruneError as e:
        _complain(str(e))
        return FAILED if isinstance(e, BudgetError) else MISTAKE
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except _USAGE as e:
        _complain(_usage(e))
        return MISTAKE
    if code in _STOPPED:
        _complain(_STOPPED[code])
    return code if isinstance(code, int) else DONE


def _complain(text: str) -> None:
    for line in text.splitlines():
        typer.echo(f"actprune: {line}", err=True)


def _usage(error: BaseException) -> str:
    """What is wrong with the command line, in one line, and where to read on."""
    said = " ".join(error.format_message().split()).rstrip(".")  # pyright: ignore
    said = said.replace(". Did you mean", "; did you mean")
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "actprune"
    see = " See" if said.endswith("?") else "; see"
    return f"{said[:1].lower()}{said[1:]}{see} `{command} --help`."


if __name__ == "__main__":  # as torchrun -m starts it
    main()
