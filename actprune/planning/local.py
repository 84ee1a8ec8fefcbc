"""The local forecast: what a cut does to the loss, by one forward derivative per batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from actprune.data.batch import Batch
from actprune.planning.result import Forecast
from actprune.running.hooks import changing_outputs
from actprune.running.loss import Loss, second_order
from actprune.running.outputs import primary
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import Affine, compute, linear_or_conv, substituted

RESAMPLES = 2_000


def local_forecast(
    model: nn.Module,
    maps: Mapping[str, Affine],
    batches: Iterable[Batch],
    loss: Loss,
    *,
    level: float,
    seed: int,
) -> Forecast:
    """Forecast the mean loss change of replacing consumers' weights by `maps`.

    With e the change a consumer's new weights make to its output on the inputs it gets in the
    pruned stream, and J the dense network's Jacobian from there, t = sum of J e over consumers
    approximates the change of the output, and the loss changes by g^T t + 1/2 t^T H t per sample
    (theory: ours; generalized Gauss-Newton, Martens 2020, arXiv 1412.1193, section 8).

    The interval is a percentile bootstrap over samples, widened in quadrature by the gap between
    the quadratic form and the loss at the linearized output, an estimate of what the second order
    leaves out.

    Args:
        batches: samples used neither for training nor for `maps`.
        level: of the two-sided interval.
        seed: of the bootstrap.
    """
    device = device_of(model)
    quadratic, linearized = [], []
    with undisturbed(model):
        for batch in batches:
            moved = batch.to(device)
            out, change = _linearized(model, moved, _injected(model, maps, moved))
            quadratic.append(second_order(loss, out, change, moved.labels).cpu().numpy())
            at = out.double()
            before = loss.per_sample(at, at, moved.labels)
            after = loss.per_sample(at + change.double(), at, moved.labels)
            linearized.append((after - before).cpu().numpy())
    d, d_lin = np.concatenate(quadratic), np.concatenate(linearized)
    low, high = bootstrap_mean(d, level=level, seed=seed)
    point = float(d.mean())
    beyond = float(d_lin.mean()) - point
    return Forecast(
        loss_delta=point,
        low=point - float(np.hypot(point - low, beyond)),
        high=point + float(np.hypot(high - point, beyond)),
        level=level,
        samples=len(d),
    )


def bootstrap_mean(values: np.ndarray, *, level: float, seed: int) -> tuple[float, float]:
    """Two-sided percentile interval of the mean of per-sample values, shape (n,)."""
    rng = np.random.default_rng(seed)
    n = len(values)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        means[i] = values[rng.integers(0, n, n)].mean()
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


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

    with forward_ad.dual_level(), changing_outputs(model, errors, inject):
        dual = forward_ad.unpack_dual(primary(batch.run(model)))
        out, change = dual.primal, dual.tangent
    return out, torch.zeros_like(out) if change is None else change
