"""Tests the subcommands of all commands: `--help` lists exactly those that exist."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PACKAGES = (
    "lookalike.commands",
    "lookalike_exporter.commands",
    "lookalike_ingest.commands",
    "lookalike_search.commands",
)


def subcommands(package: str) -> dict[str, str]:
    """Returns name -> line of help, as the command lists them, without those that are commands themselves."""
    app = import_module(f"{package}.app")
    return {name: line for name, line in app.SUBCOMMANDS.items() if name not in getattr(app, "GROUPS", ())}


def subcommand_function(module: ModuleType) -> Any:
    """Returns the function of the module's own name, which is its subcommand; None if it has none."""
    name = module.__name__.rpartition(".")[2]
    found = vars(module).get(f"{name}_") or vars(module).get(name)
    return found if getattr(found, "__module__", None) == module.__name__ else None


@pytest.mark.parametrize(("package", "name"), [(p, n) for p in PACKAGES for n in subcommands(p)])
def test_help_lists_the_first_line_of_each_subcommand_s_docstring(package: str, name: str) -> None:
    """The line is repeated in the list, so that `--help` imports no subcommand."""
    function = subcommand_function(import_module(f"{package}.{name}"))
    assert subcommands(package)[name] == function.__doc__.partition("\n")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_subcommand_is_listed(package: str) -> None:
    """A module that is not listed could not be run."""
    [folder] = import_module(package).__path__
    modules = [import_module(f"{package}.{path.stem}") for path in Path(folder).glob("[!_]*.py")]
    named = {module.__name__.rpartition(".")[2] for module in modules if subcommand_function(module)}
    assert named == set(subcommands(package))
