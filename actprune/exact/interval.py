"""Tensors that stand for every value between two bounds, followed through a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

Path: TypeAlias = tuple[str, ...]  # what happened to a producer's output, in words
Rule: TypeAlias = Callable[..., "Bounds"]
INFINITE = float("inf")


class StoppedError(Exception):
    """The forward pass does what bounds cannot follow; the message names it."""


class Bounds:
    """low and high: float64, of the tensor's shape; `word`: what the operation does to a path."""

    def __init__(self, low: Tensor, high: Tensor, word: str | None = None) -> None:
        self.low, self.high, self.word = low, high, word


class Interval(Tensor):
    """A tensor of which only bounds are known, and one value between them.

    low, high: float64. value: one possible value, so that code that asks for shapes runs.
    paths: for each producer whose units these are, what happened since; noted when `version` writes
    had been made to the memory of the bounds, and true until the next one.
    """

    low: Tensor
    high: Tensor
    value: Tensor
    paths: Mapping[str, Path]
    version: int

    @staticmethod
    def __new__(cls, low: Tensor, high: Tensor, value: Tensor) -> Interval:
        made = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls, value.shape, strides=value.stride(), dtype=value.dtype, device=value.device
        )
        made.low, made.high, made.value = low, high, value
        made.paths, made.version = {}, 0
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __repr__(self, **_: Any) -> str:
        return f"Interval{tuple(self.shape)}"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise StoppedError(f"{func}, outside the pass that is followed")


def unbounded(value: Tensor) -> Interval:
    """Nothing is known but one possible value."""
    low = torch.full(value.shape, -INFINITE, dtype=torch.float64, device=value.device)
    return Interval(low, -low, value)


