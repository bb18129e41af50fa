"""Progress of long work, reported to whoever shows it: a command, a notebook, or nobody.

The library opens a bar and moves it on. Who wants to see bars names a `ShowBar` by `shown_by`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, copy_context
from typing import Protocol


class Bar(Protocol):
    """A progress bar. It is moved on from any thread."""

    def advance(self, done: int, *, skipped: int = 0) -> None:
        """Moves on by `done`; `skipped` is how many were left out so far."""

    def set_total(self, total: int) -> None:
        """Says how much there is to do, once it is known."""

    def count_ahead(self, count: Callable[[], int]) -> None:
        """Lets a thread find the total; a bar that is not shown needs none."""


class HiddenBar:
    """A bar that nobody sees; implements `Bar`."""

    def advance(self, done: int, *, skipped: int = 0) -> None:
        """Does nothing."""

    def set_total(self, total: int) -> None:
        """Does nothing."""

    def count_ahead(self, count: Callable[[], int]) -> None:
        """Does not count."""


class ShowBar(Protocol):
    """Shows a bar for the length of a block; `unit` is `bytes`, `images` or `seconds`."""

    def __call__(self, title: str, *, unit: str, total: int | None) -> AbstractContextManager[Bar]:
        """Returns the context manager that shows it."""


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
    """Whether `shown_by` says in this context who shows bars, or that nobody does."""
    return _show_bar in copy_context()


@contextmanager
def bar(title: str, *, unit: str, total: int | None = None) -> Iterator[Bar]:
    """Opens a bar for the length of a block; it is hidden where nobody shows it.

    Who shows it is looked up here, in the thread that opens it: others may move it on.
    """
    show_bar = _show_bar.get(None)
    if show_bar is None:
        yield HiddenBar()
        return
    with show_bar(title, unit=unit, total=total) as shown:
        yield shown
