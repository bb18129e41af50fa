"""Reasons why a file is not found any more."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from lookalike_ingest.absence import Absence, Absences, measure_absence


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Makes folders with a file, without any, and with only hidden or system files; and links."""
    for folder in ("full", "empty", "hidden", "system/@eaDir/1.png", "outer/inner"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "full/1.png").touch()
    (tmp_path / "hidden/.keep").touch()
    (tmp_path / "system/Thumbs.db").touch()
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "full/link.png").symlink_to("/nowhere/1.png")
    (tmp_path / "full/loop.png").symlink_to("loop.png")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "absence"),
    [
        ("1.png", Absence.GONE),
        ("full/2.png", Absence.GONE),
        ("full/gone/2.png", Absence.GONE),
        ("full/1.png/2.png", Absence.GONE),
        ("gone/deeper/2.png", Absence.GONE),
        ("outer/2.png", Absence.GONE),
        ("outer/inner/2.png", Absence.AWAY),
        ("empty/2.png", Absence.AWAY),
        ("empty/deeper/and/deeper/2.png", Absence.AWAY),
        ("hidden/2.png", Absence.AWAY),
        ("system/2.png", Absence.AWAY),
        ("system/deeper/2.png", Absence.AWAY),
        ("link/2.png", Absence.AWAY),
        ("link/deeper/2.png", Absence.AWAY),
        ("full/link.png", Absence.AWAY),
        ("full/loop.png", Absence.AWAY),
    ],
)
def test_the_nearest_existing_folder_determines_the_absence(root: Path, path: str, absence: Absence) -> None:
    """If it is empty, a disk may not be mounted there, which would explain all missing files below it."""
    absences = Absences(root)
    assert [absences.of(path), absences.of(path)] == [absence, absence]


def test_absences_in_an_unreadable_folder_are_unreadable(root: Path) -> None:
    """A file in it may or may not be deleted."""
    if os.name == "nt" or os.geteuid() == 0:
        pytest.skip("the user of this process may read every folder")
    (root / "full").chmod(0)
    try:
        assert Absences(root).of("full/2.png") is Absence.UNREADABLE
    finally:
        (root / "full").chmod(0o700)


def test_absences_behind_a_loop_of_links_are_unreadable(root: Path) -> None:
    """The operating system refuses to follow it."""
    (root / "loop").symlink_to("loop")
    assert Absences(root).of("loop/2.png") is Absence.UNREADABLE


def test_a_root_that_is_empty_or_missing_may_be_unmounted(tmp_path: Path) -> None:
    """Nothing of it counts as deleted."""
    (tmp_path / "empty").mkdir()
    for root in (tmp_path / "empty", tmp_path / "missing"):
        assert Absences(root).of("1.png") is Absence.AWAY
        assert Absences(root).of("cat/1.png") is Absence.AWAY


@pytest.mark.parametrize(
    ("since", "days"), [("2026-01-01T00:00:00+00:00", 2), (None, 0), ("no time", 0), ("2026-01-01", 0)]
)
def test_a_time_that_is_no_time_counts_as_now(since: str | None, days: int) -> None:
    """A file is then missing for no time at all."""
    assert measure_absence(since, "2026-01-03T00:00:00+00:00") == timedelta(days=days)
