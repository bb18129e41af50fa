"""How many cores a process may use: control groups as files, and this process' own affinity."""

import os
from pathlib import Path

import pytest
from lookalike_core.cpu_count import count_cores


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """A process in the group `/outer/inner`."""
    (tmp_path / "own").write_text("0::/outer/inner\n")
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for a machine with eight of them, all of which this process may run on."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("1000 100000\n", 1),
        ("max 100000\n", 8),
        ("\n", 8),
        ("1 0", 8),
    ],
)
def test_a_quota_limits_the_cores(groups: Path, limit: str, expected: int) -> None:
    """What a group pays for is rounded up; what cannot be read limits nothing."""
    (groups / "outer" / "inner" / "cpu.max").write_text(limit)
    assert count_cores(cgroups=groups, own=groups / "own") == expected


@pytest.mark.usefixtures("eight_cores")
def test_the_quota_of_a_group_around_counts(groups: Path) -> None:
    """A container's own group may have no limit of its own."""
    (groups / "outer" / "inner" / "cpu.max").write_text("max 100000\n")
    (groups / "outer" / "cpu.max").write_text("300000 100000\n")
    assert count_cores(cgroups=groups, own=groups / "own") == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_limits_the_cores() -> None:
    """As `taskset` and containers with a set of processors have it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert count_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
