"""The console command `exporter`."""

from lookalike_core.cli.start import start


def main() -> None:
    """Runs the command and ends the process."""
    start("lookalike_exporter")


if __name__ == "__main__":
    main()
