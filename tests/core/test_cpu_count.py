"""The number of usable cores: control groups as files, and this process' affinity."""

import os
from pathlib import Path

import pytest
from lookalike_core.cpu_count import count_cores


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """Returns the files of a process in the group `/outer/inner`."""
    (tmp_path / "own").write_text("0::/outer/inner\n")
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretends a machine with eight cores, all of which this process may use."""
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
    """A quota is rounded up; an unreadable one is ignored."""
    (groups / "outer" / "inner" / "cpu.max").write_text(limit)
    assert count_cores(groups=groups, own=groups / "own") == expected


@pytest.mark.usefixtures("eight_cores")
def test_the_quota_of_a_parent_group_limits_the_cores(groups: Path) -> None:
    """A container's own group may have no limit."""
    (groups / "outer" / "inner" / "cpu.max").write_text("max 100000\n")
    (groups / "outer" / "cpu.max").write_text("300000 100000\n")
    assert count_cores(groups=groups, own=groups / "own") == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_limits_the_cores() -> None:
    """`taskset` and containers with a CPU set limit it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert count_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
