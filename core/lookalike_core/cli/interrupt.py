"""What Ctrl-C does: it ends the process at once during imports, and raises `KeyboardInterrupt` later.

Python's default handler would raise during an import and print a traceback.
"""

import os
import signal

INTERRUPTED = "interrupted; run the same command again to continue"
INTERRUPTED_EXIT_CODE = 130  # as in `errors`, which takes too long to import


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


def _leave(_signal: int, _frame: object) -> None:
    try:
        os.write(2, f"error: {INTERRUPTED}\n".encode())
    finally:
        os._exit(INTERRUPTED_EXIT_CODE)
