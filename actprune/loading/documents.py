"""Where the documents of a text begin and end."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

MARK = "<|endoftext|>"
HEADING = re.compile(r"^ ?= [^=\n]+ = ?$", re.MULTILINE)  # ` = Title = `; sections have more `=`
BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")


def _by_mark(text: str) -> list[str]:
    return [part.strip() for part in text.split(MARK)]


def _by_heading(text: str) -> list[str]:
    starts = [m.start() for m in HEADING.finditer(text)]
    return [text[a:b].strip("\n") for a, b in zip([0, *starts], [*starts, len(text)], strict=True)]


def _by_blank_lines(text: str) -> list[str]:
    return [part.strip("\n") for part in BLANK_LINES.split(text)]


RULES: Mapping[str, Callable[[str], list[str]]] = {
    "endoftext": _by_mark,
    "headings": _by_heading,
    "blank": _by_blank_lines,
    "lines": str.splitlines,
}


def documents_of(text: str, rule: str | None = None) -> tuple[list[str], str]:
    """Split a text into documents.

    Args:
        text: with lines that end in `\\n`.
        rule: `endoftext`, at each `<|endoftext|>`; `headings`, before each top-level heading of
            WikiText, ` = Title = `; `blank`, at blank lines; `lines`, one a line. By default the
            first of endoftext and headings that the text has a mark of, else blank.

    Returns:
        The documents that are not blank, in order, and the rule that was followed. What separates
        documents belongs to none of them; a heading begins its own.
    """
    if rule is None:
        rule = "endoftext" if MARK in text else "headings" if HEADING.search(text) else "blank"
    return [d for d in RULES[rule](text) if d.strip()], rule
