"""Ctrl-C during an ingest, and SIGTERM during a watch: the current batch is finished first."""

import signal  # noqa: TID251 - an ingest that is interrupted finishes its batch
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from lookalike_core.cli.console import say
from lookalike_core.cli.interrupt import stopping_on_signals
from lookalike_core.stores.retries import is_waiting

from lookalike_ingest.request import StopRequest


@contextmanager
def stop_on_interrupt() -> Iterator[StopRequest]:
    """Yields a request to stop, which the first Ctrl-C sets, so that the current batch is finished.

    The second Ctrl-C raises `KeyboardInterrupt`, as does the first without a batch or while a request to a
    server is retried.
    """
    stop = StopRequest()

    def request_stop(_signal: int, _frame: FrameType | None) -> None:
        if stop.requested or not stop.waits_for_batch or is_waiting():
            raise KeyboardInterrupt
        stop.requested = True
        say("stopping after the current batch; press Ctrl-C again to stop at once")

    before = signal.signal(signal.SIGINT, request_stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass(slots=True)
class WatchStop(StopRequest):
    """A request to end a watch; `is_showing` says that a run is being shown, which is not interrupted."""

    is_showing: bool = False

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Shows a run for the length of a block."""
        self.is_showing = True
        try:
            yield
        finally:
            self.is_showing = False


@contextmanager
def stop_on_signals() -> Iterator[WatchStop]:
    """Yields a request to stop, which the first Ctrl-C or SIGTERM sets, so that a batch is finished.

    Without a batch, or while a request to a server is retried, that one raises `KeyboardInterrupt`; a second
    one ends the process at once.
    """
    stop = WatchStop()

    def request_stop() -> None:
        stop.requested = True
        if not stop.is_showing and (not stop.waits_for_batch or is_waiting()):
            raise KeyboardInterrupt

    with stopping_on_signals(request_stop):
        yield stop
