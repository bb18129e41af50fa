"""The `exporter` command from its first moment: nothing heavy is imported before Ctrl-C has an answer."""

from lookalike_core.cli.start import start


def main() -> None:
    """Runs the console command and ends the process."""
    start("lookalike_exporter.commands.app")


if __name__ == "__main__":
    main()
