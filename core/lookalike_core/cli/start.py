"""Start of a console command: Ctrl-C is handled before anything that takes long is imported.

Python's own handler raises an exception wherever it happens to be, and so prints a traceback of some import.
"""

import os
import signal
from importlib import import_module

from lookalike_core import own_process

INTERRUPTED = "interrupted; run the same command again to go on"
INTERRUPTED_EXIT_CODE = 130  # as in `errors`, which takes too long to import


def start(package: str) -> None:
    """Runs the console command of a stage, `package`.commands, and ends the process."""
    leave_on_interrupt()
    own_process.take()
    from lookalike_core.cli.console import run_command

    run_command(import_module(f"{package}.commands.app").app)


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
