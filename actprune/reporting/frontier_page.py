"""frontier.html: every size of a model with its harm, on one page that runs no script."""

from __future__ import annotations

from importlib.metadata import version

from actprune.planning.sweep import Frontier
from actprune.reporting.figures import Panel
from actprune.reporting.html import environment
from actprune.reporting.numbers import number
from actprune.reporting.plot_frontier import COSTS, NAMED, curves, frontier_figure

_KEYS = {
    "global": ("global: least harm for the MACs", "blue", "line"),
    "uniform": ("uniform: the same share of every site", "orange", "dash"),
}


def render(found: Frontier) -> str:
    """The page; the same frontier gives the same bytes, and whatever comes from it is escaped."""
    keys = tuple(_KEYS[name] for name in reversed(curves(found)))
    panels = [
        Panel(title=f"Harm against {name} kept", svg=frontier_figure(found, cost), keys=keys)
        for cost, name in COSTS.items()
    ]
    return (
        environment()
        .get_template("frontier.html.j2")
        .render(
            f=found,
            panels=panels,
            tables=list(reversed(curves(found).items())),
            said=said(found),
            number=number,
            named=NAMED,
            version=version("actprune"),
        )
    )


def said(found: Frontier) -> str:
    """What harm is, and what it leaves out."""
    text = f"harm: {found.unit}; interactions of sites are left out, so try a size with --target"
    if not found.measured:
        text += "; no data were given, so it is the criterion's own unit (--data measures it)"
    return text
