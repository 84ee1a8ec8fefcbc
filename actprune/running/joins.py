"""Where a layer's output joins a residual stream: read the sum, and how the layer enters it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from actprune.running.offloaded import with_values

ADDS = {
    torch.add,
    Tensor.add,
    Tensor.add_,
    Tensor.__add__,
    Tensor.__iadd__,
    Tensor.__radd__,
}
_PASS = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)  # the identity in evaluation mode


class Finished(Exception):
    """Everything asked for has been seen; the rest of the forward pass is not needed."""


class Tap(TorchFunctionMode):
    """Records one layer's input and output and, if there is one, the sum it is added into.

    input, output: the layer's own, cloned, since later code may overwrite them in place.
    total: the result of the first addition of a tensor to the output (through batch normalizations
    in evaluation mode, if any: `norms`, whose factors multiply up in `scale`, [channels]), or None.
    Only an addition that the output enters linearly and in full counts: not one after an in-place
    nonlinearity, nor one that broadcasts the output.
    """

    def __init__(self, *, stop_at: str | None) -> None:
        """`stop_at`: "output" or "total" raises Finished once it is known; None runs through."""
        super().__init__()
        self.input: Tensor | None = None
        self.output: Tensor | None = None
        self.total: Tensor | None = None
        self.scale: Tensor | None = None
        self.norms: list[nn.Module] = []
        self.current: Tensor | None = None
        self._version = 0  # of `_current`; it rises when the tensor is overwritten in place
        self._stop_at = stop_at

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        joins = func in ADDS and self.joins(args, kwargs)
        shape = None if self.current is None else self.current.shape
        out = func(*args, **kwargs)
        if joins and self.total is None and out.shape == shape:
            self.total = out.detach().clone()
            self.current = None
            if self._stop_at == "total":
                raise Finished
        return out

    def joins(self, args: tuple[Any, ...], kwargs: Any) -> bool:
        """Whether these operands are the output, as it was made, and another tensor."""
        current = self.current
        operands = (*args[:2], *(kwargs[k] for k in ("input", "other") if k in kwargs))
        return (
            current is not None
            and current._version == self._version
            and sum(x is current for x in operands) == 1
            and all(isinstance(x, Tensor) for x in operands)
            and kwargs.get("alpha", 1) == 1
        )

    def _follow(self, out: Tensor) -> None:
        self.current, self._version = out, out._version

    def saw_layer(self, x: Tensor, out: Tensor) -> None:
        """The layer has made `out` of `x`."""
        self.input, self.output = x.detach().clone(), out.detach().clone()
        self._follow(out)
        if self._stop_at == "output":
            raise Finished

    def _continues(self, args: tuple[Tensor, ...]) -> bool:
        current = self.current
        return (
            current is not None
            and bool(args)
            and args[0] is current
            and current._version == self._version
        )

    def saw_pass(self, _m: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        if self._continues(args):
            self._follow(out)

    def saw_norm(self, norm: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        if self._continues(args):
            self._follow(out)
            self.norms.append(norm)
            factor = norm_factor(norm)
            self.scale = factor if self.scale is None else self.scale * factor


def norm_factor(norm: Any) -> Tensor:
    """d output / d input of a batch normalization in evaluation mode, [channels]."""
    own = with_values(norm)
    spread = (own["running_var"] + norm.eps).rsqrt()
    return (spread * own["weight"] if "weight" in own else spread).detach()


@contextmanager
def tapping(model: nn.Module, layer: str, *, stop_at: str | None = None) -> Iterator[Tap]:
    """Watch `layer` in a forward pass run inside the block, which `stop_at` may end early."""
    tap = Tap(stop_at=stop_at)

    def saw_layer(_: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        tap.saw_layer(args[0], out)

    with ExitStack() as stack:
        stack.enter_context(following(model, lambda: tap))
        handle = model.get_submodule(layer).register_forward_hook(saw_layer)
        stack.callback(handle.remove)
        stack.enter_context(tap)
        with suppress(Finished):
            yield tap


@contextmanager
def following(model: nn.Module, tap: Callable[[], Tap | None]) -> Iterator[None]:
    """Let the tap that `tap` names at the time see normalizations and what passes tensors on."""

    def saw_pass(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        if (now := tap()) is not None:
            now.saw_pass(module, args, out)

    def saw_norm(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        if (now := tap()) is not None:
            now.saw_norm(module, args, out)

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, _PASS):
                hook = module.register_forward_hook(saw_pass)
            elif isinstance(module, nn.modules.batchnorm._BatchNorm) and (
                module.running_var is not None
            ):
                hook = module.register_forward_hook(saw_norm)
            else:
                continue
            stack.callback(hook.remove)
        yield
