"""Tests `make bench`: what counts as a regression, and that every pair that is stored is measured."""

import json
from pathlib import Path
from types import ModuleType

import pytest
from loaded_script import load_script

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """Returns the script as a module, without running it."""
    return load_script("benchmarks/bench.py")


def test_a_ratio_above_its_tolerance_is_a_regression(bench: ModuleType) -> None:
    """One that is not stored is none, and lower ones are worth storing."""
    stored = {"a / b": {"ratio": 2.0, "tolerance": 1.5}}
    assert [bench.is_slower("a / b", ratio, stored) for ratio in (1.0, 3.0, 3.1)] == [False, False, True]
    assert not bench.is_slower("c / d", 9.0, stored)
    (_, slower), (_, faster), (_, new) = (
        bench.table({name: ratio}, stored) for name, ratio in (("a / b", 3.1), ("a / b", 1.0), ("c / d", 9.0))
    )
    assert slower.endswith("slower")
    assert faster.endswith("faster: store it by --update")
    assert new.endswith("new: store it by --update")


def test_an_update_stores_ratios_and_keeps_tolerances(bench: ModuleType) -> None:
    """Pairs that were not measured stay as they are."""
    stored = {"a / b": {"ratio": 2.0, "tolerance": 2.5}, "c / d": {"ratio": 1.0, "tolerance": 1.1}}
    updated = bench.update(stored, {"a / b": 1.23456, "e / f": 3.0}, stored)
    assert updated == {
        "a / b": {"ratio": 1.235, "tolerance": 2.5},
        "c / d": {"ratio": 1.0, "tolerance": 1.1},
        "e / f": {"ratio": 3.0, "tolerance": bench.TOLERANCE},
    }


def test_every_stored_pair_is_measured(bench: ModuleType) -> None:
    """Each is named in the script that measures it, which has a short form."""
    stored = json.loads(bench.STORED.read_text(encoding="utf-8"))
    scripts = {name: (BENCHMARKS / f"{name}.py").read_text(encoding="utf-8") for name in bench.SCRIPTS}
    assert all("run_either(main, short)" in text for text in scripts.values())
    measured = {name for name in stored if f'"{name}"' in scripts[name.partition(":")[0]]}
    assert measured == set(stored)
    assert {name.partition(":")[0] for name in stored} == set(scripts)
