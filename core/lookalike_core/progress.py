"""Progress of long work, reported to a command, a notebook, or not at all.

The library opens a bar and advances it. A caller that wants to show bars passes a `ShowBar` to `shown_by`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, copy_context
from typing import Protocol


class Bar(Protocol):
    """A progress bar; may be advanced from any thread."""

    def advance(self, done: int, *, skipped: int = 0) -> None:
        """Advances the bar by `done`; `skipped` is the number skipped so far."""

    def set_total(self, total: int) -> None:
        """Sets the total number of items once it is known."""

    def count_ahead(self, count: Callable[[], int]) -> None:
        """Counts the total in a thread; a hidden bar does not."""


class HiddenBar:
    """A bar that is not shown; implements `Bar`."""

    def advance(self, done: int, *, skipped: int = 0) -> None:
        """Does nothing."""

    def set_total(self, total: int) -> None:
        """Does nothing."""

    def count_ahead(self, count: Callable[[], int]) -> None:
        """Does not count."""


class ShowBar(Protocol):
    """Shows a bar for the length of a block; `unit` is `bytes`, `images` or `seconds`."""

    def __call__(self, title: str, *, unit: str, total: int | None) -> AbstractContextManager[Bar]:
        """Returns a context manager that shows the bar."""


_show_bar: ContextVar[ShowBar | None] = ContextVar("lookalike_show_bar")


@contextmanager
def shown_by(show_bar: ShowBar | None) -> Iterator[None]:
    """Shows the bars that are opened in this context, for the length of a block; None hides them."""
    token = _show_bar.set(show_bar)
    try:
        yield
    finally:
        _show_bar.reset(token)


def is_decided() -> bool:
    """Returns whether `shown_by` was called in this context, with a `ShowBar` or None."""
    return _show_bar in copy_context()


@contextmanager
def bar(title: str, *, unit: str, total: int | None = None) -> Iterator[Bar]:
    """Opens a bar for the length of a block; it is hidden unless the context has a `ShowBar`.

    The context is that of the opening thread; other threads may advance the bar.
    """
    show_bar = _show_bar.get(None)
    if show_bar is None:
        yield HiddenBar()
        return
    with show_bar(title, unit=unit, total=total) as shown:
        yield shown
