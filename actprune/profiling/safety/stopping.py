"""Signals that ask a run to stop wait until what it has counted is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):  # which the workers of a loader, forked with us, expect
    """A signal arrived; `torn` if in the middle of something, at the second time of asking."""

    def __init__(self, number: int, *, torn: bool) -> None:
        super().__init__(number, torn)
        self.number, self.torn = number, torn


class Stopping:
    """Turns SIGINT and SIGTERM into `Stopped`: at once, but after the block inside `whole`."""

    def __init__(self) -> None:
        self._asked: int | None = None
        self._busy = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals over for the block, in the main thread, unless they are ignored.

        When the block has ended by `Stopped`, the signal goes to whoever handled it before, which
        for SIGINT raises KeyboardInterrupt and for SIGTERM ends the process, unless changed.
        """
        try:
            with _handling(self._hear):
                yield
        except Stopped as e:
            signal.raise_signal(e.number)
            raise KeyboardInterrupt from None  # a handler that only took note

    @contextmanager
    def whole(self) -> Iterator[None]:
        """A block that a signal does not interrupt, but a second one does."""
        self._busy = True
        yield
        self._busy = False
        if self._asked is not None:
            raise Stopped(self._asked, torn=False)

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self._busy and self._asked is None:
            self._asked = number
            return
        raise Stopped(number, torn=self._busy)


@contextmanager
def _handling(hear: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    here = threading.current_thread() is threading.main_thread()
    known = {n: signal.getsignal(n) for n in SIGNALS} if here else {}
    taken = {n: h for n, h in known.items() if h not in (signal.SIG_IGN, None)}
    try:
        for number in taken:
            signal.signal(number, hear)
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)
