"""Follow what producers make through a forward pass, from call to call, to where it is read.

The function may be a module, a call, or several calls written out (x * sigmoid(x)). A producer's
output is followed from call to call: through what keeps units apart from one another (batch
normalization, pooling, reshaping of rows) to the tensor that elementwise calls start from, the
pre-activation, and on to the one tensor that these calls end in, which something else then reads.
At a gated site f(gate) * value the function is f: its input is the gate, its output comes before
the product.

Shapes: S samples, U units, P positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from actprune.auditing.activation import Activation, See
from actprune.auditing.calls import (
    AFFINE,
    CARRY,
    CURVED,
    FOREIGN_IS_FINE,
    LAYERS,
    PARTS,
    READ,
    ROWS,
)
from actprune.running.fastpath import module_by_module
from actprune.running.hooks import changing_outputs
from actprune.sites.site import Site


@dataclass(slots=True, eq=False)
class Thread:
    """One producer's output, or a part of it, on its way."""

    site: Site
    producer: str
    conv: bool
    part: int = -1
    restarts: int = 0
    steps: int = 0
    start: Tensor | None = None  # the pre-activation's values, kept where they are asked for
    ends: dict[int, tuple[tuple[str, ...], bool]] = field(default_factory=dict)
    unknown: str | None = None  # a call that is not known to be elementwise, nor to end anything


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    tensor: Tensor  # held, so that its id stays its own
    version: int
    thread: Thread
    step: int
    names: tuple[str, ...]
    curved: bool


class Follower(TorchFunctionMode):
    """Follows the producers' outputs; calls `see` at the ends in `wanted`."""

    def __init__(self, wanted: Mapping[tuple[str, int, int, int], Activation], see: See | None):
        super().__init__()
        self.threads: list[Thread] = []
        self._wanted, self._see = wanted, see
        self._starts = {key[:3] for key in wanted}
        self._members: dict[int, _Member] = {}

    def start(self, site: Site, producer: str, out: Any, conv: bool) -> Tensor | None:
        """Begin to follow `out`; returns what takes its place, or None."""
        if not isinstance(out, Tensor):
            return None
        thread = Thread(site, producer, conv)
        self.threads.append(thread)
        with torch._C.DisableTorchFunction():  # what happens here is not the model's own doing
            return self._begin(thread, out)

    def forget(self) -> None:
        """Be ready for the next forward pass."""
        self.threads.clear()
        self._members.clear()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = _name(func)
        operands = [] if name == "get" else list(_tensors((args, kwargs)))  # get: an attribute
        mine = [m for x in operands if (m := self._member(x)) is not None]
        if not mine:
            return func(*args, **kwargs)
        for member in mine:
            self._keep(member)
        out = func(*args, **kwargs)
        if not any(True for _ in _tensors(out)):
            return out  # a shape, a number
        known = {id(m.tensor) for m in mine}
        foreign = [
            x
            for x in operands
            if id(x) not in known and not isinstance(x, nn.Parameter) and x.numel() > 1
        ]
        together = all(m.thread is mine[0].thread for m in mine)
        if name in FOREIGN_IS_FINE:
            foreign = []
        if together and not foreign and isinstance(out, Tensor):
            if name in AFFINE | CURVED and out.shape == mine[0].tensor.shape:
                return self._step(mine, name, out)
            if not mine[0].curved and self._carries(mine[0], name, out):
                mine[0].thread.restarts += 1
                return _or(self._begin(mine[0].thread, out), out)
        first = mine[0]
        if together and not first.curved and first.thread.part < 0 and name in PARTS:
            parts = [x for x in _tensors(out) if _is_part(x, first.tensor, first.thread.site.units)]
            if parts:
                return self._split(first.thread, parts, out)
        for member in mine:
            self._end(member, name)
        return out

    def _member(self, x: Tensor) -> _Member | None:
        member = self._members.get(id(x))
        if member is None or member.tensor is not x or member.version != x._version:
            return None
        return member

    def _keep(self, member: _Member) -> None:
        """Keep the pre-activation's values before a call, which may overwrite them."""
        thread = member.thread
        key = (thread.producer, thread.part, thread.restarts)
        if key in self._starts and thread.start is None and not member.step:
            thread.start = member.tensor.detach().clone()

    def _begin(self, thread: Thread, out: Tensor) -> Tensor | None:
        thread.steps, thread.start = 0, None
        self._members[id(out)] = _Member(out, out._version, thread, 0, (), False)
        return self._arrived(thread, out)

    def _step(self, mine: list[_Member], name: str, out: Tensor) -> Tensor:
        thread = mine[0].thread
        thread.steps += 1
        names = tuple(dict.fromkeys(n for m in mine for n in m.names))
        # a product of two numbers that both hang on the input is no straight line
        curved = any(m.curved for m in mine) or name in CURVED or len(mine) > 1
        if name not in AFFINE or len(mine) > 1:
            names = (*names, *(() if name in names else (name,)))
        member = _Member(out, out._version, thread, thread.steps, names, curved)
        self._members[id(out)] = member
        instead = self._arrived(thread, out)
        if instead is None:
            return out
        if out is mine[0].tensor:  # in place: whoever holds the tensor must see it
            return out.copy_(instead)
        return instead

    def _arrived(self, thread: Thread, out: Tensor) -> Tensor | None:
        """Call `see` if `out` is the end that is looked for, and follow it no longer."""
        key = (thread.producer, thread.part, thread.restarts, thread.steps)
        wanted = self._wanted.get(key)
        if wanted is None or self._see is None:
            return None
        before = out if thread.start is None else thread.start
        thread.start = None
        self._members = {i: m for i, m in self._members.items() if m.thread is not thread}
        return self._see(wanted, before, out)

    def _carries(self, member: _Member, name: str, out: Tensor) -> bool:
        if name in CARRY:
            axis = 1 if member.thread.conv else -1
            return out.ndim > 1 and out.shape[axis] == member.tensor.shape[axis]
        # rows stay in order; units stay along the last axis
        return name in ROWS and not member.thread.conv and _last_axis_stays(member.tensor, out)

    def _split(self, thread: Thread, parts: list[Tensor], out: Any) -> Any:
        others = [t for t in self.threads if t.producer == thread.producer and t.part >= 0]
        for i, x in enumerate(parts, start=len(others)):
            child = Thread(thread.site, thread.producer, thread.conv, i, thread.restarts)
            self.threads.append(child)
            self._begin(child, x)
        return out

    def _end(self, member: _Member, name: str) -> None:
        if member.tensor.dtype == torch.bool:
            return
        thread = member.thread
        # without an activation function so far, one may still come, unless a layer reads the units
        allowed = READ | CARRY | ROWS | PARTS | AFFINE if member.curved else LAYERS
        if name not in allowed:
            thread.unknown = name
        thread.ends[member.step] = (member.names, member.curved)


