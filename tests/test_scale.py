"""Tests docs/explanation/scale.md: its tables are those of the script, computed from measured inputs."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def scale() -> ModuleType:
    """Returns the script as a module, without running it."""
    spec = importlib.util.spec_from_file_location("scale", ROOT / "benchmarks" / "scale.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their types there
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_tables_of_the_script(scale: ModuleType) -> None:
    """`python benchmarks/scale.py --write` updates them."""
    page = (ROOT / "docs" / "explanation" / "scale.md").read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
    assert [table.rstrip("\n") for table in tables] == list(scale.tables())
    assert scale.replace_tables(page) == page


def test_measured_inputs_are_in_the_sections_they_cite(scale: ModuleType) -> None:
    """New measurements in the README's tables need new inputs, too."""
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
    """Returns the anchor of a section, by its heading."""
    return section.partition("\n")[0].strip().lower().replace(" ", "-")
