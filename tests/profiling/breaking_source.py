"""A source that fails half way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Broken(Exception):
    pass


def breaking(batches: list[Any], after: int) -> Iterator[Any]:
    """The batches of a source that fails when so many have been read."""
    for number, batch in enumerate(batches):
        if number == after:
            raise Broken
        yield batch
