"""What Ctrl-C does: it ends the process at once during imports, and raises `KeyboardInterrupt` later.

Python's default handler would raise during an import and print a traceback.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

INTERRUPTED = "interrupted; run the same command again"
CONTINUES = f"{INTERRUPTED} to continue"
STARTS_OVER = f"{INTERRUPTED} to start over"
INTERRUPTED_EXIT_CODE = 130  # as in `errors`, which takes too long to import


class StartsOverError(Exception):
    """Ctrl-C ended a command of which nothing is kept, so that the same command does all of it again."""


def leave_on_interrupt() -> None:
    """Lets Ctrl-C end the process at once, for as long as there is nothing to clean up.

    Does nothing where SIGINT is ignored, as shells set it for background jobs.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def raise_on_interrupt() -> None:
    """Makes Ctrl-C raise `KeyboardInterrupt` again."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` on Ctrl-C and on SIGTERM for the length of a block; a second one ends the process at once.

    `stop` is called between two instructions of the main thread, so it should only set a flag.
    """
    is_stopping = False

    def handle(number: int, frame: object) -> None:
        nonlocal is_stopping
        if is_stopping:
            _leave(number, frame)
        is_stopping = True
        stop()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _leave(_signal: int, _frame: object) -> None:
    try:
        os.write(2, f"error: {INTERRUPTED}\n".encode())
    finally:
        os._exit(INTERRUPTED_EXIT_CODE)