class Following(TorchDispatchMode):
    """Applies rules to every operation on intervals while it is the current mode.

    An operation without a rule gives unbounded results, and `unknown` names the first of them. What
    would let the input's values out of sight (Python numbers, shapes that depend on values, writing
    into a plain tensor, random numbers) raises StoppedError.
    """

    def __init__(self, rules: Mapping[Any, Rule], structural: Mapping[Any, str | None]) -> None:
        super().__init__()
        self._rules, self._structural = rules, structural
        self.unknown: str | None = None
        self.before_relu: dict[str, Tensor] = {}  # producer -> low before its (only) ReLU
        self._writes: dict[int, int] = {}  # address of the bounds' memory -> writes into it

    def paths(self, x: Interval) -> Mapping[str, Path]:
        """The paths of `x`; none if it, or what it is a view of, was overwritten since they were
        noted."""
        return x.paths if x.version == self._written_to(x) else {}

    def note_paths(self, x: Interval, paths: Mapping[str, Path]) -> Interval:
        """`x`, with these paths from now on."""
        x.paths, x.version = paths, self._written_to(x)
        return x

    def _written_to(self, x: Interval) -> int:
        return self._writes.get(x.low.untyped_storage().data_ptr(), 0)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise StoppedError(f"{func} draws random numbers")
        flat, _ = tree_flatten((args, kwargs))
        if not any(isinstance(x, Interval) for x in flat):
            return func(*args, **kwargs)
        hidden = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
        if hidden & set(func.tags):
            raise StoppedError(f"{func} depends on values")
        written = _written(func, args, kwargs)
        if any(not isinstance(x, Interval) for x in written):
            raise StoppedError(f"{func} writes into a plain tensor")
        if written:
            return self._in_place(func, args, kwargs, written)
        if func in self._structural:
            return self._apply(func, args, kwargs)
        rule = self._rules.get(func)
        value = func(*tree_map(_value, args), **tree_map(_value, kwargs))
        if rule is None:
            self._miss(func)
            return tree_map(lambda v: unbounded(v) if isinstance(v, Tensor) else v, value)
        found = rule(*args, **kwargs)
        self._note(args, found.word)
        return self._wrapped(found, value, self._after(args, found.word))

    def _wrapped(self, found: Bounds, value: Any, paths: Mapping[str, Path]) -> Any:
        if isinstance(value, (tuple, list)):  # pooling with indices, normalization with statistics
            rest = (unbounded(v) if isinstance(v, Tensor) else v for v in value[1:])
            return (self._wrapped(found, value[0], paths), *rest)
        low, high = found.low, found.high
        made = Interval(
            _like(value, torch.where(low.isnan(), -INFINITE, low)),
            _like(value, torch.where(high.isnan(), INFINITE, high)),
            value,
        )
        return self.note_paths(made, paths)

    def _apply(self, func: Any, args: Any, kwargs: Any) -> Any:
        """An operation that only moves numbers: the same on both bounds."""
        lows, highs, values = (
            func(*tree_map(take, args), **tree_map(take, kwargs)) for take in (_low, _high, _value)
        )
        paths = self._after(args, self._structural[func])
        if isinstance(values, Tensor):
            return self.note_paths(Interval(lows, highs, values), paths)
        return [Interval(*x) for x in zip(lows, highs, values, strict=True)]

    def _in_place(self, func: Any, args: Any, kwargs: Any, written: Sequence[Any]) -> Any:
        target = written[0]
        plain = _functional(func)
        rule = self._rules.get(plain)
        if len(written) > 1 or target is not args[0] or rule is None:
            self._miss(func)
            func(*tree_map(_value, args), **tree_map(_value, kwargs))
            for x in written:
                self._count(x)
                x.low.fill_(-INFINITE)
                x.high.fill_(INFINITE)
            return target
        found = rule(*args, **kwargs)
        self._note(args, found.word)
        paths = self._after(args, found.word)
        func(*tree_map(_value, args), **tree_map(_value, kwargs))
        target.low.copy_(torch.where(found.low.isnan(), -INFINITE, found.low))
        target.high.copy_(torch.where(found.high.isnan(), INFINITE, found.high))
        self._count(target)
        return self.note_paths(target, paths)

    def _count(self, x: Interval) -> None:
        at = x.low.untyped_storage().data_ptr()
        self._writes[at] = self._writes.get(at, 0) + 1

    def _note(self, args: Any, word: str | None) -> None:
        """Keep how low the units of a producer may be where they enter a ReLU."""
        if word == "relu" and len(known := self.paths(args[0])) == 1:
            (producer,) = known
            self.before_relu[producer] = args[0].low.clone()

    def _after(self, args: Any, word: str | None) -> dict[str, Path]:
        """The operands' paths with `word` added; none where the operation ends them."""
        if word is None:
            return {}
        found: dict[str, Path] = {}
        for x in tree_flatten(args)[0]:
            if isinstance(x, Interval):
                more = (word,) if word else ()
                found |= {p: path + more for p, path in self.paths(x).items()}
        return found

    def _miss(self, func: Any) -> None:
        if self.unknown is None:
            self.unknown = f"{func} has no rule"


def _like(value: Tensor, bound: Tensor) -> Tensor:
    """`bound` laid out in memory as `value`, so that both can be viewed in the same ways."""
    return torch.empty_like(value, dtype=torch.float64).copy_(bound)


def _functional(func: Any) -> Any:
    """aten.relu_.default -> aten.relu.default, or None."""
    name = func._schema.name.removeprefix("aten::")
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None) if name.endswith("_") else None
    return getattr(packet, func._overloadname, None)


def _written(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments that the operation writes into."""
    found = []
    for i, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            x = args[i] if i < len(args) else kwargs.get(argument.name)
            found += [y for y in tree_flatten(x)[0] if isinstance(y, Tensor)]
    return found


def _low(x: Any) -> Any:
    return x.low if isinstance(x, Interval) else _double(x)


def _high(x: Any) -> Any:
    return x.high if isinstance(x, Interval) else _double(x)


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Interval) else x


def _double(x: Any) -> Any:
    return x.double() if isinstance(x, Tensor) and x.is_floating_point() else x
