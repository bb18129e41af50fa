"""A command's first moments: Ctrl-C has its answer before anything that takes long is imported.

Python's own answer is an exception wherever it happens to be, and so a traceback of some import.
"""

import os
import signal
from importlib import import_module

from lookalike_core import own_process

INTERRUPTED = "interrupted; run the same command again to go on"
INTERRUPTED_EXIT_CODE = 130  # as in `errors`, which takes too long to import


def start(app: str) -> None:
    """Imports the module of a command's app and runs its `main`, which ends the process."""
    leave_on_interrupt()
    own_process.take()
    import_module(app).main()


def leave_on_interrupt() -> None:
    """Lets Ctrl-C end the process at once, as long as there is nothing to finish or to clean up.

    Does nothing where SIGINT is ignored, as a shell has it for what runs in the background.
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
