"""Find each site's activation function in a forward pass: what goes in, what comes out.

The function may be a module, a call, or several calls written out (x * sigmoid(x)). A producer's
output is followed from call to call: through what keeps units apart from one another (batch
normalization, pooling, reshaping of rows) to the tensor that elementwise calls start from, the
pre-activation, and on to the one tensor that these calls end in, which something else then reads.
At a gated site f(gate) * value the function is f: its input is the gate, its output comes before
the product.

Shapes: S samples, U units, P positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from actprune.data.batch import Batch
from actprune.running.fastpath import module_by_module
from actprune.running.forward import run_checked
from actprune.running.hooks import changing_outputs
from actprune.sites.site import Site


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# calls by name without underscores, whether function, method or in place
_AFFINE = _words("""
    add radd iadd sub rsub isub mul rmul imul multiply div rdiv idiv truediv rtruediv itruediv
    divide neg negative positive to type type_as float half bfloat16 double contiguous clone detach
    identity dropout dropout1d dropout2d alpha_dropout feature_dropout feature_alpha_dropout
""")
_CURVED = _words("""
    relu relu6 gelu silu tanh sigmoid hardtanh hardswish hardsigmoid leaky_relu elu selu celu
    softplus softsign mish logsigmoid log_sigmoid prelu threshold hardshrink softshrink tanhshrink
    abs absolute exp expm1 log log1p sqrt rsqrt reciprocal square pow rpow ipow clamp clamp_min
    clamp_max clip maximum minimum erf erfc sin cos atan sign heaviside floor round where gt lt ge
    le eq ne isnan isfinite isinf masked_fill nan_to_num sinc
""")
_CARRY = _words("""
    batch_norm group_norm layer_norm instance_norm rms_norm max_pool1d max_pool2d avg_pool1d
    avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d
    max_pool2d_with_indices pad
""")
_ROWS = _words("view reshape flatten unflatten unsqueeze squeeze")
_PARTS = _words("chunk split narrow getitem tensor_split unsafe_chunk unsafe_split")
_READ = _words("""
    linear conv1d conv2d conv3d matmul mm bmm addmm baddbmm einsum cat concat concatenate stack
    transpose permute movedim mean sum amax swapaxes t mT expand repeat index_select
    scaled_dot_product_attention interpolate
""")
_LAYERS = _words("linear conv1d conv2d conv3d addmm")
_FOREIGN_IS_FINE = _CARRY | {"to", "type_as"}  # a normalization's statistics, a type to take over

# pieces of straight lines: equal outputs of different inputs are equal exactly, not by rounding
STRAIGHT = frozenset(
    {"relu", "relu6", "leaky_relu", "hardtanh", "abs", "clamp", "clamp_min", "prelu", "threshold"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """Where a site's activation function runs, and what it is."""

    site: Site
    names: tuple[str, ...]  # of its calls; empty where the consumer reads the producer's own output
    producer: str
    conv: bool  # the units lie along axis 1, not along the last
    part: int  # of the producer's output, where that was split into gate and value; -1 if not
    restarts: int  # normalizations, poolings and reshapes before it
    step: int  # elementwise calls from the pre-activation on

    @property
    def name(self) -> str:
        return ", ".join(self.names) or "none"

    @property
    def compared(self) -> str:
        """What is held against what, in words."""
        if not self.names:
            return f"what {self.site.consumer.module} reads, with itself: no activation function"
        words = f"input and output of {self.name} behind {self.producer}"
        if self.site.kind == "gated":
            return f"{words} (the gate; the product with the value is left out)"
        return words

    @property
    def straight(self) -> bool:
        """Whether different inputs give equal outputs only where the function is flat."""
        return set(self.names) <= STRAIGHT | _AFFINE

    def by_unit(self, x: Tensor, samples: int) -> Tensor:
        """A pre-activation or activation as [S, U, P]."""
        if self.conv:
            return x.reshape(samples, x.shape[1], -1)
        return x.reshape(samples, -1, x.shape[-1]).transpose(1, 2)

    def as_before(self, x_SUP: Tensor, like: Tensor) -> Tensor:
        """The inverse of `by_unit`, in the shape and type of `like`."""
        x = x_SUP if self.conv else x_SUP.transpose(1, 2)
        return x.reshape(like.shape).to(like.dtype)


# (activation, pre-activation, activation's output) -> what takes the output's place, or None
See: TypeAlias = Callable[[Activation, Tensor, Tensor], Tensor | None]


@dataclass(slots=True, eq=False)
class _Thread:
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
    thread: _Thread
    step: int
    names: tuple[str, ...]
    curved: bool


