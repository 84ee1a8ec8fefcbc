"""A report on disk: report.json, the page and the model card."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from actprune.errors import ActpruneError
from actprune.files import write_atomically
from actprune.reporting.card import model_card
from actprune.reporting.html import render
from actprune.reporting.schema import Report

NAME = "report.json"


def write_report(report: Report, folder: Path) -> None:
    """Write report.json, report.html and README.md into `folder`, each whole or not at all.

    Raises:
        ActpruneError: if the folder is missing or cannot be written.
    """
    files = {
        NAME: report.model_dump_json(by_alias=True, indent=1) + "\n",
        "report.html": render(report),
        "README.md": model_card(report),
    }
    for name, text in files.items():
        write_atomically(folder / name, text)


def read_report(folder: Path) -> Report:
    """The report in `folder`, or in the report.json given itself.

    Raises:
        ActpruneError: if there is none, or it is not a report of this schema.
    """
    path = folder / NAME if folder.is_dir() else folder
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError as e:
        raise ActpruneError(
            f"{path}: no such report; name a folder that `actprune prune -o` wrote."
        ) from e
    except (OSError, UnicodeDecodeError) as e:
        raise ActpruneError(f"{path}: cannot be read ({e}).") from e
    try:
        return Report.model_validate_json(text)
    except ValidationError as e:
        first = e.errors()[0]
        place = ".".join(map(str, first["loc"])) or "document"
        raise ActpruneError(
            f"{path}: not a report of schema 1: {place}: {first['msg']}. Prune again to renew it."
        ) from e
