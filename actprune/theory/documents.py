"""Documents as samples: what counts once where tokens or frames are correlated (ours).

Tokens of one document fire the same units, so a certificate over tokens is far too sure of
itself. Everything in this folder takes counts over samples: give it counts over documents.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from actprune.errors import ActpruneError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class DocumentCounts:
    """Counts over documents, ready for `fit_family`, `leave_one_out_certificate` and the rest."""

    counts: NDArray[np.int64]  # (N,), documents with at least one active sample
    first: NDArray[np.int64]  # (N,), row of the first document that fired the unit, -1 if none
    active: NDArray[np.bool_]  # (documents, N)
    documents: NDArray[np.int64]  # (documents,), their ids, ascending

    @property
    def D(self) -> int:
        """Documents seen."""
        return len(self.documents)


def by_document(fires: ArrayLike, document: ArrayLike) -> DocumentCounts:
    """Gather firings of samples by their document.

    Args:
        fires: bool (S, N), whether each sample activates each unit.
        document: int (S,), the document of each sample, in any order.

    Raises:
        ActpruneError: if the shapes do not fit.
    """
    fires, document = np.asarray(fires, dtype=bool), np.asarray(document)
    if fires.ndim != 2 or document.shape != fires.shape[:1]:
        raise ActpruneError(
            "Firings must have shape (samples, units) and documents (samples,), "
            f"got {fires.shape} and {document.shape}."
        )
    documents, row = np.unique(document, return_inverse=True)
    active = np.zeros((len(documents), fires.shape[1]), dtype=bool)
    sample, unit = np.nonzero(fires)
    active[row[sample], unit] = True
    ever = active.any(0)
    first = np.where(ever, active.argmax(0) if len(documents) else -1, -1)
    return DocumentCounts(
        counts=active.sum(0, dtype=np.int64),
        first=first.astype(np.int64),
        active=active,
        documents=documents.astype(np.int64),
    )
