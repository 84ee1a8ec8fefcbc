"""Weights that are away: on the CPU or on disk, and moved in by accelerate's hooks as layers run.

accelerate is not imported. What matters stands in the hooks that it sets: a module with tensors on
the meta device has a `_hf_hook`, with `offload`, `weights_map` and `execution_device`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from actprune.errors import ActpruneError


def is_offloaded(model: nn.Module) -> bool:
    """Whether a hook holds some of the model's weights elsewhere."""
    return any(_offloading(m) is not None for m in model.modules())


def execution_device(model: nn.Module) -> torch.device | None:
    """Where the model's first hook runs its module; None for a model without hooks."""
    for module in model.modules():
        for hook in _hooks(module):
            device = getattr(hook, "execution_device", None)
            if device is not None:
                return torch.device(device)
    return None


def value_of(model: nn.Module, name: str, tensor: Tensor) -> Tensor:
    """The values of the parameter or buffer called `name`, `tensor` in the model, which is
    returned where it is not away.

    Raises:
        ActpruneError: if it is on the meta device and no hook holds it.
    """
    if not tensor.is_meta:
        return tensor
    path, _, own = name.rpartition(".")
    while True:
        hook = _offloading(model.get_submodule(path))
        if hook is not None and (hook.place_submodules or "." not in own):
            try:
                return hook.weights_map[own].to(tensor.dtype)
            except KeyError:
                break
        if not path:
            break
        path, _, parent = path.rpartition(".")
        own = f"{parent}.{own}"
    raise _nowhere(name)


def check_somewhere(model: nn.Module) -> None:
    """Raises ActpruneError if weights are on the meta device and no hook holds any."""
    if not is_offloaded(model):
        for name, parameter in model.named_parameters():
            if parameter.is_meta:
                raise _nowhere(name)


def _nowhere(name: str) -> ActpruneError:
    return ActpruneError(
        f"{name} is on the meta device, without values; load the model's weights first."
    )


def with_values(module: nn.Module) -> dict[str, Tensor]:
    """The module's own parameters and buffers by name, with their values."""
    own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    return {name: value_of(module, name, tensor) for name, tensor in own}


def identities(model: nn.Module) -> dict[str, object]:
    """What each module's parameters and buffers are, by name: shared tensors are equal.

    A tensor that is away is another object in each place, so there equal bytes count as shared; a
    constant one, such as a bias of zeros, is its own.
    """
    away = is_offloaded(model)
    found: dict[str, object] = {}
    for path, module in model.named_modules():
        for own, tensor in _tensors(module, recurse=False):
            name = f"{path}.{own}" if path else own
            found[name] = _content(model, name, tensor) if away else id(tensor)
    return found


def _content(model: nn.Module, name: str, tensor: Tensor) -> object:
    if not tensor.is_meta:
        return id(tensor)
    value = value_of(model, name, tensor).detach().cpu().contiguous().reshape(-1)
    if not len(value) or bool((value == value[0]).all()):
        return name
    digest = hashlib.blake2b(f"{tensor.dtype}{tuple(tensor.shape)}".encode(), digest_size=16)
    digest.update(value.view(torch.uint8).numpy().data)
    return digest.digest()


@contextmanager
def brought_in(model: nn.Module, names: Iterable[str]) -> Iterator[None]:
    """Within the block the weights of the named modules are in place and stay there."""
    holders = {id(m): m for name in names for m in _holders(model, name)}
    before: list[tuple[dict[str, Any], str, Tensor]] = []
    hooks = []
    try:
        for holder in holders.values():
            hook = _offloading(holder)
            hooks.append(hook)
            away = {n: t for n, t in _tensors(holder, hook.place_submodules) if t.is_meta}
            for name, tensor in away.items():
                path, _, own = name.rpartition(".")
                module = holder.get_submodule(path)
                value = value_of(holder, name, tensor).to(hook.execution_device)
                learnt = own in module._parameters
                registry: dict[str, Any] = module._parameters if learnt else module._buffers
                before.append((registry, own, tensor))
                registry[own] = nn.Parameter(value, tensor.requires_grad) if learnt else value
            hook.offload = False
        yield
    finally:
        for hook in hooks:
            hook.offload = True
        for registry, own, tensor in before:
            registry[own] = tensor


def _tensors(module: nn.Module, recurse: bool) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(recurse=recurse), *module.named_buffers(recurse=recurse)]


def _holders(model: nn.Module, name: str) -> Iterator[nn.Module]:
    """The modules whose hooks hold the tensors of the module called `name`."""
    module = model.get_submodule(name)
    if _offloading(module) is not None:
        yield module
    while name:
        name = name.rpartition(".")[0]
        above = model.get_submodule(name)
        hook = _offloading(above)
        if hook is not None and hook.place_submodules:
            yield above


def _offloading(module: nn.Module) -> Any:
    """The hook that moves the module's weights in and out, or None."""
    return next((h for h in _hooks(module) if getattr(h, "offload", False) is True), None)


def _hooks(module: nn.Module) -> tuple[Any, ...]:
    hook = module.__dict__.get("_hf_hook")
    if hook is None:
        return ()
    return tuple(getattr(hook, "hooks", (hook,)))  # several in a row, or the only one
