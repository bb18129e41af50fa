"""Bars are shown by whom one names, and by nobody else."""

import contextvars
import threading
from contextlib import AbstractContextManager, nullcontext

import pytest
from lookalike_core import progress
from lookalike_core.progress import Bar, HiddenBar, shown_by


class Recorded(HiddenBar):
    """Counts on, and keeps what it was opened with."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, str, int | None]] = []
        self.done = 0

    def __call__(self, title: str, *, unit: str, total: int | None) -> AbstractContextManager[Bar]:
        """Shows itself."""
        self.opened.append((title, unit, total))
        return nullcontext(self)

    def advance(self, done: int, *, skipped: int = 0) -> None:  # noqa: ARG002 - the bar's signature
        """Counts."""
        self.done += done


def test_a_bar_is_shown_by_whom_is_named() -> None:
    """With its title, unit and total, and for the length of the block."""
    recorded = Recorded()
    with shown_by(recorded), progress.bar("data", unit="images", total=3) as bar:
        bar.advance(2)
    with progress.bar("later", unit="images") as bar:
        bar.advance(4)
    assert (recorded.opened, recorded.done) == ([("data", "images", 3)], 2)


def test_a_bar_that_nobody_shows_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """And counts nothing for nobody."""
    with progress.bar("data", unit="images") as bar:
        bar.count_ahead(lambda: pytest.fail("counted for a bar that is not shown"))
        bar.set_total(2)
        bar.advance(1, skipped=1)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_innermost_show_bar_wins_and_none_hides() -> None:
    """As a command does for one bar among its lines."""
    outer, inner = Recorded(), Recorded()
    with shown_by(outer):
        with shown_by(inner), progress.bar("one", unit="images") as bar:
            bar.advance(1)
        with shown_by(None), progress.bar("two", unit="images") as bar:
            bar.advance(1)
        with progress.bar("three", unit="images") as bar:
            bar.advance(1)
    assert (outer.done, inner.done) == (1, 1)


def test_a_bar_is_moved_on_from_other_threads() -> None:
    """They inherit no context; the bar knows who shows it."""
    recorded = Recorded()
    with shown_by(recorded), progress.bar("data", unit="images") as bar:
        threads = [threading.Thread(target=bar.advance, args=(1,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert recorded.done == 4


def test_another_context_shows_its_own() -> None:
    """A server that answers one caller does not draw in another's notebook."""
    recorded = Recorded()

    def elsewhere() -> None:
        with progress.bar("elsewhere", unit="images") as bar:
            bar.advance(1)

    with shown_by(recorded):
        contextvars.Context().run(elsewhere)
    assert recorded.opened == []


def test_is_decided_tells_whether_show_bar_was_set() -> None:
    """Also that nobody does; a notebook shows them where nothing was said."""

    def look() -> None:
        assert not progress.is_decided()
        with shown_by(None):
            assert progress.is_decided()
        assert not progress.is_decided()

    contextvars.Context().run(look)
