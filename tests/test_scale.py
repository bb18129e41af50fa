"""The plan for more pictures: its tables are what the script prints, which is what its formulas say."""

import importlib.util
import math
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


def test_a_layout_is_what_its_formulas_say(scale: ModuleType) -> None:
    """Worked out by hand for a thousand million vectors of 2048 values in int8, twice."""
    inputs = {each.symbol: each.value for each in scale.INPUTS}
    layout = scale.Layout(number=10**9, dimension=2048, in_memory=1.0, replicas=2)
    disk = 2 * 1e9 * (8192 + 2048 + inputs["p"] + inputs["m"])
    memory = 2 * 1e9 * (1.5 * 2048 + inputs["m"])
    assert layout.disk == pytest.approx(disk)
    assert layout.memory == pytest.approx(memory)
    assert layout.nodes == math.ceil(max(memory / 128e9, disk / 4e12) / 0.8)
    assert layout.shards == 2 * layout.nodes
    points = 1e9 / layout.shards
    a_shard = inputs["i2048"] * points * math.log(points) / (2e4 * math.log(2e4))
    assert layout.index_s == pytest.approx(4 * a_shard)  # two shards a server, twice


def test_whole_vectors_are_held_once(scale: ModuleType) -> None:
    """Only a quantized collection has a second, smaller copy."""
    inputs = {each.symbol: each.value for each in scale.INPUTS}
    layout = scale.Layout(number=1, dimension=512, in_memory=4.0, replicas=1)
    assert layout.disk == 2048 + inputs["p"] + inputs["m"]
    assert (layout.nodes, layout.shards) == (1, 1)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0028, "2.8 ms"), (1.38, "1,380 ms"), (119, "119 s"), (3600, "60 min"), (172_800, "2 days")],
)
def test_times_are_shown_in_units_that_people_use(scale: ModuleType, seconds: float, shown: str) -> None:
    """With two or three figures that count."""
    assert scale._span(seconds) == shown  # noqa: SLF001 - what every cell is shown by


@pytest.mark.parametrize(
    ("count", "shown"), [(311, "311 bytes"), (115_000, "115 kB"), (3.5e9, "3.5 GB"), (2.54e13, "25 TB")]
)
def test_sizes_are_decimal(scale: ModuleType, count: float, shown: str) -> None:
    """As disks and memory are sold."""
    assert scale._size(count) == shown  # noqa: SLF001 - what every cell is shown by
