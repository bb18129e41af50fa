"""What Ctrl-C does to a command: it ends it at once while modules are imported, and raises later.

Python's own handler raises an exception wherever it happens to be, and so prints a traceback of some import.
"""

import os
import signal

INTERRUPTED = "interrupted; run the same command again to go on"
INTERRUPTED_EXIT_CODE = 130  # as in `errors`, which takes too long to import


def leave_on_interrupt() -> None:
    """Lets Ctrl-C end the process at once, as long as there is nothing to finish or to clean up.

    Does nothing where SIGINT is ignored, as a shell has it for what runs in the background.
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
