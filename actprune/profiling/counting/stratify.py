"""Which stratum each sample belongs to: its class, its domain, whatever the user names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from actprune.data.batch import Batch
from actprune.errors import ActpruneError

LABELS = "labels"

# "labels", or a function that names the stratum of each sample of a batch
Strata = Literal["labels"] | Callable[[Batch], Sequence[Any] | Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratifier:
    """Names the stratum of each sample of a batch, and has a name that profiles must share."""

    name: str
    of: Callable[[Batch], Sequence[Any] | Tensor]

    def __call__(self, batch: Batch) -> list[str]:
        """One name a sample.

        Raises:
            ActpruneError: if there is not one name or whole number a sample, or the batch holds
                packed documents.
        """
        if batch.documents is not None:
            raise ActpruneError(
                "strata: of packed text a sample is a document, which has no label here; "
                "profile each stratum on its own, with like=, and merge."
            )
        found = self.of(batch)
        names = [_name(x) for x in (found.tolist() if isinstance(found, Tensor) else found)]
        if len(names) != len(batch):
            raise ActpruneError(
                f"strata by {self.name}: expected one name a sample, got {len(names)} names for "
                f"{len(batch)} samples."
            )
        return names


def strata_by(strata: Strata | None) -> Stratifier | None:
    """What `strata` means; None stays None.

    Raises:
        ActpruneError: if it is neither "labels" nor callable.
    """
    if strata is None:
        return None
    if callable(strata):
        return Stratifier(name=getattr(strata, "__qualname__", type(strata).__name__), of=strata)
    if strata != LABELS:
        raise ActpruneError(
            f"strata must be 'labels' or a callable that names each sample's stratum, "
            f"got {strata!r}."
        )
    return Stratifier(name=LABELS, of=_labels)


def _labels(batch: Batch) -> Tensor:
    labels = batch.labels
    if labels is None:
        raise ActpruneError(
            "strata='labels': the data have no labels; give batches (inputs, labels), or a "
            "callable that names each sample's stratum."
        )
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise ActpruneError(
            f"strata='labels' needs one whole number a sample, got labels {labels.dtype} of shape "
            f"{tuple(labels.shape)}; give a callable that names each sample's stratum."
        )
    return labels.to(torch.int64)


def _name(x: Any) -> str:
    if isinstance(x, str):
        return x
    try:
        return str(int(x.__index__()))  # of int, bool, and NumPy's and torch's whole numbers
    except (AttributeError, TypeError, ValueError):
        raise ActpruneError(
            f"A stratum is called by a string or a whole number, got {x!r}."
        ) from None
