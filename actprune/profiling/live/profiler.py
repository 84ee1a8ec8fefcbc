"""Watch a model in the user's own loop, training or inference."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import torch
from torch import nn

from actprune.data.batch import Batch, as_batch
from actprune.errors import ActpruneError
from actprune.profiling.live.call import batch_of_call, samples_of_call
from actprune.profiling.live.passes import Counting
from actprune.profiling.live.searching import search, searching
from actprune.profiling.live.windows import Windows
from actprune.profiling.result import Identity, Profile
from actprune.profiling.rules import check_rule
from actprune.running.apart import apart
from actprune.running.eager import check_calls_hooks
from actprune.running.hashing import model_hash
from actprune.running.passes import watching_passes
from actprune.running.state import device_of
from actprune.running.wrapped import unwrapped
from actprune.sites.find import Survey
from actprune.sites.patterns import named_sites

DATA = "live"  # what the profile calls its data
SURVEYED = 2  # samples that sites are found on


class Profiler:
    """Counts how a model's units fire while the user's own loop calls it.

        with actprune.Profiler(model) as p:
            for x, y in loader:
                loss = f(model(x), y)
                ...
        p.profile

    Only hooks are added, and only for the block: modes, gradients, weights and random states stay
    as the loop makes them, and no hook is left, also when it raises. The counts are of the
    activations as the loop has them: after dropout, say, and along a training of weights that
    change. Samples are numbered in the order in which they are counted, so an image seen in two
    epochs counts as two samples; errors and certificates need samples that are not seen twice.

    What a backward pass computes again (checkpointing) is not counted, and neither is a forward
    pass that raises. Under DistributedDataParallel each process counts its own samples; the
    profiles merge if their thresholds agree (see `like`). A compiled model is refused. Forward
    passes that actprune's own functions run inside the block count too, unless it is `paused`.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        example: Any = None,
        rule: str = "auto",
        every: int = 1,
        window: int | None = None,
        training: bool | None = None,
        sites: Sequence[str] = (),
        gram: bool = False,
        seed: int = 0,
        spec: str = "",
        like: Profile | None = None,
    ) -> None:
        """Nothing happens to the model before the block begins.

        Args:
            model: any module, in DistributedDataParallel or not, that the loop calls as a whole.
            example: a batch as for `profile`, to find the sites on when the block begins. Without
                it they are found on the inputs of the first forward pass, which that delays.
            rule: as for `profile`; fixed on the first 64 samples of the first pass counted, as the
                loop runs it. A network at its initialization fixes its thresholds there.
            every: count each n-th forward pass, from the first on; the others cost nothing.
            window: also count windows of so many counted passes, for `windows`.
            training: count only passes in training mode (True) or in evaluation mode (False).
            sites: names or patterns (`layer1.*`, `re:...`) of the sites to watch; all, if empty.
            gram: also sum products of activations, as for `profile`.
            seed: of the samples' blocks.
            spec: how to name the model in reports.
            like: take the rules' thresholds from this profile, so that the two can be merged.
        """
        check_rule(rule)
        for name, number in (("every", every), ("window", window)):
            if number is not None and number < 1:
                raise ActpruneError(f"{name} must be at least 1, got {number}.")
        self._given, self._model = model, unwrapped(model)
        self._example, self._rule, self._like = example, rule, like
        self._every, self._window, self._training = every, window, training
        self._patterns = (sites,) if isinstance(sites, str) else tuple(sites)
        self._gram, self._seed, self._spec = gram, seed, spec
        self._block: ExitStack | None = None  # of the hooks on the model
        self._paused = self._passes = 0  # depth of pauses; passes that might be counted
        self._found: Survey | None = None
        self._counting: Counting | None = None
        self._hash = ""
        self._seconds = self._since = 0.0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to watch, as the `with` block does; the counts of an earlier block go on.

        Raises:
            ActpruneError: if it is watching already, the model would not call its hooks, or does
                not run on the example.
        """
        if self._block is not None:
            raise ActpruneError("This Profiler is watching already; use another one inside it.")
        check_calls_hooks(self._given)
        if self._example is not None and self._found is None:
            batch = as_batch(self._example, 0).to(device_of(self._model))
            self._found = search(self._model, batch)
        self._block = ExitStack()
        self._block.enter_context(watching_passes(self._model, self._begin, self._end))
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Take all hooks away, as the end of the `with` block does."""
        if self._block is None:
            return
        block, self._block = self._block, None
        block.close()
        self._end(False)
        self._seconds += time.perf_counter() - self._since
        self._hash = model_hash(self._model)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the forward passes inside the block, an evaluation for example."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    @property
    def profile(self) -> Profile:
        """What has been counted so far, with the hash of the model's weights as they are now or, if
        it has ended, at the end of the block.

        Raises:
            ActpruneError: if no forward pass has been counted.
        """
        counting, found = self._counted()
        running = self._block is not None
        return Profile(
            identity=Identity(
                model=self._spec or type(self._model).__name__,
                model_hash=model_hash(self._model) if running else self._hash,
                data=DATA,
                seed=self._seed,
                heldout=False,
                statistics=("counts", "moments", "gram") if self._gram else ("counts", "moments"),
            ),
            shards=(counting.shard,),
            sites=counting.ledger.freeze(),
            refusals=found.refusals,
            census=found.census,
            seconds=self._seconds + (time.perf_counter() - self._since if running else 0.0),
        )

    @property
    def windows(self) -> Windows:
        """The counts of the windows that have ended.

        Raises:
            ActpruneError: if no window was asked for, or no forward pass has been counted.
        """
        if self._window is None:
            raise ActpruneError("No windows were counted; give Profiler a `window`, in passes.")
        counting, _ = self._counted()
        assert counting.recorder is not None
        return counting.recorder.freeze()

    def _counted(self) -> tuple[Counting, Survey]:
        if self._counting is None or self._found is None or not self._counting.shard.samples:
            raise ActpruneError(
                f"No forward pass of {type(self._model).__name__} has been counted; call the very "
                f"model that was given, itself and not compiled, inside the block."
            )
        return self._counting, self._found

    def _begin(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """A forward pass of the model is about to run."""
        wanted = self._training is None or self._model.training is self._training
        if self._paused or searching() or not wanted:
            return
        self._passes += 1
        if (self._passes - 1) % self._every:
            return
        samples = samples_of_call(args, kwargs)
        if samples:
            if self._counting is None:
                self._counting = self._open(args, kwargs)
            self._counting.begin(samples)

    def _end(self, whole: bool) -> None:
        """It has run, or raised."""
        if self._counting is not None:
            if whole:
                self._counting.end()
            else:
                self._counting.drop()

    def _open(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Counting:
        """Find the sites on the first pass's inputs, unless they were found on an example."""
        check_calls_hooks(self._given)  # a part of it may have been compiled since the block began
        if self._found is None:
            with apart():
                batch = batch_of_call(args, kwargs)
                few = batch.select(torch.arange(min(SURVEYED, len(batch))))
            self._found = search(self._model, few)
        with apart():
            return Counting(
                self._model,
                named_sites(self._found.sites, self._patterns),
                Batch(args=args, kwargs=kwargs, labels=None, ids=torch.arange(1)),
                rule=self._rule,
                like=self._like,
                gram=self._gram,
                seed=self._seed,
                window=self._window,
            )
