"""The console command `ingest`."""

from lookalike_core.cli.start import start


def main() -> None:
    """Runs the command and ends the process."""
    start("lookalike_ingest")


if __name__ == "__main__":
    main()
