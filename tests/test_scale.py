"""Tests docs/explanation/scale.md: its tables are those of the script, computed from measured inputs."""

import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from loaded_script import load_script

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def scale() -> ModuleType:
    """Returns the script as a module, without running it."""
    return load_script("benchmarks/scale.py")


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


def test_inputs_are_those_of_the_largest_measured_collection(scale: ModuleType, tmp_path: Path) -> None:
    """Quantized and unfinished cases of `million.py` do not count, and other inputs stay."""
    steps = {
        "write": {"points_per_second": [5_000, 4_000], "anonymous_mb": 1_300},
        "index": {"seconds": 700.5, "anonymous_mb": 900},
        "warm": {"p50_ms": 2.5, "exact": {"p50_ms": 180.0}},
    }
    more = {**steps, "index": {"seconds": 900.0, "anonymous_mb": 1_500}, "ingest": {"seconds": 30.0}}
    cases = {
        "1000000 x 512, none": more,
        "1000000 x 512, int4": {**steps, "index": {"seconds": 1.0}},
        "3000000 x 512, none": {**steps, "index": {"cpu_s": 2_000.0}},
        "300000 x 512, none": steps,
        "250000 x 2048, none": {"write": steps["write"]},
    }
    file = tmp_path / "million.json"
    file.write_text(json.dumps({"cases": cases}), encoding="utf-8")
    found = {each.symbol: each.value for each in scale.read_inputs(file)}
    before = {each.symbol: each.value for each in scale.WRITTEN}
    changed = {symbol: value for symbol, value in found.items() if value != before[symbol]}
    expected = {"w512": 4_000, "i512": 900, "e512": 180, "h512": 2.5, "n512": 1_000_000, "a": 1_500}
    assert changed == {**expected, "u": 30, "v": 1_000_000}
    assert list(found) == list(before)


def _anchor(section: str) -> str:
    """Returns the anchor of a section, by its heading."""
    return section.partition("\n")[0].strip().lower().replace(" ", "-")
