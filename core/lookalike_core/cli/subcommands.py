"""Command groups whose subcommands are modules that are imported only when they are run."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from lookalike_core.cli.console import command_app


def lazy_app(help_text: str, *, package: str, subcommands: Mapping[str, str]) -> typer.Typer:
    """Returns an app that lists its subcommands without importing them.

    Args:
        help_text: the first line of the app's help.
        package: the import name of the package that holds a module for each subcommand.
        subcommands: name -> first line of its help. `x` is the function `x` of the module `x`, or `x_` where
            `x` itself is another's name.
    """

    class Subcommands(TyperGroup):
        def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - Typer's own, or Click's
            name, stub, rest = super().resolve_command(ctx, args)
            return name, _import(name, package) if name else stub, rest

    app = command_app(help_text, group=Subcommands)
    for name, line in subcommands.items():
        app.command(name, help=line)(_placeholder)
    return app


def _import(name: str, package: str) -> Any:  # noqa: ANN401
    module = vars(import_module(f"{package}.{name}"))
    one = command_app("")
    one.command(name)(module.get(f"{name}_") or module[name])
    return get_command(one).get_command(None, name)  # type: ignore[attr-defined]


def _placeholder() -> None:
    """Stands for a subcommand whose module is not imported yet."""
