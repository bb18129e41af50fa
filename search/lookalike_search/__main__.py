"""The `search` command from its first moment: nothing heavy is imported before Ctrl-C has an answer."""

from lookalike_core import own_process
from lookalike_core.cli.start import leave_on_interrupt


def main() -> None:
    """The console command; ends the process."""
    leave_on_interrupt()
    own_process.take()
    from lookalike_search.commands.app import main as run

    run()


if __name__ == "__main__":
    main()
