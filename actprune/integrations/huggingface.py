"""Watch a model while the Trainer of transformers trains it."""

from __future__ import annotations

from typing import Any

from torch import nn

from actprune.errors import ActpruneError
from actprune.integrations.watching import Watching

try:
    from transformers import TrainerCallback
except ImportError as e:
    raise ActpruneError(
        'ActivationCallback needs transformers; install it with pip install "actprune[hf]".'
    ) from e


class ActivationCallback(Watching, TrainerCallback):
    """Counts how units fire along a training, and saves the profile at its end.

        watch = ActivationCallback("profile.safetensors", every=10, window=100)
        Trainer(model, args, train_dataset=data, callbacks=[watch]).train()
        watch.profile, watch.windows

    Evaluation is left out unless `evaluation=True`. The first pass finds the sites, on its own
    inputs unless an `example` is given. A Trainer tells callbacks nothing of an error: where hooks
    must be gone after one, use `with actprune.Profiler(model): trainer.train()` instead.
    """

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: nn.Module | None = None, **_: Any
    ) -> None:
        """Begin to watch.

        Raises:
            ActpruneError: if the Trainer compiles the model, whose hooks would not be called.
        """
        if getattr(args, "torch_compile", False):
            raise ActpruneError(
                "The Trainer compiles the model (torch_compile=True), and compiled code does not "
                "call hooks; train without, or without this callback."
            )
        assert model is not None  # the Trainer always passes it
        self._start(model)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End, and save the profile if there is a path for it."""
        self._finish(args.process_index)
