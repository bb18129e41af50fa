"""The console command `lookalike`."""

from lookalike_core.cli.start import start


def main() -> None:
    """Runs the command and ends the process."""
    start("lookalike")


if __name__ == "__main__":
    main()
