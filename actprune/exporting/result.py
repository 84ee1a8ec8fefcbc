"""What came of writing a model into a file that runs without actprune."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from actprune.planning.result import Frozen

Kind: TypeAlias = Literal["onnx", "pt2"]
LIMIT = 1e-4  # of max(1, the largest output): float32 sums in another order stay far below


class Exported(Frozen):
    """A file that was checked against torch on real samples before it was written."""

    path: Path
    kind: Kind
    opset: int | None  # of ONNX's own operators; None for pt2
    difference: float  # largest absolute difference of any output
    largest: float  # largest absolute output of torch on the same samples
    limit: float  # what `difference` may be: LIMIT x max(1, largest)
    samples: int  # checked
    batch_sizes: tuple[int, ...]  # checked, ascending
    bytes: int  # of the file
    tensor_bytes: int  # of the model's parameters and buffers
    checked_with: str  # what ran the file, with its version


class ExportOutcome(Frozen):
    """An export as a report tells it: where it failed, `file` is None and `reason` says why."""

    kind: Kind
    file: str | None
    opset: int | None = None
    difference: float | None = None
    limit: float | None = None
    samples: int | None = None
    batch_sizes: tuple[int, ...] = ()
    bytes: int | None = None
    checked_with: str | None = None
    reason: str | None = None

    @classmethod
    def of(cls, made: Exported) -> ExportOutcome:
        """What is worth keeping of a file in the report's own folder."""
        return cls(
            kind=made.kind,
            file=made.path.name,
            opset=made.opset,
            difference=made.difference,
            limit=made.limit,
            samples=made.samples,
            batch_sizes=made.batch_sizes,
            bytes=made.bytes,
            checked_with=made.checked_with,
        )
