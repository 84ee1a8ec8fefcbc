"""Loss and accuracy of a classifier."""

from __future__ import annotations

from torch import nn

from actprune.data.source import Arrays
from actprune.running.evaluate import loss_for
from actprune.running.outputs import primary
from actprune.running.state import undisturbed


def score(model: nn.Module, data: Arrays) -> dict[str, float]:
    """Mean cross-entropy (nats) and accuracy (0 to 1) over `data`."""
    batches = list(data.batches(500))
    loss = loss_for(model, batches, "cross_entropy")
    nats = right = 0.0
    with undisturbed(model):
        for batch in batches:
            out = primary(batch.run(model))
            nats += float(loss.per_sample(out, out, batch.labels).sum())
            right += float(loss.metrics["accuracy"](out, out, batch.labels).sum())
    n = len(data.ids)
    return {"loss": nats / n, "accuracy": right / n}
