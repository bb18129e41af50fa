"""Progress bars are shown by the `ShowBar` of the context, and by nothing else."""

import contextvars
import threading
from contextlib import AbstractContextManager, nullcontext

import pytest
from lookalike_core import progress
from lookalike_core.progress import Bar, HiddenBar, shown_by


class Recorded(HiddenBar):
    """A `ShowBar` that records its arguments and counts."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, str, int | None]] = []
        self.done = 0

    def __call__(self, title: str, *, unit: str, total: int | None) -> AbstractContextManager[Bar]:
        """Returns itself as the context manager."""
        self.opened.append((title, unit, total))
        return nullcontext(self)

    def advance(self, done: int, *, skipped: int = 0) -> None:  # noqa: ARG002 - the bar's signature
        """Adds to the count."""
        self.done += done


def test_a_bar_is_shown_by_the_show_bar_of_the_context() -> None:
    """It gets title, unit and total, and shows the bar for the length of the block."""
    recorded = Recorded()
    with shown_by(recorded), progress.bar("data", unit="images", total=3) as bar:
        bar.advance(2)
    with progress.bar("later", unit="images") as bar:
        bar.advance(4)
    assert (recorded.opened, recorded.done) == ([("data", "images", 3)], 2)


def test_a_bar_without_a_show_bar_is_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    """Its total is not counted."""
    with progress.bar("data", unit="images") as bar:
        bar.count_ahead(lambda: pytest.fail("counted for a bar that is not shown"))
        bar.set_total(2)
        bar.advance(1, skipped=1)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_innermost_show_bar_wins_and_none_hides() -> None:
    """Commands use this for single bars among log lines."""
    outer, inner = Recorded(), Recorded()
    with shown_by(outer):
        with shown_by(inner), progress.bar("one", unit="images") as bar:
            bar.advance(1)
        with shown_by(None), progress.bar("two", unit="images") as bar:
            bar.advance(1)
        with progress.bar("three", unit="images") as bar:
            bar.advance(1)
    assert (outer.done, inner.done) == (1, 1)


def test_a_bar_is_advanced_from_other_threads() -> None:
    """Threads do not inherit the context, so the bar keeps its `ShowBar`."""
    recorded = Recorded()
    with shown_by(recorded), progress.bar("data", unit="images") as bar:
        threads = [threading.Thread(target=bar.advance, args=(1,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert recorded.done == 4


def test_another_context_shows_its_own() -> None:
    """A server's answer to one caller draws no bar in another's notebook."""
    recorded = Recorded()

    def elsewhere() -> None:
        with progress.bar("elsewhere", unit="images") as bar:
            bar.advance(1)

    with shown_by(recorded):
        contextvars.Context().run(elsewhere)
    assert recorded.opened == []


def test_is_decided_tells_whether_show_bar_was_set() -> None:
    """None counts as set; a notebook shows bars if nothing was set."""

    def look() -> None:
        assert not progress.is_decided()
        with shown_by(None):
            assert progress.is_decided()
        assert not progress.is_decided()

    contextvars.Context().run(look)
