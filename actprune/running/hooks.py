"""Hooks that cannot leak."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def watching_inputs(
    model: nn.Module,
    names: Iterable[str],
    see: Callable[[str, Tensor], None],
) -> Iterator[None]:
    """Call `see(name, input)` before each named module runs; no hook outlives the block."""
    with ExitStack() as hooks:
        for name in names:

            def hook(_: nn.Module, args: tuple[Any, ...], name: str = name) -> None:
                see(name, args[0].detach())

            hooks.callback(model.get_submodule(name).register_forward_pre_hook(hook).remove)
        yield


@contextmanager
def changing_outputs(
    model: nn.Module, names: Iterable[str], change: Callable[[str, Any, Any], Tensor | None]
) -> Iterator[None]:
    """Pass each named module's `(name, first input, output)` to `change`; a tensor it returns
    replaces the output. No hook outlives the block."""
    with ExitStack() as hooks:
        for name in names:

            def hook(
                _: nn.Module, args: tuple[Any, ...], output: Any, name: str = name
            ) -> Tensor | None:
                return change(name, args[0] if args else None, output)

            hooks.callback(model.get_submodule(name).register_forward_hook(hook).remove)
        yield