class _Follower(TorchFunctionMode):
    """Follows the producers' outputs; calls `see` at the ends in `wanted`."""

    def __init__(self, wanted: Mapping[tuple[str, int, int, int], Activation], see: See | None):
        super().__init__()
        self.threads: list[_Thread] = []
        self._wanted, self._see = wanted, see
        self._starts = {key[:3] for key in wanted}
        self._members: dict[int, _Member] = {}

    def start(self, site: Site, producer: str, out: Any, conv: bool) -> Tensor | None:
        """Begin to follow `out`; returns what takes its place, or None."""
        if not isinstance(out, Tensor):
            return None
        thread = _Thread(site, producer, conv)
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
        if name in _FOREIGN_IS_FINE:
            foreign = []
        if together and not foreign and isinstance(out, Tensor):
            if name in _AFFINE | _CURVED and out.shape == mine[0].tensor.shape:
                return self._step(mine, name, out)
            if not mine[0].curved and self._carries(mine[0], name, out):
                mine[0].thread.restarts += 1
                return _or(self._begin(mine[0].thread, out), out)
        first = mine[0]
        if together and not first.curved and first.thread.part < 0 and name in _PARTS:
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

    def _begin(self, thread: _Thread, out: Tensor) -> Tensor | None:
        thread.steps, thread.start = 0, None
        self._members[id(out)] = _Member(out, out._version, thread, 0, (), False)
        return self._arrived(thread, out)

    def _step(self, mine: list[_Member], name: str, out: Tensor) -> Tensor:
        thread = mine[0].thread
        thread.steps += 1
        names = tuple(dict.fromkeys(n for m in mine for n in m.names))
        # a product of two numbers that both hang on the input is no straight line
        curved = any(m.curved for m in mine) or name in _CURVED or len(mine) > 1
        if name not in _AFFINE or len(mine) > 1:
            names = (*names, *(() if name in names else (name,)))
        member = _Member(out, out._version, thread, thread.steps, names, curved)
        self._members[id(out)] = member
        instead = self._arrived(thread, out)
        if instead is None:
            return out
        if out is mine[0].tensor:  # in place: whoever holds the tensor must see it
            return out.copy_(instead)
        return instead

    def _arrived(self, thread: _Thread, out: Tensor) -> Tensor | None:
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
        if name in _CARRY:
            axis = 1 if member.thread.conv else -1
            return out.ndim > 1 and out.shape[axis] == member.tensor.shape[axis]
        # rows stay in order; units stay along the last axis
        return name in _ROWS and not member.thread.conv and _last_axis_stays(member.tensor, out)

    def _split(self, thread: _Thread, parts: list[Tensor], out: Any) -> Any:
        others = [t for t in self.threads if t.producer == thread.producer and t.part >= 0]
        for i, x in enumerate(parts, start=len(others)):
            child = _Thread(thread.site, thread.producer, thread.conv, i, thread.restarts)
            self.threads.append(child)
            self._begin(child, x)
        return out

    def _end(self, member: _Member, name: str) -> None:
        if member.tensor.dtype == torch.bool:
            return
        thread = member.thread
        # without an activation function so far, one may still come, unless a layer reads the units
        allowed = _READ | _CARRY | _ROWS | _PARTS | _AFFINE if member.curved else _LAYERS
        if name not in allowed:
            thread.unknown = name
        thread.ends[member.step] = (member.names, member.curved)


def find_activations(
    model: nn.Module, batch: Batch, sites: Iterable[Site]
) -> tuple[dict[str, Activation], dict[str, str]]:
    """The activation functions of `sites` by site name, and why others have none that was found.

    The model must be in evaluation mode. A few samples are enough.

    Raises:
        ActpruneError: if the model cannot run on the batch.
    """
    sites = tuple(sites)
    follower = _Follower({}, None)
    with _following(model, sites, follower):
        run_checked(model, batch)
    found: dict[str, Activation] = {}
    reasons: dict[str, str] = {}
    for site in sites:
        threads = [t for t in follower.threads if t.site is site and t.ends]
        if site.kind == "gated":
            threads = [t for t in threads if any(curved for _, curved in t.ends.values())]
        unknown = [t.unknown for t in threads if t.unknown]
        if unknown:
            reasons[site.name] = f"{unknown[0]} behind {site.name} is no call that can be judged"
        elif len(threads) != 1:
            reasons[site.name] = f"no activation function was seen behind {site.name}"
        elif len(threads[0].ends) != 1:
            reasons[site.name] = f"what {site.name} makes is read in several ways"
        else:
            (thread,) = threads
            ((step, (names, _)),) = thread.ends.items()
            found[site.name] = Activation(
                site=site,
                names=names,
                producer=thread.producer,
                conv=thread.conv,
                part=thread.part,
                restarts=thread.restarts,
                step=step,
            )
    return found, reasons


@contextmanager
def at_activations(model: nn.Module, activations: Iterable[Activation], see: See) -> Iterator[None]:
    """Within the block call `see` where the given functions run; a tensor it returns takes the
    place of the function's output. No hook outlives the block."""
    wanted = {(a.producer, a.part, a.restarts, a.step): a for a in activations}
    sites = {a.site.name: a.site for a in wanted.values()}
    with _following(model, tuple(sites.values()), _Follower(wanted, see)):
        yield


@contextmanager
def _following(model: nn.Module, sites: Iterable[Site], follower: _Follower) -> Iterator[None]:
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
