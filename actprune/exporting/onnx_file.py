"""ONNX files: one file with everything in it, run by onnxruntime."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.exporting.program import quiet
from actprune.running.forward import in_one_line

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INSTALL = 'pip install "actprune[export]"'
LARGEST = 2**31 - 2**20  # bytes of tensors: protobuf ends at 2 GiB, the graph needs some room


def check_packages() -> None:
    """Raise ActpruneError, naming the extra to install, where a package is missing."""
    missing = [p for p in PACKAGES if importlib.util.find_spec(p) is None]
    if missing:
        raise ActpruneError(f"onnx: needs the package {missing[0]}; install it with {INSTALL}.")


def onnx_bytes(program: ExportedProgram) -> tuple[bytes, int]:
    """The file's content and its opset; inputs keep the names that the model's forward gives them.

    Raises:
        ActpruneError: if an operator has no ONNX form, or the tensors do not fit into one file.
    """
    size = sum(x.numel() * x.element_size() for x in program.state_dict.values())
    if size > LARGEST:
        raise ActpruneError(
            f"onnx: {size / 1e9:.1f} GB of tensors do not fit into one file of at most 2 GiB; "
            f"export pt2 instead."
        )
    try:
        with quiet():
            made = torch.onnx.export(program, dynamo=True, verbose=False, external_data=False)
            assert made is not None
            outputs = made.model.graph.outputs
            for i, value in enumerate(outputs):  # else named after whatever operator was last
                value.name = "output" if len(outputs) == 1 else f"output_{i}"
            _name_the_batch(made.model.graph)
            content = made.model_proto.SerializeToString()
    except Exception as e:  # the converter's errors have no class in common
        raise ActpruneError(
            f"onnx: the model cannot be converted: {in_one_line(e)}; export pt2 instead."
        ) from e
    return content, int(made.model.opset_imports[""])


def _name_the_batch(graph: Any) -> None:
    """Let every shape say `batch` where torch has numbered its symbol: s77, 8*s77."""
    sizes = {str(x.shape[0]) for x in graph.inputs if x.shape and not isinstance(x.shape[0], int)}
    if len(sizes) != 1 or not re.fullmatch(r"s\d+", symbol := sizes.pop()):
        return
    for value in (*graph.inputs, *(v for node in graph for v in node.outputs)):
        for i, size in enumerate(value.shape or ()):
            if not isinstance(size, int):
                value.shape[i] = re.sub(rf"\b{symbol}\b", "batch", str(size))


def onnx_runner(content: bytes, program: ExportedProgram) -> Callable[[Batch], list[Tensor]]:
    """What the file computes in onnxruntime, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    wanted = {i.name for i in session.get_inputs()}
    names = program.graph_signature.user_inputs

    def run(batch: Batch) -> list[Tensor]:
        flat: list[Any] = tree_leaves((batch.args, dict(batch.kwargs)))
        feeds = {
            str(name): x.numpy() for name, x in zip(names, flat, strict=True) if name in wanted
        }
        return [torch.as_tensor(x) for x in session.run(None, feeds)]

    return run


def runtime() -> str:
    """`onnxruntime VERSION`."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"
