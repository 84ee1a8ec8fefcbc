"""Per-sample losses and metrics of a model's output.

Shapes: S samples; outputs [S, ..., C] for classifiers, [S, ...] otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from actprune.errors import ActpruneError

# (output, dense model's output, labels or None) -> [S]
PerSample: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]
# (output, dense model's output, temperature) -> [S]
OverLabels: TypeAlias = Callable[[Tensor, Tensor, float], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A loss with the metrics that go with it; all are float64 [S], one value a sample."""

    kind: str  # named in every result, with its unit
    labelled: bool  # False: the divergence from the dense model's outputs
    per_sample: PerSample
    metrics: Mapping[str, PerSample]
    # the expected loss where labels follow softmax(dense / temperature); None: no such labels
    over_labels: OverLabels | None = None


def _mean_over_positions(x: Tensor) -> Tensor:
    return x.reshape(len(x), -1).mean(-1)


def cross_entropy(out: Tensor, dense: Tensor, labels: Tensor | None) -> Tensor:
    """Nats; the mean over a sample's positions."""
    assert labels is not None
    log_p = F.log_softmax(out.double(), dim=-1)
    return _mean_over_positions(-log_p.gather(-1, labels.long().unsqueeze(-1)).squeeze(-1))


def expected_cross_entropy(out: Tensor, dense: Tensor, temperature: float) -> Tensor:
    """Cross-entropy averaged over labels drawn from softmax(dense / temperature), nats."""
    p = F.softmax(dense.double() / temperature, dim=-1)
    return _mean_over_positions(-(p * F.log_softmax(out.double(), dim=-1)).sum(-1))


def kl_from_dense(out: Tensor, dense: Tensor, labels: Tensor | None) -> Tensor:
    """KL(dense || pruned) of the softmax outputs, nats; the mean over a sample's positions."""
    log_p = F.log_softmax(dense.double(), dim=-1)
    log_q = F.log_softmax(out.double(), dim=-1)
    return _mean_over_positions((log_p.exp() * (log_p - log_q)).sum(-1))


def squared_error(out: Tensor, dense: Tensor, labels: Tensor | None) -> Tensor:
    """Mean squared error over a sample's outputs, in the targets' unit squared."""
    assert labels is not None
    return _mean_over_positions((out.double() - labels.double().reshape(out.shape)).square())


def squared_difference(out: Tensor, dense: Tensor, labels: Tensor | None) -> Tensor:
    """Mean squared difference from the dense outputs over a sample's outputs."""
    return _mean_over_positions((out.double() - dense.double()).square())


def accuracy(out: Tensor, dense: Tensor, labels: Tensor | None) -> Tensor:
    """Share of a sample's positions whose arg max is the label."""
    assert labels is not None
    return _mean_over_positions((out.argmax(-1) == labels).double())


def agreement(out: Tensor, dense: Tensor, labels: Tensor | None) -> Tensor:
    """Share of a sample's positions with the same arg max as the dense model."""
    return _mean_over_positions((out.argmax(-1) == dense.argmax(-1)).double())


LOSSES: Mapping[str, Loss] = {
    "cross_entropy": Loss(
        kind="cross_entropy (nats)",
        labelled=True,
        per_sample=cross_entropy,
        metrics={"accuracy": accuracy},
        over_labels=expected_cross_entropy,
    ),
    "mse": Loss(kind="mean squared error", labelled=True, per_sample=squared_error, metrics={}),
    "kl": Loss(
        kind="KL(dense || pruned) of the outputs (nats), no labels",
        labelled=False,
        per_sample=kl_from_dense,
        metrics={"agreement": agreement},
    ),
}


def relative_difference(variance: float) -> Loss:
    """Mean squared difference over the variance of the dense output: 0 unchanged, 1 all lost."""
    if not variance > 0:
        raise ActpruneError(
            "The dense model's output does not vary over the data, so no divergence from it can "
            "be measured; give labels, or other data."
        )
    return Loss(
        kind="mean squared difference / variance of the dense output, no labels",
        labelled=False,
        per_sample=lambda out, dense, labels: squared_difference(out, dense, labels) / variance,
        metrics={},
    )


def name_loss(name: str | None, outputs: Tensor, labels: Tensor | None) -> str:
    """`name`, or the name of the loss that suits the data: see `choose_loss`."""
    if name is not None:
        return name
    if labels is None:
        return "kl" if outputs.ndim >= 2 and outputs.shape[-1] >= 2 else "difference"
    return "mse" if labels.is_floating_point() else "cross_entropy"


def choose_loss(name: str | None, outputs: Tensor, labels: Tensor | None) -> Loss:
    """The loss called `name`, or the one that suits the data.

    Integer labels: cross-entropy. Float labels: mean squared error. No labels: KL where the
    output's last axis has two or more entries (read as logits), else the squared difference from
    the dense outputs over their variance.

    Args:
        name: a key of `LOSSES`, `difference`, or None to choose.
        outputs: dense outputs of some samples, [S, ..., C] or [S, ...].
        labels: their labels, if there are any.

    Raises:
        ActpruneError: for an unknown name, or labels that do not fit the outputs.
    """
    name = name_loss(name, outputs, labels)
    if name == "difference":
        return relative_difference(outputs.double().var(dim=0, correction=0).mean().item())
    if name not in LOSSES:
        raise ActpruneError(
            f"Loss must be one of {', '.join([*LOSSES, 'difference'])}, got {name!r}."
        )
    loss = LOSSES[name]
    if loss.labelled and labels is None:
        raise ActpruneError(f"Loss {name!r} needs labels, and the data have none.")
    if name == "cross_entropy":
        assert labels is not None
        _check_labels(outputs, labels)
    if name == "mse":
        assert labels is not None
        _check_targets(outputs, labels)
    return loss


def _check_targets(outputs: Tensor, labels: Tensor) -> None:
    if len(labels) != len(outputs) or labels.numel() != outputs.numel():
        raise ActpruneError(
            f"Targets must have as many entries as the outputs, "
            f"got targets {tuple(labels.shape)} for outputs {tuple(outputs.shape)}."
        )


def _check_labels(outputs: Tensor, labels: Tensor) -> None:
    if labels.is_floating_point():
        raise ActpruneError(f"Class labels must be integers, got {labels.dtype}.")
    if labels.shape != outputs.shape[:-1]:
        raise ActpruneError(
            f"Class labels must have the outputs' shape without its last axis, "
            f"got labels {tuple(labels.shape)} for outputs {tuple(outputs.shape)}."
        )
    check_classes(labels, outputs.shape[-1])


def check_classes(labels: Tensor, classes: int) -> None:
    """Raise ActpruneError unless every label lies in 0 to `classes` - 1."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ActpruneError(
            f"Class labels must lie in 0 to {classes - 1} for outputs with "
            f"{classes} classes, got {low} to {high}."
        )


def second_order(loss: Loss, out: Tensor, change: Tensor, labels: Tensor | None) -> Tensor:
    """g^T t + 1/2 t^T H t per sample: float64 [S].

    g and H are the gradient and Hessian of each sample's loss in the output at the dense `out`,
    t = `change`. Two nested forward derivatives along t, so that no matrix is formed.
    """

    def along(f: Tensor) -> Tensor:
        return loss.per_sample(f, out, labels)

    f, t = out.double(), change.double()

    def slope(f: Tensor) -> Tensor:
        return torch.func.jvp(along, (f,), (t,))[1]

    derivatives = torch.func.jvp(slope, (f,), (t,))
    return (derivatives[0] + derivatives[1] / 2).detach()
