"""Tests that no module imports one that imports it, at its top, in a function or for types only."""

import ast
import tomllib
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_there_are_no_circular_imports() -> None:
    """All packages are checked together; a cycle that a late import hides counts, too."""
    sources = dict(_sources())
    assert len(sources) > 100
    assert find_cycle(sources) == []


@pytest.mark.parametrize(
    "back",
    [
        "from room.one import first",
        "from room import one",
        "import room.one",
        "def late():\n    from room.one import first",
        "if TYPE_CHECKING:\n    from room.one import First",
        "from room import shared",
    ],
)
def test_circular_imports_are_found(back: str) -> None:
    """A cycle may be between two modules, or go through a third."""
    sources = {
        "room": "",
        "room.one": "from room.two import second",
        "room.two": back,
        "room.shared": "from room import one",
    }
    assert set(find_cycle(sources)) >= {"room.one", "room.two"}


def test_one_way_imports_are_no_cycle() -> None:
    """A package that re-exports names of its modules is none either."""
    sources = {
        "room": "from room.one import first",
        "room.one": "import json\nfrom room.two import second",
        "room.two": "from elsewhere import one",
    }
    assert find_cycle(sources) == []


def find_cycle(sources: Mapping[str, str]) -> list[str]:
    """Returns the modules of one import cycle, in order; empty if there is none."""
    graph = {name: set(_imports(name, text, sources)) for name, text in sources.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def _imports(name: str, text: str, known: Mapping[str, str]) -> Iterator[str]:
    """Yields the modules that a module imports; packages above it are imported before and do not count."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [each if each in known else str(node.module) for each in inside]
        else:
            continue
        yield from (each for each in found if each in known and not name.startswith(f"{each}."))


def _sources() -> Iterator[tuple[str, str]]:
    """Yields each module of the distribution by its import name, and its source."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        folder = (ROOT / package).parent
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join(part for part in parts if part != "__init__")
            yield name, path.read_text(encoding="utf-8")
