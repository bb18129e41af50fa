"""Ctrl-C during an ingest: the current batch is finished first."""

import signal  # noqa: TID251 - an ingest that is interrupted finishes its batch
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lookalike_core.cli.console import say
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
