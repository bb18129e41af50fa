"""When runs of a watch are due, by a clock that the tests set."""

from math import inf

import pytest
from lookalike_ingest.watching.schedule import DEFAULT_TIMING, Schedule, Trigger

QUIET, LOAD, HOUR = DEFAULT_TIMING.quiet_s, DEFAULT_TIMING.under_load_s, DEFAULT_TIMING.at_least_every_s


def after_run(start: float = 0, end: float = 1) -> Schedule:
    """Returns the state after a run between these times."""
    return Schedule().after_start(start).after_end(end)


def test_a_watch_begins_with_a_run() -> None:
    """Files may have changed while nothing watched."""
    assert Schedule().next_run() == (-inf, Trigger.START)


def test_a_change_is_due_after_two_quiet_seconds() -> None:
    """Each further change postpones it, since files may still be written."""
    state = after_run().after_change(10)
    assert state.next_run() == (10 + QUIET, Trigger.CHANGE)
    assert state.after_change(11).next_run() == (11 + QUIET, Trigger.CHANGE)


def test_changes_that_never_pause_are_due_once_a_minute() -> None:
    """Counted from the first of them; the changes during the run count for the next one."""
    state = after_run()
    for second in range(10, 200):
        state = state.after_change(second)
    assert state.next_run() == (10 + LOAD, Trigger.CHANGE)
    state = state.after_start(70).after_change(70.5).after_end(71)
    for second in range(72, 300):
        state = state.after_change(second)
    assert state.next_run() == (70.5 + LOAD, Trigger.CHANGE)


@pytest.mark.parametrize(("took", "pause"), [(0.5, 0.5), (30, 30), (600, LOAD)])
def test_the_pause_is_as_long_as_the_last_run_took(took: float, pause: float) -> None:
    """A watch of a large folder is at work half of the time at most, and waits a minute at most."""
    state = Schedule().after_start(100).after_change(100.1).after_end(100 + took)
    due, trigger = state.next_run()
    assert trigger is Trigger.CHANGE
    assert due == max(100 + took + pause, 100.1 + QUIET)


def test_a_run_follows_once_an_hour_anyway() -> None:
    """Counted from the beginning of the last one; changes come first."""
    state = after_run(start=100, end=400)
    assert state.next_run() == (100 + HOUR, Trigger.INTERVAL)
    assert state.after_change(500).next_run() == (500 + QUIET, Trigger.CHANGE)
    late = state.after_change(100 + HOUR - 1)
    assert late.next_run() == (100 + HOUR, Trigger.INTERVAL)


def test_nothing_is_due_during_a_run() -> None:
    """Its changes are due afterwards."""
    assert Schedule().after_start(5).after_change(6).next_run()[0] == inf


def test_retries_wait_longer_each_time() -> None:
    """Changes do not hurry them; the first run that works ends them."""
    state, waits = Schedule(), []
    for _ in range(9):
        state = state.after_start(0).after_end(0, is_retried=True).after_change(0)
        due, trigger = state.next_run()
        assert trigger is Trigger.RETRY
        waits.append(due)
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert state.after_start(0).after_end(1).next_run() == (HOUR, Trigger.INTERVAL)
