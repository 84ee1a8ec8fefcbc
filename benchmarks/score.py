"""Loss and accuracy of a classifier."""

from __future__ import annotations

from torch import nn

from actprune.data.source import Arrays
from actprune.running.evaluate import loss_for
from actprune.running.scores import scored


def score(model: nn.Module, data: Arrays) -> dict[str, float]:
    """Mean cross-entropy (nats) and accuracy (0 to 1) over `data`."""
    batches = list(data.batches(500))
    found = scored(model, batches, loss_for(model, batches, "cross_entropy"))
    return {"loss": float(found.losses.mean()), "accuracy": found.mean_metrics["accuracy"]}
