"""The local forecast: what a cut does to the loss, by one forward derivative per batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from actprune.data.batch import Batch
from actprune.planning.loss_change import LossChange
from actprune.planning.result import Forecast
from actprune.running.hooks import changing_outputs
from actprune.running.loss import Loss, second_order
from actprune.running.outputs import primary
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import Affine, compute, linear_or_conv, substituted


def local_forecast(
    model: nn.Module,
    maps: Mapping[str, Affine],
    batches: Iterable[Batch],
    loss: Loss,
    *,
    level: float,
) -> Forecast:
    """Forecast the mean loss change of replacing consumers' weights by `maps`, without trying them.

    With e the change a consumer's new weights make to its output on the inputs it gets in the
    pruned stream, and J the dense network's Jacobian from there, t = sum of J e over consumers
    approximates the change of the output: the network is taken as linear around the dense one, the
    loss is not, and changes by loss(f + t) - loss(f) per sample (ours). Its second order
    g^T t + 1/2 t^T H t is the generalized Gauss-Newton form (Martens 2020, arXiv 1412.1193,
    section 8), which large changes leave behind.

    The interval is that of the mean over samples (`LossChange`), widened in quadrature by the gap
    between the two forms: where even the loss bends that much along t, so may the network.

    Args:
        batches: samples used neither for training nor for `maps`; two at least.
        level: of the two-sided interval.
    """
    device = device_of(model)
    linearized = LossChange(loss)
    gap, samples = 0.0, 0
    with undisturbed(model):
        for batch in batches:
            moved = batch.to(device)
            out, change = _linearized(model, moved, _injected(model, maps, moved))
            dense = out.double()
            after = dense + change.double()
            linearized.add(dense, after, moved.labels)
            full = loss.per_sample(after, dense, moved.labels)
            full = full - loss.per_sample(dense, dense, moved.labels)
            gap += float((full - second_order(loss, out, change, moved.labels)).sum())
            samples += len(full)
    found = linearized.estimate(level)
    beyond = gap / samples
    return Forecast(
        method="local",
        loss_delta=found.point,
        low=found.point - float(np.hypot(found.point - found.low, beyond)),
        high=found.point + float(np.hypot(found.high - found.point, beyond)),
        level=level,
        samples=found.samples,
    )


def _injected(model: nn.Module, maps: Mapping[str, Affine], batch: Batch) -> dict[str, Tensor]:
    """e at each consumer: new weights minus old on the same pruned-stream input."""
    errors: dict[str, Tensor] = {}

    def see(name: str, x: Tensor, out: Tensor) -> None:
        layer = linear_or_conv(model, name)
        own = Affine(weight=layer.weight, bias=layer.bias)
        errors[name] = out - compute(layer, own, x)

    with substituted(model, maps), changing_outputs(model, maps, see):
        batch.run(model)
    return errors


def _linearized(
    model: nn.Module, batch: Batch, errors: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """The dense output and its forward derivative along `errors` at the consumers' outputs."""

    def inject(name: str, _x: Tensor, out: Tensor) -> Tensor:
        return out + forward_ad.make_dual(torch.zeros_like(out), errors[name])

    # the fused kernels of attention have no forward derivative
    with (
        forward_ad.dual_level(),
        changing_outputs(model, errors, inject),
        sdpa_kernel(SDPBackend.MATH),
    ):
        dual = forward_ad.unpack_dual(primary(batch.run(model)))
        out, change = dual.primal, dual.tangent
    return out, torch.zeros_like(out) if change is None else change
