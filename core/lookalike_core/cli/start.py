"""Start of a console command: sets how Ctrl-C is handled before any slow import."""

from importlib import import_module

from lookalike_core import own_process
from lookalike_core.cli.interrupt import leave_on_interrupt


def start(package: str) -> None:
    """Runs the console command of a stage, `package`.commands, and ends the process."""
    leave_on_interrupt()
    own_process.claim()
    from lookalike_core.cli.console import run_command

    run_command(import_module(f"{package}.commands.app").app)
