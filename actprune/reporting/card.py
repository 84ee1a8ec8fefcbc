"""The model card: the README.md of a pruned model's folder."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from actprune.reporting import rows, words
from actprune.reporting.numbers import whole
from actprune.reporting.schema import Report

if TYPE_CHECKING:
    from jinja2 import Environment

REBUILD_ALONE = ("zoo:", "hf:")  # models that need no factory to load


def model_card(report: Report) -> str:
    """What the model is, how to load it, what was lost and won, and what nobody promises."""
    text = (
        _environment()
        .get_template("card.md.j2")
        .render(
            r=report,
            units=sum(s.units for s in report.sites),
            rebuilds_alone=report.model.spec.startswith(REBUILD_ALONE),
            before_after=rows.before_after(report),
            ways=rows.ways(report),
            way_back=rows.way_back(report),
            metric_names=rows.metric_names(report),
        )
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def plain(text: str) -> str:
    """`text` so that Markdown shows it as it is, on one line and inside a table's cell."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", _one_line(text))


def code(text: str) -> str:
    """`text` as inline code, whatever backticks it holds."""
    text = _one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{room}{text}{room}{fence}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from actprune.reporting.html import sentence

    made = Environment(
        loader=PackageLoader("actprune.reporting", "."),
        autoescape=False,  # Markdown: `plain` and `code` escape
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals.update(words=words, plain=plain, code=code, whole=whole, sentence=sentence)
    return made
