"""A command's first moments, before anything that takes long is imported; this imports next to nothing.

Python's own answer to Ctrl-C is an exception wherever it happens to be, and so a traceback of some import.
That of `signal` is left out for this: it takes ten times as long as all else before Ctrl-C has its answer.
"""

import _signal as signal  # type: ignore[import-not-found]  # what `signal` wraps in enumerations
import os

INTERRUPTED = "interrupted; run the same command again to go on"
INTERRUPTED_EXIT_CODE = 130  # as in `errors`, which takes too long to import


def leave_on_interrupt() -> None:
    """Lets Ctrl-C end the process at once, as long as there is nothing to finish or to clean up.

    Who has Ctrl-C ignored, as a shell does for what it runs in the background, is left alone.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def raise_on_interrupt() -> None:
    """Makes Ctrl-C a `KeyboardInterrupt` again."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(_signal: int, _frame: object) -> None:
    try:
        os.write(2, f"error: {INTERRUPTED}\n".encode())
    finally:
        os._exit(INTERRUPTED_EXIT_CODE)
