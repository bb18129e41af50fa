"""When the next run of a watch is due: a state machine without a clock.

Times are seconds of any monotonic clock, passed by the caller.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchTiming:
    """Times in seconds."""

    quiet_s: float = 2.0
    """A run begins once nothing has changed for that long, so that files are written whole."""
    under_load_s: float = 60.0
    """Where changes never pause, a run begins so long after the first of them."""
    at_least_every_s: float = 3600.0
    """A run begins at least so often, since some changes have no events."""
    first_retry_s: float = 5.0
    """How long after a run that found the store in use or away it is repeated; the wait doubles each time."""
    longest_retry_s: float = 300.0


DEFAULT_TIMING = WatchTiming()


class Trigger(StrEnum):
    """Why a run begins."""

    START = "start"
    """The watch begins."""
    CHANGE = "change"
    """Files have changed, and nothing changes any more, or changes do not pause."""
    INTERVAL = "interval"
    """An hour has passed since the last run."""
    RETRY = "retry"
    """The store was in use or away in the last run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The state of a watch between and during its runs; each event makes the next state.

    `first_change` and `last_change` are those since the last run began, whose files it may have missed.
    """

    timing: WatchTiming = DEFAULT_TIMING
    first_change: float | None = None
    last_change: float | None = None
    started: float | None = None
    ended: float | None = None
    failures: int = 0
    """Number of runs in a row that found the store in use or away."""

    def after_change(self, now: float) -> Self:
        """Returns the state after a file was seen to change."""
        first = now if self.first_change is None else self.first_change
        return replace(self, first_change=first, last_change=now)

    def after_start(self, now: float) -> Self:
        """Returns the state after a run began."""
        return replace(self, first_change=None, last_change=None, started=now, ended=None)

    def after_end(self, now: float, *, is_retried: bool = False) -> Self:
        """Returns the state after a run ended; `is_retried` says that the store was in use or away."""
        return replace(self, ended=now, failures=self.failures + 1 if is_retried else 0)

    def next_run(self) -> tuple[float, Trigger]:
        """Returns when the next run is due and why; never during a run."""
        if self.started is None:
            return -inf, Trigger.START
        if self.ended is None:
            return inf, Trigger.INTERVAL
        if self.failures:
            return self.ended + self.retry_s, Trigger.RETRY
        hourly = (self.started + self.timing.at_least_every_s, Trigger.INTERVAL)
        return min(hourly, (self._change_due(self.started, self.ended), Trigger.CHANGE))

    @property
    def retry_s(self) -> float:
        """The wait before the next retry: twice the last one, up to the longest."""
        doubled = self.timing.first_retry_s * 2.0 ** min(self.failures - 1, 30)
        return min(doubled, self.timing.longest_retry_s)

    def _change_due(self, started: float, ended: float) -> float:
        """Returns when changes are due; the pause is as long as the last run took, up to that under load.

        So that a watch of a large folder is not always at work.
        """
        if self.first_change is None or self.last_change is None:
            return inf
        settled = min(self.last_change + self.timing.quiet_s, self.first_change + self.timing.under_load_s)
        return max(settled, ended + min(ended - started, self.timing.under_load_s))
