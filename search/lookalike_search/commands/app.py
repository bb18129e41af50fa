"""The `search` command: its subcommands, one module each in `commands/`, imported when it is asked for."""

from importlib import import_module
from typing import Any, NoReturn

from lookalike_core.cli.console import command_app, run_command
from typer.core import TyperGroup
from typer.main import get_command

SUBCOMMANDS = {
    "query": "Print the nearest neighbours of each picture, best first.",
    "evaluate": "Measure how good the neighbours are: every picture asks, and the classes tell.",
    "calibrate": "Learn how often neighbours of a score are right, and how often verdicts are, "
    "for queries to show.",
    "neighbours": "Print the nearest neighbours of each and every picture, as a table.",
    "duplicates": "Show groups of the same image, and which file to keep; nothing is deleted.",
    "explain": "Show where in two pictures their similarity comes from: what each cell adds to it.",
    "map": "Draw a collection in two dimensions: near ones near, coloured by class.",
}
"""Name -> the first line of its help, which is shown without importing anything."""


class _Subcommands(TyperGroup):
    """Names and lines as they stand above; the one that is run is the real one."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - Typer's own, or Click's
        name, stub, rest = super().resolve_command(ctx, args)
        return name, _real(name) if name else stub, rest


def _real(name: str) -> Any:  # noqa: ANN401
    module = import_module(f"lookalike_search.commands.{name}")
    one = command_app("")
    one.command(name)(vars(module).get(name) or vars(module)[f"{name}_"])
    return get_command(one).get_command(None, name)  # type: ignore[attr-defined]


def _stub() -> None:
    """Never run."""


app = command_app("Find the pictures most like a given one.", group=_Subcommands)
for subcommand, line in SUBCOMMANDS.items():
    app.command(subcommand, help=line)(_stub)


def main() -> NoReturn:
    """The console command."""
    run_command(app)
