"""Start of a console command: sets how Ctrl-C is handled before any slow import."""

from lookalike_core import own_process
from lookalike_core.cli.interrupt import leave_on_interrupt


def start(package: str, *, line_every_s: float | None = None, prog_name: str | None = None) -> None:
    """Runs the console command of a stage, `package`.commands, and ends the process.

    Where stderr is no terminal, long work says every `line_every_s` seconds how far it is. Its help and the
    completion of shells call the command `prog_name`, by default as it was run.
    """
    leave_on_interrupt()
    own_process.claim()
    app = own_process.load_module(f"{package}.commands.app").app
    from lookalike_core.cli.console import run_command

    every = {} if line_every_s is None else {"line_every_s": line_every_s}
    run_command(app, prog_name=prog_name, **every)
