"""Command groups whose subcommands are modules that are imported only when they are run."""

from collections.abc import Collection, Mapping
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from lookalike_core import own_process
from lookalike_core.cli.console import command_app
from lookalike_core.cli.interrupt import StartsOverError


def lazy_app(
    help_text: str,
    *,
    package: str,
    subcommands: Mapping[str, str],
    continued: Collection[str] = (),
    groups: Mapping[str, str] | None = None,
    add_completion: bool = False,
) -> typer.Typer:
    """Returns an app that lists its subcommands without importing them.

    Args:
        help_text: the first line of the app's help.
        package: the import name of the package that holds a module for each subcommand.
        subcommands: name -> first line of its help. `x` is the function `x` of the module `x`, or `x_` where
            `x` itself is another's name.
        continued: names of those that go on where Ctrl-C ended them, if they are run again; the others start
            over.
        groups: name -> package of those that are groups of subcommands themselves, as the module `app` of the
            package has them; each says itself how Ctrl-C ended it.
        add_completion: whether it has the options that install and show the completion of shells.
    """
    packages = groups or {}

    class Subcommands(TyperGroup):
        def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - Typer's own, or Click's
            name, stub, rest = super().resolve_command(ctx, args)
            if name is not None and name in packages:
                return name, _import_group(name, packages[name]), rest
            return name, _import(name, package) if name else stub, rest

        def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                if ctx.invoked_subcommand in continued or ctx.invoked_subcommand in packages:
                    raise
                raise StartsOverError from None

    app = command_app(help_text, group=Subcommands, add_completion=add_completion)
    for name, line in subcommands.items():
        app.command(name, help=line)(_placeholder)
    return app


def _import(name: str, package: str) -> Any:  # noqa: ANN401
    module = vars(own_process.load_module(f"{package}.{name}"))
    one = command_app("")
    one.command(name)(module.get(f"{name}_") or module[name])
    return get_command(one).get_command(None, name)  # type: ignore[attr-defined]


def _import_group(name: str, package: str) -> Any:  # noqa: ANN401
    group = get_command(own_process.load_module(f"{package}.app").app)
    group.name = name
    return group


def _placeholder() -> None:
    """Stands for a subcommand whose module is not imported yet."""
