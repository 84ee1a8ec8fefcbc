"""Watch a model while the Trainer of Lightning trains it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from actprune.errors import ActpruneError
from actprune.integrations.watching import Watching

if TYPE_CHECKING:
    from lightning.pytorch import Callback  # pyright: ignore[reportMissingImports]
else:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        try:
            from pytorch_lightning import Callback  # the same, under its older name
        except ImportError as e:
            raise ActpruneError(
                "ActivationCallback needs Lightning; install it with "
                'pip install "actprune[lightning]".'
            ) from e


class ActivationCallback(Watching, Callback):
    """Counts how units fire along a training, and saves the profile at its end.

        watch = ActivationCallback("profile.safetensors", module="net", every=10, window=100)
        Trainer(callbacks=[watch]).fit(lightning_module, loader)
        watch.profile, watch.windows

    Validation is left out unless `evaluation=True`; the sanity check before the training always is.
    """

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        module: str = "",
        evaluation: bool = False,
        **options: Any,
    ) -> None:
        """As `Watching`.

        Args:
            path: see there.
            module: name of the part of the LightningModule to watch, such as the `net` that
                `training_step` calls; "" is the LightningModule itself, if it is called as a whole,
                `self(x)`.
            evaluation: see there.
            options: see there.
        """
        super().__init__(path, evaluation=evaluation, **options)
        self._module = module

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to watch.

        Raises:
            ActpruneError: if there is no such module, or the model is compiled.
        """
        try:
            module = pl_module.get_submodule(self._module)
        except AttributeError as e:
            names = ", ".join(name for name, _ in pl_module.named_children())
            raise ActpruneError(
                f"{type(pl_module).__name__} has no module {self._module!r}; it has {names}."
            ) from e
        if getattr(pl_module, "_compiler_ctx", None) is not None:
            raise ActpruneError(
                f"{type(pl_module).__name__} is compiled, and compiled code does not call hooks; "
                f"fit the module itself, or do without this callback."
            )
        self._start(module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End, and save the profile if there is a path for it."""
        self._finish(trainer.global_rank)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Take the hooks away; what was counted stays in `profile`."""
        self._stop()
