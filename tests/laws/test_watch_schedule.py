"""Laws of the schedule of a watch, simulated with a clock of its own."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from lookalike_ingest.watching.schedule import DEFAULT_TIMING, Schedule, Trigger

TIMES = st.floats(min_value=0.05, max_value=200, allow_nan=False)


@given(gaps=st.lists(TIMES, max_size=40), durations=st.lists(TIMES, min_size=60, max_size=60))
def test_every_change_is_followed_by_a_run(gaps: list[float], durations: list[float]) -> None:
    """Within the time under load, the last run and its pause; runs do not overlap or follow at once."""
    changes = [sum(gaps[: place + 1]) for place in range(len(gaps))]
    runs = _simulate(changes, durations)
    for (start, end), (next_start, _) in pairwise(runs):
        assert next_start >= end
        assert next_start >= end + min(end - start, DEFAULT_TIMING.under_load_s) or not any(
            start <= change <= next_start for change in changes
        )
    for change in changes:
        begun = [start for start, _ in runs if start >= change]
        assert begun
        slack = DEFAULT_TIMING.under_load_s * 2 + max(durations)
        assert begun[0] <= change + slack


@given(changes=st.lists(st.floats(min_value=0, max_value=600), min_size=1, max_size=200))
def test_steady_changes_cause_at_most_one_run_a_minute(changes: list[float]) -> None:
    """Changes a second apart, with any others in between."""
    steady = sorted([*changes, *(float(second) for second in range(600))])
    starts = [start for start, _ in _simulate(steady, [0.5] * 700) if 0 < start < steady[-1]]
    assert all(later - earlier >= DEFAULT_TIMING.under_load_s for earlier, later in pairwise(starts))


def _simulate(changes: list[float], durations: list[float]) -> list[tuple[float, float]]:
    """Returns start and end of each run until an hour after the last change passes without one."""
    left, lasting = list(changes), iter(durations)
    state, now, runs = Schedule(), 0.0, list[tuple[float, float]]()
    while True:
        due, trigger = state.next_run()
        if trigger is Trigger.INTERVAL and not left:
            return runs
        if left and left[0] < due:
            now = max(now, left[0])
            state = state.after_change(left.pop(0))
            continue
        start = max(now, due)
        end = start + next(lasting)
        state = state.after_start(start)
        while left and left[0] <= end:
            state = state.after_change(left.pop(0))
        state, now = state.after_end(end), end
        runs.append((start, end))
