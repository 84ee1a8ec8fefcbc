"""The form `SCHEME:REST` of models and data, and what to say to a user who writes another one."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from actprune.errors import ActpruneError
from actprune.loading.weights import SUFFIXES
from actprune.zoo import PACKAGES, ZOO


def check_form(spec: str, what: str, schemes: Sequence[str]) -> None:
    """Refuse a spec that is neither FILE.py:NAME nor PACKAGE.MODULE:NAME, with the likely remedy.

    Args:
        spec: what the user wrote; starts with none of `schemes`.
        what: 'a model' or 'data'.
        schemes: the prefixes that could have been meant, without their colon.

    Raises:
        ActpruneError: if `spec` cannot name an object in a file or module.
    """
    place, colon, name = spec.rpartition(":")
    is_module = all(part.isidentifier() for part in f"{place}.{name}".split("."))
    if colon and name and (place.endswith(".py") or (is_module and not _typo(place, schemes))):
        return
    forms = ", ".join(f"{s}:..." for s in schemes)
    raise ActpruneError(
        f"{spec or 'nothing'}: not {what} this program knows; write {forms}, FILE.py:NAME or "
        f"PACKAGE.MODULE:NAME{_remedy(spec, what, schemes)}"
    )


def _remedy(spec: str, what: str, schemes: Sequence[str]) -> str:
    scheme, colon, rest = spec.partition(":")
    suffix = Path(spec).suffix
    if colon and (typo := _typo(scheme, schemes)):
        return f"; did you mean '{typo}:{rest}'?"
    if colon:
        return "."
    if suffix == ".py":
        return f"; say which object of the file: '{spec}:NAME'."
    if suffix in SUFFIXES and what == "a model":
        return "; this file holds weights only: name the architecture, and the file as weights."
    if suffix in (".npz", ".txt") and what == "data":
        return f"; did you mean '{'npz' if suffix == '.npz' else 'text'}:{spec}'?"
    if close := difflib.get_close_matches(spec.partition("@")[0], (*ZOO, *PACKAGES), n=1):
        return f"; did you mean 'zoo:{close[0]}'?"
    return "."


def _typo(scheme: str, schemes: Sequence[str]) -> str | None:
    """The scheme that was meant, if there is no module of that name."""
    close = difflib.get_close_matches(scheme.lower(), schemes, n=1, cutoff=0.6)
    if not close:
        return None
    top = scheme.partition(".")[0]
    here = Path(f"{top}.py").exists() or Path(top).is_dir()
    installed = top.isidentifier() and importlib.util.find_spec(top) is not None
    return None if here or installed else close[0]
