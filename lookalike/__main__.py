"""The console command `lookalike`."""

from lookalike_core.cli.start import start


def main() -> None:
    """Runs the command and ends the process; as a module, too, it completes the installed command."""
    start("lookalike", prog_name="lookalike")


if __name__ == "__main__":
    main()
