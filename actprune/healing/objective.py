"""What healing makes small: the distance from the dense model's outputs, per sample.

Shapes: S samples; outputs [S, ..., C] for classifiers, [S, ...] otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.healing.settings import HealSettings
from actprune.running.loss import choose_loss, name_loss
from actprune.running.outputs import primary


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What one model made of a batch: its output, and those of the modules asked for."""

    output: Tensor
    hidden: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The loss of healing, float32 or wider [S]: `match`, labels and hidden states if asked for."""

    match: str  # kl or mse
    labelled: str | None  # the labels' own loss, cross_entropy or mse, if it has any weight
    settings: HealSettings

    def __call__(self, small: Seen, dense: Seen, labels: Tensor | None) -> Tensor:
        """Distillation as Hinton, Vinyals & Dean (2015), arXiv 1503.02531, section 2: the softmax
        outputs at temperature T, times T^2, mixed with the labels' cross-entropy at T = 1."""
        s = self.settings
        out, aim = _wide(small.output), _wide(dense.output)
        loss_S = divergence(out, aim, s.temperature) if self.match == "kl" else _error(out, aim)
        if self.labelled is not None:
            assert labels is not None
            loss_S = (1 - s.labels) * loss_S + s.labels * _against(self.labelled, out, labels)
        for name, aim in dense.hidden.items():
            loss_S = loss_S + s.hidden_weight * relative_error(small.hidden[name], aim)
        return loss_S


def divergence(out: Tensor, aim: Tensor, temperature: float) -> Tensor:
    """T^2 KL(dense || pruned) of the softmax outputs at temperature T, nats; mean of positions."""
    log_p = F.log_softmax(aim / temperature, dim=-1)
    log_q = F.log_softmax(out / temperature, dim=-1)
    return temperature**2 * _per_sample((log_p.exp() * (log_p - log_q)).sum(-1))


def relative_error(out: Tensor, aim: Tensor) -> Tensor:
    """Squared difference over the mean square of what is aimed at: 0 the same, 1 all lost.

    Romero et al. (2015), FitNets, ICLR, equation 3, without a regressor; the scale is ours.
    """
    aim = _wide(aim)
    return _error(_wide(out), aim) / aim.square().mean().clamp(min=1e-12)


def objective_for(
    small: Seen, dense: Seen, labels: Tensor | None, settings: HealSettings
) -> Objective:
    """The objective that suits these outputs of one batch (see `choose_loss`).

    Raises:
        ActpruneError: if the two models' outputs differ in shape, or labels have a weight and are
            missing or do not fit.
    """
    if small.output.shape != dense.output.shape:
        raise ActpruneError(
            f"The two models give outputs of other shapes, {tuple(small.output.shape)} after the "
            f"cut and {tuple(dense.output.shape)} before; heal with the model it was pruned from."
        )
    for name, aim in dense.hidden.items():
        if small.hidden[name].shape != aim.shape:
            raise ActpruneError(
                f"heal.hidden: {name} gives {tuple(aim.shape)} before the cut and "
                f"{tuple(small.hidden[name].shape)} after; name a module that lost no outputs."
            )
    if not bool(torch.isfinite(dense.output).all()):
        raise ActpruneError("The dense model's outputs are not finite, so they teach nothing.")
    match = settings.match
    if match == "auto":
        kind = name_loss(None, dense.output, labels)
        match = "kl" if kind in ("kl", "cross_entropy") else "mse"
    labelled = None
    if settings.labels > 0:
        if labels is None:
            raise ActpruneError(
                f"heal.labels={settings.labels:g}: needs labels, and the data have none."
            )
        labelled = name_loss(None, dense.output, labels)
        choose_loss(labelled, dense.output, labels)  # raises where they do not fit
    return Objective(match=match, labelled=labelled, settings=settings)


def look(model: nn.Module, batch: Batch, hidden: Sequence[str]) -> Seen:
    """Run `model` and keep the outputs of the modules called `hidden`."""
    kept: dict[str, Tensor] = {}
    with _keeping(model, hidden, kept):
        output = primary(batch.run(model))
    missed = [n for n in hidden if n not in kept]
    if missed:
        raise ActpruneError(f"heal.hidden: {missed[0]} was not called by the model.")
    return Seen(output=output, hidden=kept)


@contextmanager
def _keeping(model: nn.Module, names: Sequence[str], kept: dict[str, Tensor]) -> Iterator[None]:
    known = dict(model.named_modules())
    unknown = [n for n in names if n not in known]
    if unknown:
        raise ActpruneError(f"heal.hidden: the model has no module called {unknown[0]!r}.")

    def keeper(name: str):
        def keep(_: nn.Module, __: tuple, output: object) -> None:
            kept[name] = primary(output)

        return keep

    hooks = [known[n].register_forward_hook(keeper(n)) for n in names]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _against(kind: str, out: Tensor, labels: Tensor) -> Tensor:
    if kind == "cross_entropy":
        log_p = F.log_softmax(out, dim=-1)
        return _per_sample(-log_p.gather(-1, labels.long().unsqueeze(-1)).squeeze(-1))
    return _error(out, labels.to(out.dtype).reshape(out.shape))


def _error(out: Tensor, aim: Tensor) -> Tensor:
    return _per_sample((out - aim).square())


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _per_sample(x: Tensor) -> Tensor:
    return x.reshape(len(x), -1).mean(-1)
