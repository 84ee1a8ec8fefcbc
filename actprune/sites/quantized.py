"""Layers whose weights are quantized: their units can be neither traced nor removed."""

from __future__ import annotations

from torch import nn


def quantized_layers(model: nn.Module) -> dict[str, str]:
    """The reason against each quantized layer of `model`, by name.

    Known are torch.ao's modules, static and dynamic, and layers whose weight is a parameter of
    a class of its own, as torchao and bitsandbytes make them.
    """
    return {
        name: f"{name} ({kind}) is quantized; prune the float model, and quantize what comes out"
        for name, module in model.named_modules()
        if (kind := _kind(module)) is not None
    }


def _kind(module: nn.Module) -> str | None:
    if any(c.__name__ == "WeightedQuantizedModule" for c in type(module).__mro__):
        return type(module).__name__
    weight = module._parameters.get("weight")
    if weight is not None and type(weight) is not nn.Parameter:
        return type(weight).__name__
    return None
