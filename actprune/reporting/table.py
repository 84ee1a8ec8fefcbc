"""What a person reads in the terminal when a cut is done."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from actprune.reporting import rows, words
from actprune.reporting.numbers import percent, whole
from actprune.reporting.schema import Report

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

COLOURS = {"pass": "bold green", "outside": "bold yellow", "fail": "bold red"}


def summary(report: Report) -> Group:
    """Before and after, baselines, forecast, measurement and verdict, for a rich console.

    A console that is no terminal prints it without colours.
    """
    from rich.console import Group

    parts = [_before_after(report)]
    if report.recovery is not None:
        parts.append(_way_back(report))
    if report.baselines:
        parts.append(_baselines(report))
    return Group(*parts, _findings(report))


def summary_table(report: Report, width: int = 88) -> str:
    """`summary` as plain text, without colours or trailing spaces."""
    from rich.console import Console

    out = StringIO()
    Console(file=out, width=width, color_system=None, force_terminal=False).print(summary(report))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _table() -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")


def _before_after(report: Report) -> Table:
    table = _table()
    table.add_column("")
    for name in ("before", words.after(report), "change"):
        table.add_column(name, justify="right")
    for row in rows.before_after(report):
        table.add_row(*map(_literal, (row.name, row.before, row.after, row.change)))
    return table


def _baselines(report: Report) -> Table:
    table = _table()
    table.add_column("\nthe same cut by")
    for name in ("loss", "change", *rows.metric_names(report)):
        table.add_column(_literal(f"\n{name}"), justify="right")
    for way in rows.ways(report):
        name = f"{way.criterion}, {way.compensate}{' (this one)' if way.ours else ''}"
        cells = map(_literal, (name, way.loss, way.change, *way.metrics))
        table.add_row(*cells, style="bold" if way.ours else None)
    return table


def _way_back(report: Report) -> Table:
    table = _table()
    table.add_column("\nthe way back")
    for name in ("loss", "change", *rows.metric_names(report), "won back"):
        table.add_column(_literal(f"\n{name}"), justify="right")
    for step in rows.way_back(report):
        cells = (step.name, step.loss, step.change, *step.metrics, step.share)
        table.add_row(*map(_literal, cells))
    return table


def _findings(report: Report) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_row("", "")
    for i, target in enumerate(report.targets):
        met = "met" if target.met else "missed"
        why = words.reached_reason(target) or target.how
        line = f"{words.goal(target)}: {words.reached(target)}, {met}{f' ({why})' if why else ''}"
        table.add_row("asked" if i == 0 else "", _literal(line))
    table.add_row("forecast", _literal(words.forecast(report)))
    if (local := words.local(report)) is not None:
        table.add_row("local", _literal(local))
    table.add_row("counts only", _literal(words.counts_only(report)))
    table.add_row("measured", _literal(words.measured(report)))
    if report.recovery is not None:
        table.add_row("healed", _literal(words.healed(report)))
    if report.healing is not None:
        table.add_row("healing", _literal(report.healing.reason))
    if exact := words.exact(report):
        table.add_row("exact", _literal(exact))
    table.add_row("removed", _literal(_removed(report)))
    if report.export is not None:
        table.add_row("export", _literal(words.export(report.export)))
    said = _literal(f"{report.verdict.upper()}: {report.verdict_reason}")
    said.stylize(COLOURS[report.verdict])
    table.add_row("verdict", said)
    return table


def _removed(report: Report) -> str:
    c = report.certificate
    if c.units == 0:
        gone = words.removed(report)
        return f"{whole(gone)} units, none by certificate" if gone else "no unit"
    return (
        f"{whole(c.units)} units; at most {percent(c.upper, up=True)} of future inputs fire any "
        f"({percent(c.level)})"
    )


def _literal(text: str):
    """`text` in which square brackets are brackets, not markup."""
    from rich.text import Text

    return Text(text)
