"""Keep a run's work in a checkpoint while it counts, and begin where an earlier run was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actprune.data.batch import Batch
from actprune.data.source import fingerprint
from actprune.errors import ActpruneError
from actprune.files import remove_undone
from actprune.profiling.counting.ledger import Ledger
from actprune.profiling.looking import Looks
from actprune.profiling.reading import Read, last_sample
from actprune.profiling.rules import Rule
from actprune.profiling.safety.checkpoint import (
    Checkpoint,
    check_same_run,
    load_checkpoint,
    save_checkpoint,
)
from actprune.profiling.safety.locking import locked
from actprune.profiling.safety.stopping import Stopped, Stopping
from actprune.profiling.store import site_arrays
from actprune.sites.site import Site

SECONDS = 30.0  # between checkpoints, unless a number of batches is given,
SHARE = 0.02  # or longer: writing takes at most this share of the time
BYTES_A_SECOND = 2e8  # freezing, hashing and writing, before it has been measured (ours)


@contextmanager
def keeping(path: Path | str | None, *, every: int | None, resume: bool) -> Iterator[Keeper]:
    """Keep the block's work at `path`; nowhere if that is None.

    Only one process at a time keeps its work there. SIGINT and SIGTERM end the block after the
    batch at hand, are preceded by a last checkpoint, and then do what they would have done.

    Raises:
        ActpruneError: if there is a checkpoint and `resume` is not set, if another process writes
            there, if it cannot be written, or if the options are out of range.
    """
    if every is not None and every < 1:
        raise ActpruneError(f"every must be at least 1, got {every}.")
    if path is None:
        if every is not None or resume:
            raise ActpruneError("every and resume need a checkpoint; give its path.")
        yield Keeper(None, every, Stopping())
        return
    path, stopping = Path(path), Stopping()
    with stopping.listening(), locked(path):
        remove_undone(path)
        if path.exists() and not resume:
            raise ActpruneError(
                f"{path}: an earlier run has left its work here; go on from it with resume, or "
                f"remove the file."
            )
        keeper = Keeper(path, every, stopping)
        try:
            yield keeper
        except Stopped as e:
            if not e.torn:
                with stopping.whole():
                    keeper.write()
            raise


class Keeper:
    """Knows how far a run has read, and writes its checkpoints when they are due."""

    def __init__(self, path: Path | None, every: int | None, stopping: Stopping) -> None:
        self.batches, self.last_id = 0, -1
        self._path, self._every, self._stopping = path, every, stopping
        self._earlier = load_checkpoint(path) if path is not None and path.exists() else None
        self._begun = time.perf_counter() - (self._earlier.seconds if self._earlier else 0.0)
        self._written, self._when = 0, time.perf_counter()

    @property
    def seconds(self) -> float:
        """Spent so far, in this run and the earlier ones."""
        return time.perf_counter() - self._begun

    def rules(self, asked: Mapping[str, Any], sites: Sequence[Site]) -> dict[str, Rule] | None:
        """The rules that an earlier run has fixed, if there is one.

        Raises:
            ActpruneError: if that run was `asked` for something else.
        """
        self._asked = asked
        if self._path is None or self._earlier is None:
            return None
        check_same_run(self._earlier, asked, sites, self._path)
        return self._earlier.rules

    def begin(self, ledger: Ledger, looks: Looks) -> None:
        """Count into `ledger` and look by `looks`, which go on from what the earlier run has left,
        if anything."""
        earlier, self._earlier = self._earlier, None  # its arrays may be large
        if earlier is not None:
            ledger.restore(earlier.sites, earlier.unfinished)
            ledger.restore_strata(earlier.strata)
            looks.restore(earlier.looked, earlier.before)
            self.batches, self.last_id, self._mark = earlier.batches, earlier.last_id, earlier.mark
        self._ledger, self._looks, self._written = ledger, looks, self.batches
        if self._path is not None and self._every is None:
            size = sum(x.nbytes for x in site_arrays(ledger.sums.freeze()).values())
            self._cost = size / BYTES_A_SECOND
        self._when = time.perf_counter()

    def unread(self, stream: Iterable[Read], progress: Callable[[int], None]) -> Iterator[Read]:
        """The batches that no earlier run has read; `progress` hears of the others too.

        Raises:
            ActpruneError: if the data are not those that were read.
        """
        skip = self.batches
        number = 0
        for number, (whole, batch) in enumerate(stream, 1):
            if number > skip:
                yield whole, batch
                continue
            if number == skip:
                self._check_same(whole)
            progress(len(whole))
        if number < skip:
            raise ActpruneError(
                f"{self._path}: {skip} batches were read, but the data have only {number} now; "
                f"resume with the same data, or remove the file and profile from the start."
            )

    @contextmanager
    def counting(self, whole: Batch) -> Iterator[None]:
        """The block in which a batch is counted; no signal leaves it half counted."""
        with self._stopping.whole():
            yield
            self.batches, self.last_id, self._last = self.batches + 1, last_sample(whole), whole

    def keep(self) -> None:
        """Write a checkpoint, if one is due.

        Raises:
            ActpruneError: if it cannot be written. The last one is left as it is.
        """
        if self._path is not None and self._due():
            with self._stopping.whole():
                self.write()

    def write(self) -> None:
        """Write a checkpoint, if there is anything new to be kept; raises as `keep`."""
        if self._path is None or self.batches == self._written:
            return
        start = time.perf_counter()
        checkpoint = Checkpoint(
            asked=self._asked,
            sites=self._ledger.sums.freeze(),
            strata=self._ledger.freeze_strata(),
            unfinished=self._ledger.unfinished,
            batches=self.batches,
            last_id=self.last_id,
            mark=fingerprint(self._last),
            seconds=self.seconds,
            looked=self._looks.state,
            before=self._looks.before,
        )
        try:
            save_checkpoint(checkpoint, self._path)
        except ActpruneError as e:
            kept = (
                f"the first {self._written} batches are kept there"
                if self._path.exists()
                else "nothing has been kept"
            )
            raise ActpruneError(f"{str(e).rstrip('.')}; {kept}.") from e.__cause__
        self._written, self._when = self.batches, time.perf_counter()
        self._cost = self._when - start

    def _due(self) -> bool:
        if self._every is not None:
            return self.batches % self._every == 0
        pause = max(SECONDS, self._cost * (1 - SHARE) / SHARE)
        return time.perf_counter() - self._when >= pause

    def _check_same(self, whole: Batch) -> None:
        if (last_sample(whole), fingerprint(whole)) != (self.last_id, self._mark):
            raise ActpruneError(
                f"{self._path}: batch {self.batches - 1} is not the one that was read last; resume "
                f"with the same data in the same order, or remove the file and profile from the "
                f"start."
            )
