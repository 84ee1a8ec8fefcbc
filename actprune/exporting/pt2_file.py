"""Files of torch.export: a graph, tensors as raw bytes and JSON, for torch alone."""

from __future__ import annotations

import io
from collections.abc import Callable

import torch
from torch import Tensor
from torch.export import ExportedProgram

from actprune.data.batch import Batch
from actprune.exporting.program import tensors


def pt2_bytes(program: ExportedProgram) -> bytes:
    """The file's content."""
    content = io.BytesIO()
    torch.export.save(program, content)
    return content.getvalue()


def pt2_runner(content: bytes) -> Callable[[Batch], list[Tensor]]:
    """What the file computes.

    torch.export.load falls back to pickle where a file asks for that (torch 2.13), so it is called
    on bytes just made by `pt2_bytes` and on nothing that somebody else may have written.
    """
    module = torch.export.load(io.BytesIO(content)).module()

    def run(batch: Batch) -> list[Tensor]:
        with torch.no_grad():
            return tensors(batch.run(module))

    return run
