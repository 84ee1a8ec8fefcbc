"""The data that a spec names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from actprune.data.source import Arrays, Loader, Source, as_source
from actprune.errors import ActpruneError
from actprune.loading.model import LoadedModel
from actprune.loading.npz import load_npz
from actprune.loading.resolve import Resolved, call, guarded, resolve
from actprune.loading.specs import check_form
from actprune.loading.text import load_text
from actprune.zoo.registry import find, find_package

SCHEMES = ("npz", "zoo", "text")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Guarded:
    """The user's batches: read anew each time, their failures told in one line."""

    open: Callable[[], Iterable[Any]]
    found: Resolved

    def __iter__(self) -> Iterator[Any]:
        what, folder = f"{self.found.spec}: reading its batches", self.found.folder
        batches = guarded(what, folder, lambda: iter(self.open()))
        end = object()
        while (batch := guarded(what, folder, lambda: next(batches, end))) is not end:
            yield batch


def load_data(spec: str, model: LoadedModel | None = None) -> Source:
    """Find the data that `spec` names.

    Args:
        spec: `npz:FILE` (see `load_npz`), `text:FILE` (see `load_text`), `zoo:NAME`, or
            `FILE.py:NAME` or `PACKAGE.MODULE:NAME` where NAME is an iterable of batches (tensor,
            tuple or dict) or a Source, or can be called without arguments and returns one. Its
            code is run.
        model: whose tokenizer reads text; other data need none.

    Raises:
        ActpruneError: if the spec names no data, the file cannot be used, or the code fails.
    """
    if spec.startswith("npz:"):
        return load_npz(Path(spec.removeprefix("npz:")))
    if spec.startswith("zoo:"):
        own_data(spec)
        entry, seed = find(spec)
        if seed is not None:
            raise ActpruneError(
                f"{spec}: a zoo model has the same data whatever its training seed; "
                f"write 'zoo:{entry.name}'."
            )
        return entry.data()
    if spec.startswith("text:"):
        if model is None:
            raise ActpruneError(f"{spec}: text is read by a model's tokenizer; name the model too.")
        return load_text(spec, model.tokenizer())
    check_form(spec, "data", SCHEMES)
    found = resolve(spec)
    if _is_data(found.value):
        return _as_source(found.value, found)
    data = call(found)
    if isinstance(data, Iterator):  # can be read once, but called again
        return Loader(iterable=Guarded(open=lambda: call(found), found=found), spec=found.spec)
    return _as_source(data, found)


def own_data(model: str) -> str:
    """The data that come along with a model of the zoo.

    Raises:
        ActpruneError: if the model `model` names brings none.
    """
    if not model.startswith("zoo:"):
        raise ActpruneError(f"{model}: only a zoo model brings its own data; give --data.")
    if package := find_package(model):
        raise ActpruneError(
            f"zoo:{package.name}: this model has no data of its own; give --data, for instance "
            f"text:FILE."
        )
    return model.partition("@")[0]


def _is_data(value: Any) -> bool:
    return not isinstance(value, type) and (
        hasattr(value, "batches") or isinstance(value, Iterable) or not callable(value)
    )


def _as_source(data: Any, found: Resolved) -> Source:
    spec = found.spec
    kind = type(data).__name__
    if isinstance(data, Mapping) or (
        isinstance(data, tuple) and any(isinstance(x, Tensor) for x in data)
    ):
        raise ActpruneError(
            f"{spec}: got one {kind}, expected an iterable of batches; put it into a list to make "
            f"it one batch, or give actprune.data.source.Arrays.of(x, labels=y)."
        )
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        raise ActpruneError(
            f"{spec}: got a dataset ({kind}) of single samples, expected batches; give "
            f"torch.utils.data.DataLoader(dataset, batch_size=128)."
        )
    if isinstance(data, (Arrays, Loader)) and data.spec in ("tensors", "loader"):  # not named
        return dataclasses.replace(data, spec=spec)
    if hasattr(data, "batches") or isinstance(data, (Tensor, Iterator)):
        return as_source(data, spec)
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        raise ActpruneError(
            f"{spec}: expected an iterable of batches (tensor, tuple or dict), got {kind}."
        )
    return Loader(iterable=Guarded(open=lambda: data, found=found), spec=spec)
