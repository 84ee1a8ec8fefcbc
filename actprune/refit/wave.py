"""Run all batches side by side, layer by layer, while weights are being found.

A layer's new weights are fitted on what all batches bring to it, and what they bring depends on the
layers before it. Running the model from its start for every layer costs the square of its depth;
here every batch has one forward pass, which halts at each layer to be fitted and goes on with the
new weights. Each pass lives in a thread of its own, and one thread runs at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from actprune.data.batch import Batch
from actprune.refit.places import Place
from actprune.running.fastpath import module_by_module
from actprune.running.joins import ADDS, Tap, following
from actprune.running.substitute import Affine, compute, linear_or_conv, substituted

MOST = 128  # batches, and so threads; what halts is kept in memory


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare tensors
class Seen:
    """What one batch brings to a layer: its input, its output with the weights so far and, where
    the output joins a stream, the sum, and the factor of the normalizations between."""

    input: Tensor
    output: Tensor
    total: Tensor | None
    scale: Tensor | None


class OutOfOrderError(Exception):
    """A pass halted at another layer than the one asked for."""


class _Ended(BaseException):
    """Ends a pass that nobody waits for; no model's own handler may catch it."""


class _Pass(TorchFunctionMode):
    """One batch's forward pass, which halts at every place until it is told the new weights."""

    def __init__(self, wave: Wave, batch: Batch) -> None:
        super().__init__()
        self._wave, self._batch = wave, batch
        self._go, self._halted = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stop = False
        self.seen: tuple[str, Seen] | None = None
        self.error: BaseException | None = None
        self.tap: Tap | None = None  # follows the output of the last place to its sum
        self._place: Place | None = None

    def resume(self) -> None:
        """Let the pass run to its next halt, or to its end; raises what it raised."""
        self.seen = None
        if not self._thread.is_alive():
            self._thread.start()
        self._go.release()
        self._halted.acquire()
        if self.error is not None:
            raise self.error

    def end(self) -> None:
        """Give the pass up."""
        if self._thread.is_alive():
            self._stop = True
            self._go.release()
            self._thread.join()

    def _run(self) -> None:
        try:
            self._go.acquire()
            if not self._stop:
                with torch.no_grad(), self:  # both hold for one thread only
                    self._batch.run(self._wave.model)
        except _Ended:
            pass
        except BaseException as e:  # told to the one who waits
            self.error = e
        finally:
            self._halted.release()

    def _halt(self, name: str, seen: Seen) -> Affine | None:
        self.seen = (name, seen)
        self._halted.release()
        self._go.acquire()
        if self._stop:
            raise _Ended
        return self._wave.weights.get(name)

    def arrive(self, place: Place, x: Tensor, out: Tensor) -> Tensor | None:
        """The layer of `place` has run."""
        if place.joins:
            self._place, self.tap = place, Tap(stop_at=None)
            self.tap.saw_layer(x, out)
            return None
        new = self._halt(place.name, Seen(input=x, output=out, total=None, scale=None))
        return (
            None if new is None else compute(linear_or_conv(self._wave.model, place.name), new, x)
        )

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tap = self.tap
        if tap is None or func not in ADDS or not tap.joins(args, kwargs):
            return func(*args, **kwargs)
        before = tap.current
        assert before is not None
        names = [k for k in ("input", "other") if k in kwargs]
        operands = [*args[:2], *(kwargs[k] for k in names)]
        other = next(x for x in operands if x is not before).clone()
        total = func(*args, **kwargs)
        if total.shape != before.shape:
            return total
        self.tap, place = None, self._place
        assert place is not None
        assert tap.input is not None
        assert tap.output is not None
        seen = Seen(input=tap.input, output=tap.output, total=total, scale=tap.scale)
        new = self._halt(place.name, seen)
        if new is None:
            return total
        with torch._C.DisableTorchFunction():
            x = compute(linear_or_conv(self._wave.model, place.name), new, tap.input)
            for norm in tap.norms:
                x = norm(x)
            return total.copy_(x + other)


class Wave:
    """All batches, halted at the same layer."""

    def __init__(self, model: nn.Module, batches: Sequence[Batch], places: Sequence[Place]) -> None:
        self.model, self._places = model, {p.name: p for p in places}
        self.weights: dict[str, Affine] = {}  # those found so far
        self._passes = [_Pass(self, b) for b in batches]
        self._now: _Pass | None = None

    def advance(self, name: str) -> Iterator[Seen]:
        """Every batch's arrival at the layer `name`, the next one in running order."""
        for run in self._passes:
            self._now = run
            run.resume()
            at, seen = run.seen or ("", None)
            if at != name or seen is None:
                raise OutOfOrderError(f"expected {name}, got {at or 'the end'}")
            yield seen

    def arrive(self, name: str, x: Tensor, out: Tensor) -> Tensor | None:
        """Called by the layer's hook, in the thread of the pass that runs now."""
        assert self._now is not None
        return self._now.arrive(self._places[name], x, out)

    def tap(self) -> Tap | None:
        """Of the pass that runs now."""
        return None if self._now is None else self._now.tap

    def end(self) -> None:
        """Give all passes up."""
        for run in self._passes:
            self._now = run
            run.end()


@contextmanager
def riding(
    model: nn.Module,
    batches: Sequence[Batch],
    places: Sequence[Place],
    plain: Mapping[str, Affine],
) -> Iterator[Wave]:
    """A wave over `batches`, in which layers compute with `plain`, or else their own weights, until
    `weights` has better ones.

    Each place must run once in a pass; the batches' passes must meet the places in the same order.
    """
    wave = Wave(model, batches, places)
    with ExitStack() as stack:
        stack.enter_context(substituted(model, plain))
        stack.enter_context(module_by_module())
        stack.enter_context(following(model, wave.tap))
        for place in places:

            def hook(
                _: nn.Module, args: tuple[Any, ...], out: Tensor, name: str = place.name
            ) -> Tensor | None:
                return wave.arrive(name, args[0], out)

            handle = model.get_submodule(place.name).register_forward_hook(hook)
            stack.callback(handle.remove)
        stack.callback(wave.end)
        yield wave


def keeps_order(model: nn.Module, batch: Batch, places: Sequence[Place]) -> bool:
    """Whether a pass halts at the places one after the other: not where two of them join the same
    sum, since the second runs before the first one's sum is there."""
    with riding(model, [batch], places, {}) as wave:
        try:
            return all(len(list(wave.advance(place.name))) == 1 for place in places)
        except OutOfOrderError:
            return False
