"""Progress lines, for when stderr is a log."""

import threading

import pytest
from lookalike_core.cli.progress_lines import ProgressLines
from waiting import wait_until


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Returns the time."""
        return self.now


class Log:
    """The lines of one bar, and its clock."""

    def __init__(self, unit: str = "images", total: int | None = None) -> None:
        self.lines: list[str] = []
        self.clock = Clock()
        self.bar = ProgressLines(
            "photos", unit=unit, total=total, say=self.lines.append, every_s=30, clock=self.clock
        )

    def advance(self, after_s: float, done: int, *, skipped: int = 0) -> None:
        """Advances the clock, then the bar by `done`."""
        self.clock.now += after_s
        self.bar.advance(done, skipped=skipped)


def test_short_work_writes_no_line() -> None:
    """Most ingests of a known folder take a second."""
    log = Log(total=3)
    for _ in range(3):
        log.advance(9, 1)
    assert log.lines == []


def test_a_line_comes_every_half_minute() -> None:
    """It has count, total, speed, time left and number of skipped images."""
    log = Log(total=1000)
    log.advance(20, 40)
    log.advance(10, 20)
    log.advance(29, 58, skipped=2)
    log.advance(1, 2, skipped=2)
    assert log.lines == [
        "photos: 60 of 1000 images, 2.0 images/s, 8 min left",
        "photos: 120 of 1000 images, 2.0 images/s, 7 min left, 2 skipped",
    ]


@pytest.mark.parametrize(
    ("unit", "done", "line"),
    [
        ("images", 60, "photos: 60 images, 2.0 images/s"),
        ("bytes", 60_000_000, "photos: 60 MB, 2.0 MB/s"),
        ("seconds", 0, "photos: 30 s so far"),
    ],
)
def test_a_line_without_a_total_has_count_and_speed(unit: str, done: int, line: str) -> None:
    """A stream has no total; building an index has only a time."""
    log = Log(unit)
    log.advance(30, done)
    assert log.lines == [line]


@pytest.mark.parametrize(
    ("rate", "left"), [(10, "89 s left"), (5, "3 min left"), (0.1, "2 h 28 min left")], ids=str
)
def test_the_time_left_is_in_hours_minutes_or_seconds(rate: float, left: str) -> None:
    """The largest applicable units are used."""
    log = Log("bytes", total=round(rate * 30) + 890 if rate != 0.1 else 893)
    log.advance(30, round(rate * 30))
    assert log.lines[0].endswith(left)


def test_more_items_than_the_total_leave_no_negative_time() -> None:
    """Files may be added during the count."""
    log = Log(total=10)
    log.advance(30, 60)
    assert log.lines == ["photos: 60 of 60 images, 2.0 images/s, 0 s left"]


def test_the_total_is_counted_only_for_long_work() -> None:
    """Counting walks the folder a second time."""
    log, counted, before = Log(), threading.Event(), set(threading.enumerate())

    def count() -> int:
        counted.set()
        return 120

    log.bar.count_ahead(count)
    log.advance(14, 28)
    assert not counted.is_set()
    log.advance(2, 4)
    assert counted.wait(60)
    wait_until(lambda: set(threading.enumerate()) <= before)
    log.advance(14, 28)
    assert log.lines == ["photos: 60 of 120 images, 2.0 images/s, 30 s left"]