@contextmanager
def following(model: nn.Module, sites: Iterable[Site], follower: Follower) -> Iterator[None]:
    by_producer = {p.module: s for s in sites for p in s.producers}

    def begin(name: str, _x: Any, out: Any) -> Tensor | None:
        conv = isinstance(model.get_submodule(name), nn.modules.conv._ConvNd)
        return follower.start(by_producer[name], name, out, conv)

    def forget(_m: nn.Module, _a: Any) -> None:
        follower.forget()

    with ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(forget).remove)
        stack.enter_context(changing_outputs(model, by_producer, begin))
        stack.enter_context(module_by_module())
        stack.enter_context(follower)
        yield


def _name(func: Any) -> str:
    return str(getattr(func, "__name__", "")).strip("_")


def _tensors(x: Any) -> Iterator[Tensor]:
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, (tuple, list)):
        for y in x:
            yield from _tensors(y)
    elif isinstance(x, dict):
        yield from _tensors(list(x.values()))


def _is_part(x: Tensor, whole: Tensor, units: int) -> bool:
    return (
        x.ndim == whole.ndim
        and x.shape[:-1] == whole.shape[:-1]
        and x.shape[-1] == units < whole.shape[-1]
    )


def _last_axis_stays(x: Tensor, out: Tensor) -> bool:
    return out.ndim > 0 and out.shape[-1] == x.shape[-1] and out.numel() == x.numel()


def _or(instead: Tensor | None, out: Tensor) -> Tensor:
    return out if instead is None else instead
