"""The `search` command: its subcommands, one module each in `commands/`."""

from typing import NoReturn

from lookalike.console import command_app, run_command
from search.commands.calibrate import calibrate
from search.commands.duplicates import duplicates
from search.commands.evaluate import evaluate
from search.commands.explain import explain
from search.commands.map import map_
from search.commands.neighbours import neighbours
from search.commands.query import query

app = command_app("Find the pictures most like a given one.")
for subcommand in (query, evaluate, calibrate, neighbours, duplicates, explain, map_):
    app.command(subcommand.__name__.removesuffix("_"))(subcommand)


def main() -> NoReturn:
    """The console command."""
    run_command(app)
