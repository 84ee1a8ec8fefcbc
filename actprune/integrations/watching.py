"""What the callbacks of all training libraries share: a Profiler that begins and ends."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from torch import nn

from actprune.errors import ActpruneError
from actprune.profiling.live.profiler import Profiler
from actprune.profiling.live.windows import Windows
from actprune.profiling.result import Profile
from actprune.profiling.store import save_profile


class Watching:
    """Counts while a trainer trains, and saves the profile at the end if it is given a path."""

    def __init__(
        self, path: Path | str | None = None, *, evaluation: bool = False, **options: Any
    ) -> None:
        """Nothing is watched before the training begins.

        Args:
            path: of the profile; a process of rank r > 0 writes NAME-rankR instead, and
                `actprune.merge` adds them up.
            evaluation: also count the forward passes in evaluation mode.
            options: of `actprune.Profiler`: every, window, rule, sites, example, ...
        """
        if "training" in options:
            raise ActpruneError("Which passes count is said by `evaluation`, not by `training`.")
        try:
            inspect.signature(Profiler).bind(None, **options)
        except TypeError as e:
            raise ActpruneError(f"An option that actprune.Profiler does not have: {e}.") from e
        self._path = None if path is None else Path(path)
        self._options = {**options, "training": None if evaluation else True}
        self._profiler: Profiler | None = None

    @property
    def profile(self) -> Profile:
        """What has been counted so far, also while the training runs.

        Raises:
            ActpruneError: if no forward pass has been counted.
        """
        return self._begun().profile

    @property
    def windows(self) -> Windows:
        """The counts per window; needs the option `window`.

        Raises:
            ActpruneError: if there are none.
        """
        return self._begun().windows

    def _begun(self) -> Profiler:
        if self._profiler is None:
            raise ActpruneError("Nothing has been counted: the training has not begun.")
        return self._profiler

    def _start(self, model: nn.Module) -> None:
        self._stop()
        self._profiler = Profiler(model, **self._options)
        self._profiler.start()

    def _stop(self) -> None:
        if self._profiler is not None:
            self._profiler.stop()

    def _finish(self, rank: int) -> None:
        """End and save."""
        self._stop()
        if self._path is not None:
            save_profile(self.profile, path_of_rank(self._path, rank))


def path_of_rank(path: Path, rank: int) -> Path:
    """Where the process of this rank writes; the first one writes to `path` itself."""
    return path if rank == 0 else path.with_name(f"{path.stem}-rank{rank}{path.suffix}")
