"""The process of a job of `search serve`: the command `search`, which says each second how far it is."""

from lookalike_core.cli.start import start

EVERY_S = 1.0


def main() -> None:
    """Runs the command and ends the process."""
    start("lookalike_search", line_every_s=EVERY_S)


if __name__ == "__main__":
    main()
