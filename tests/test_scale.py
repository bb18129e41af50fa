"""The plan for more images: its tables are what the script prints, from what was measured."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def scale() -> ModuleType:
    """The script, without its being run."""
    spec = importlib.util.spec_from_file_location("scale", ROOT / "benchmarks" / "scale.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their types up
    spec.loader.exec_module(module)
    return module


def test_the_pages_tables_are_those_that_the_script_prints(scale: ModuleType) -> None:
    """To be put right with `python benchmarks/scale.py --write`."""
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
    assert [table.rstrip("\n") for table in tables] == list(scale.tables())
    assert scale.with_tables(page) == page


def test_measured_inputs_stand_where_they_are_said_to(scale: ModuleType) -> None:
    """Whoever measures anew and changes the README's tables changes the inputs, too."""
    readme = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    sections = {_anchor(section): section for section in re.split(r"^## ", readme, flags=re.MULTILINE)}
    measured = [each for each in scale.INPUTS if "README.md#" in each.source]
    assert len(measured) > 10
    for each in measured:
        section = sections[each.source.partition("#")[2].rstrip(")")]
        summands = re.findall(r"\((\d+)\)", each.what)
        assert not summands or each.value == pytest.approx(sum(map(int, summands)), abs=1)  # as rounded
        for number in summands or [f"{each.value:,}"]:
            assert re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d,]|\.\d)", section), (each, number)


def _anchor(section: str) -> str:
    """What a page's address says for a section, by its first line."""
    return section.partition("\n")[0].strip().lower().replace(" ", "-")
