"""The basin around the weights: how much noise on them until loss and answers change.

[LZ] Lin, Feng, Zhang & Zhao (arXiv 2501.02436, 2025) look at basins in weight space; the definition
here is ours. Every linear and convolutional layer computes with W + eps ||W|| U / ||U||, Frobenius
norms, U of independent normal entries: only perturbations relative to each layer mean anything
where a normalization follows. Biases, normalizations and embeddings stay. The model's parameters
are never written: the layers compute with other weights for a while (`substituted`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from actprune.auditing.answers import check_answers, handled
from actprune.auditing.choosing import ids_of, some
from actprune.auditing.crossing import Curve, Values, median_crossing, search
from actprune.auditing.result import WeightBasin
from actprune.data.batch import Batch
from actprune.data.split import draw
from actprune.errors import ActpruneError
from actprune.running.loss import Loss
from actprune.running.outputs import primary
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import Affine, substituted
from actprune.sites.calls import observe_calls
from actprune.sites.quantized import quantized_layers

SMALLEST, LIMIT = 2.0**-8, 8.0  # of each layer's norm
HALVINGS = 4
KEPT_BYTES = 2**28  # of unperturbed outputs; more are computed again each time


def weight_basin(
    model: nn.Module,
    batches: Sequence[Batch],
    loss: Loss,
    *,
    rise: float,
    samples: int,
    directions: int,
    level: float,
    seed: int,
    progress: Callable[[str], None] = lambda stage: None,
) -> WeightBasin:
    """Median radii over `directions` draws of U for all layers at once.

    Args:
        rise: of the mean loss over at most `samples` samples drawn by the seed, in its unit.

    Raises:
        ActpruneError: if the model has no layer to perturb.
    """
    chosen = [b.to(device_of(model)) for b in some(batches, samples, seed)]
    with undisturbed(model):
        layers = perturbed_layers(model, chosen[0])
        if not layers:
            raise ActpruneError("the model has no linear or convolutional layer to perturb")
        trial = _Trial(model, chosen, loss)
        thresholds = {"loss": rise}
        if trial.answers:
            thresholds["answers"] = 0.5
        curves: list[Curve] = []
        for k in range(directions):
            progress(f"weight basin: direction {k + 1} of {directions}")
            noise = relative_noise(layers, k, seed)

            def evaluate(eps: float, noise: Mapping[str, Tensor] = noise) -> Values:
                return trial.at(
                    {
                        n: Affine(weight=m.weight + eps * noise[n].to(m.weight), bias=m.bias)
                        for n, m in layers.items()
                    }
                )

            curves.append(
                search(evaluate, thresholds, smallest=SMALLEST, limit=LIMIT, halvings=HALVINGS)
            )
    ids = ids_of(chosen)
    found = {
        name: median_crossing(curves, name, t, ids, level=level, seed=seed)
        for name, t in thresholds.items()
    }
    own = {id(m.weight): m.weight.numel() for m in layers.values()}
    whole = sum(p.numel() for p in model.parameters())
    return WeightBasin(
        loss=found["loss"],
        answers=found.get("answers"),
        level=level,
        samples=len(ids),
        directions=directions,
        layers=len(layers),
        params=sum(own.values()) / whole,
        limit=LIMIT,
    )


def perturbed_layers(model: nn.Module, batch: Batch) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers that run on `batch` and compute what their class says, by name."""
    packed = quantized_layers(model)
    found: dict[str, nn.Linear | nn.Conv2d] = {}
    for name in observe_calls(model, batch.select(torch.arange(min(2, len(batch))))):
        layer = model.get_submodule(name)
        plain = type(layer).forward in (nn.Linear.forward, nn.Conv2d.forward)
        if not plain or name in packed or parametrize.is_parametrized(layer):
            continue
        assert isinstance(layer, (nn.Linear, nn.Conv2d))
        if isinstance(layer, nn.Linear) or layer.padding_mode == "zeros":
            found[name] = layer
    return found


def relative_noise(
    layers: Mapping[str, nn.Linear | nn.Conv2d], k: int, seed: int
) -> dict[str, Tensor]:
    """||W|| U / ||U|| of each layer, on the CPU; another draw for each layer and k."""
    found = {}
    for i, (name, layer) in enumerate(layers.items()):
        key = int(draw(torch.tensor([i]), seed, 64 + k).astype(np.int64)[0])
        u = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(key))
        found[name] = u * (layer.weight.detach().double().norm() / u.double().norm()).float().cpu()
    return found


class _Trial:
    """The model's samples with what it makes of them unperturbed."""

    def __init__(self, model: nn.Module, batches: Sequence[Batch], loss: Loss) -> None:
        self._model, self._batches, self._loss = model, batches, loss
        self._dense: list[Tensor] | None = []
        self._before: list[np.ndarray] = []
        self._answers: list[tuple[Tensor, Tensor]] = []
        self.answers, size = True, 0
        for batch in batches:
            out = primary(batch.run(model))
            self._before.append(loss.per_sample(out, out, batch.labels).cpu().numpy())
            try:
                check_answers(out, batch.labels)
                self._answers.append(handled(out, batch.labels))
            except ActpruneError:
                self.answers = False
            size += out.numel() * out.element_size()
            if self._dense is not None:
                self._dense.append(out)
                if size > KEPT_BYTES:
                    self._dense = None
        if self.answers and not any(bool(right.any()) for _, right in self._answers):
            self.answers = False

    def at(self, maps: Mapping[str, Affine]) -> Values:
        """Each sample's rise of the loss, and its change of answers scaled so that the mean over
        samples is the share of all handled answers."""
        rises, changed = [], []
        total = sum(int(right.sum()) for _, right in self._answers) if self.answers else 1
        n = sum(len(b) for b in self._batches)
        for i, batch in enumerate(self._batches):
            dense = self._reference(i, batch)
            with substituted(self._model, maps):
                out = primary(batch.run(self._model))
            rises.append(
                self._loss.per_sample(out, dense, batch.labels).cpu().numpy() - self._before[i]
            )
            if self.answers:
                answer, right = self._answers[i]
                lost = ((out.argmax(-1) != answer) & right).reshape(len(batch), -1).sum(1)
                changed.append(lost.cpu().numpy() * (n / total))
        values = {"loss": np.concatenate(rises)}
        if self.answers:
            values["answers"] = np.concatenate(changed)
        return values

    def _reference(self, i: int, batch: Batch) -> Tensor:
        return primary(batch.run(self._model)) if self._dense is None else self._dense[i]
