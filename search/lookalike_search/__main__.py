"""The console command `search`."""

from lookalike_core.cli.start import start


def main() -> None:
    """Runs the command and ends the process."""
    start("lookalike_search")


if __name__ == "__main__":
    main()
