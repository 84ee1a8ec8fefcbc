"""`text:FILE`: a text file, read as documents and tokenized by the model's own tokenizer.

Options follow the file name, `text:FILE,tokens=256,documents=lines`; commas need no quotes in a
shell. A file whose name looks as if it had options is still found under its whole name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from actprune.data.text import WINDOW, Text
from actprune.errors import ActpruneError
from actprune.loading.documents import RULES, documents_of
from actprune.loading.paths import existing_file
from actprune.loading.tokenizer import Tokenizer

OPTIONS = ("tokens", "documents")
OPTION = re.compile(r"([A-Za-z_]+)=([^,=/\\]*)")
TOGETHER = 64  # documents tokenized at a time


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokenized(Sequence):
    """Documents that are tokenized when they are first read, each once."""

    texts: Sequence[str]
    tokenizer: Tokenizer
    spec: str
    _found: dict[int, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]  # no slices
        """int32 [tokens] of document `index`.

        Raises:
            ActpruneError: if the model has no embedding for a token.
        """
        if index not in self._found:
            few = range(index, min(index + TOGETHER, len(self)))
            new = [i for i in few if i not in self._found]
            for i, ids in zip(
                new, self.tokenizer.encode([self.texts[i] for i in new]), strict=True
            ):
                self._found[i] = self._checked(np.asarray(ids, dtype=np.int32))
        return self._found[index]

    def _checked(self, ids: np.ndarray) -> np.ndarray:
        known = self.tokenizer.vocabulary
        if known is not None and len(ids) and not 0 <= ids.min() <= ids.max() < known:
            raise ActpruneError(
                f"{self.spec}: the tokenizer gives token {ids.max()}, but the model embeds only "
                f"{known}; use the tokenizer that belongs to the model."
            )
        return ids


def load_text(spec: str, tokenizer: Tokenizer) -> Text:
    """Read the file that `spec` names.

    Args:
        spec: `text:FILE`, with the options `tokens=N`, tokens a window (default 512, or fewer
            where the model takes fewer), and `documents=RULE` (see `documents_of`).
        tokenizer: the model's.

    Returns:
        A source whose spec names both options, as given or as chosen.

    Raises:
        ActpruneError: if the file is missing, is not UTF-8 or holds nothing but blanks, or an
            option is unknown, given twice or out of range.
    """
    name, options = _parse(spec.removeprefix("text:"), spec)
    text = _read(existing_file(Path(name), "text file"), spec)
    length = _length(options.get("tokens"), tokenizer.positions, spec)
    texts, rule = documents_of(text, _rule(options.get("documents"), spec))
    if not texts:
        raise ActpruneError(f"{spec}: holds no text; give a file with at least one document.")
    full = f"text:{Path(name).as_posix()},tokens={length},documents={rule}"
    documents = Tokenized(texts=texts, tokenizer=tokenizer, spec=full)
    return Text(documents=documents, spec=full, length=length)


def _parse(rest: str, spec: str) -> tuple[str, dict[str, str]]:
    """The file and its options: as few options as name a file that is there."""
    parts = rest.split(",")
    options: list[str] = []
    while not _is_file(",".join(parts)) and len(parts) > 1 and OPTION.fullmatch(parts[-1]):
        options.insert(0, parts.pop())
    found: dict[str, str] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key not in OPTIONS:
            close = difflib.get_close_matches(key, OPTIONS, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else "."
            raise ActpruneError(
                f"{spec}: unknown option '{key}', known are {' and '.join(OPTIONS)}{hint}"
            )
        if key in found:
            raise ActpruneError(f"{spec}: '{key}' is given twice; give it once.")
        found[key] = value
    return ",".join(parts), found


def _is_file(name: str) -> bool:
    try:
        return Path(name).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # told when the file is opened
        return False


def _read(path: Path, spec: str) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as e:
        raise ActpruneError(f"{spec}: cannot be read ({e.strerror}).") from e
    except UnicodeDecodeError as e:
        raise ActpruneError(
            f"{spec}: not UTF-8 text (byte 0x{e.object[e.start]:02x} at {e.start}); "
            f"convert the file to UTF-8."
        ) from e
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _length(asked: str | None, positions: int | None, spec: str) -> int:
    if asked is None:
        return min(WINDOW, positions or WINDOW)
    if not (asked.isascii() and asked.isdigit() and 1 <= int(asked) < 2**31):
        raise ActpruneError(f"{spec}: tokens must be a whole number from 1, got '{asked}'.")
    if positions is not None and int(asked) > positions:
        raise ActpruneError(
            f"{spec}: the model takes at most {positions} tokens, got tokens={asked}; give fewer."
        )
    return int(asked)


def _rule(asked: str | None, spec: str) -> str | None:
    if asked is None or asked in RULES:
        return asked
    close = difflib.get_close_matches(asked, RULES, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else "."
    raise ActpruneError(f"{spec}: documents must be one of {', '.join(RULES)}, got '{asked}'{hint}")
