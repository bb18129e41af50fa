"""Progress of long work as log lines, for when stderr is not a terminal."""

import threading
import time
from collections.abc import Callable

EVERY_S = 30.0
"""Seconds between two lines; shorter work writes none."""


class ProgressLines:
    """A `Bar` that logs at intervals how much is done, how fast, and how much time is left.

    A line is written at the first step that ends at least `every_s` seconds after the last line; `clock`
    returns seconds.
    """

    def __init__(
        self,
        title: str,
        *,
        unit: str,
        total: int | None,
        say: Callable[[str], None],
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title, self._unit, self._total, self._say = title, unit, total, say
        self._every_s, self._clock = every_s, clock
        self._done = self._skipped = 0
        self._count: Callable[[], int] | None = None
        self._began = self._said = clock()
        self._lock = threading.Lock()

    def advance(self, done: int, *, skipped: int = 0) -> None:
        """Adds `done` to the count, and writes a line if one is due."""
        with self._lock:
            self._done += done
            self._skipped = max(self._skipped, skipped)
            now = self._clock()
            if self._count is not None and now - self._began >= self._every_s / 2:
                self._start_count(self._count)
            if now - self._said < self._every_s:
                return
            self._said = now
            line = self._line(now - self._began)
        self._say(line)

    def set_total(self, total: int) -> None:
        """Sets the total number of items."""
        self._total = total

    def count_ahead(self, count: Callable[[], int]) -> None:
        """Counts the total in a thread once the work has taken half as long as the interval between lines."""
        self._count = count

    def _start_count(self, count: Callable[[], int]) -> None:
        self._count = None
        threading.Thread(target=lambda: self.set_total(count()), daemon=True).start()

    def _line(self, took_s: float) -> str:
        if self._unit == "seconds":
            return f"{self._title}: {_duration(took_s)} so far"
        rate = self._done / took_s
        total = max(self._total or 0, self._done)
        known = self._total is not None
        left = [f"{_duration((total - self._done) / rate)} left"] if known and rate else []
        skipped = [f"{self._skipped} skipped"] if self._skipped else []
        return f"{self._title}: " + ", ".join([*self._counted(total, rate, known=known), *left, *skipped])

    def _counted(self, total: int, rate: float, *, known: bool) -> list[str]:
        if self._unit == "bytes":
            of = f" of {total / 1e6:.0f}" if known else ""
            return [f"{self._done / 1e6:.0f}{of} MB", f"{rate / 1e6:.1f} MB/s"]
        of = f" of {total}" if known else ""
        return [f"{self._done}{of} {self._unit}", f"{rate:.1f} {self._unit}/s"]


def _duration(seconds: float) -> str:
    """Returns a duration in its largest units: `45 s`, `3 min`, `2 h 5 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:  # noqa: PLR2004 - up to here minutes say too little
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004
