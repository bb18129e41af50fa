"""The `lookalike` command: the other commands as its groups, each imported when it is run."""

from typing import Annotated

import typer
from lookalike_core.cli.console import show
from lookalike_core.cli.subcommands import lazy_app

SUBCOMMANDS = {
    "exporter": "Turn Keras' ResNet101V2 and VGG16 into ONNX models.",
    "ingest": "Turn a folder of images into searchable collections.",
    "search": "Find the images most like a given one.",
    "doctor": "Check this installation, and name the remedy of each problem.",
}

GROUPS = {name: f"lookalike_{name}.commands" for name in ("exporter", "ingest", "search")}
"""Name -> package of those that are commands of their own too."""

app = lazy_app(
    "Find the images most like a given one.",
    package=__package__,
    subcommands=SUBCOMMANDS,
    groups=GROUPS,
    add_completion=True,
)
"""The console command `lookalike`."""


def _show_versions(wanted: bool) -> None:
    """Shows the versions and ends the command."""
    if wanted:
        from lookalike.commands.versions import version_lines

        show(*version_lines())
        raise typer.Exit


@app.callback()
def _umbrella(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_show_versions,
            help="Show the versions of Lookalike and of what it runs on, and exit.",
        ),
    ] = False,
) -> None:
    """Does nothing: the options act by themselves."""
