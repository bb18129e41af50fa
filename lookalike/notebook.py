"""Output in notebooks: records as pages, and progress bars."""

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from html import escape
from threading import Lock, Thread
from typing import Any, ParamSpec, TypeVar

from lookalike_core import progress

HEIGHT_PX = 480

UPDATED_EVERY_S = 0.2
"""The shortest time between two redraws of a bar."""

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class ShownAsPage(ABC):
    """Base class of records that a notebook shows as a self-contained page."""

    __slots__ = ()

    @abstractmethod
    def to_html(self) -> str:
        """Returns the page; thumbnails are made from the files as they are now."""

    def _repr_html_(self) -> str:
        """Returns the page in a frame, so that its styles and scripts do not affect the notebook's."""
        page = escape(self.to_html(), quote=True)
        style = f"width: 100%; height: {HEIGHT_PX}px; border: 0; resize: vertical; overflow: auto"
        return f'<iframe srcdoc="{page}" sandbox="allow-scripts" style="{style}"></iframe>'


def shows_progress(work: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Decorates a function so that a notebook shows its progress, unless `shown_by` chose otherwise."""

    @wraps(work)
    def shown(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        if progress.is_decided() or not _is_notebook():
            return work(*args, **kwargs)
        with progress.shown_by(notebook_bar):
            return work(*args, **kwargs)

    return shown


def _is_notebook() -> bool:
    """Returns whether this process is a notebook's kernel, without importing IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def notebook_bar(title: str, *, unit: str, total: int | None) -> Iterator[progress.Bar]:
    """Shows a bar in the output of a cell; implements `ShowBar`."""
    from IPython.display import display

    bar = _NotebookBar(title, unit=unit, total=total)
    bar.handle = display(bar, display_id=True)  # type: ignore[no-untyped-call, unused-ignore]
    try:
        yield bar
    finally:
        bar.draw()


class _NotebookBar:
    """An HTML progress bar that is redrawn a few times a second; implements `Bar`."""

    def __init__(self, title: str, *, unit: str, total: int | None) -> None:
        self.handle: Any = None
        self._title, self._unit, self._total = title, unit, total
        self._done = self._skipped = 0
        self._lock, self._drawn_at = Lock(), time.monotonic()

    def advance(self, done: int, *, skipped: int = 0) -> None:
        """Adds to what is done, and redraws the bar unless it was just drawn."""
        with self._lock:
            self._done += done
            self._skipped = max(self._skipped, skipped)
            if time.monotonic() - self._drawn_at < UPDATED_EVERY_S:
                return
            self._drawn_at = time.monotonic()
        self.draw()

    def set_total(self, total: int) -> None:
        """Sets the total, which the next redraw shows."""
        self._total = total

    def count_ahead(self, count: Callable[[], int]) -> None:
        """Sets the total by counting in a daemon thread."""
        Thread(target=lambda: self.set_total(count()), daemon=True).start()

    def draw(self) -> None:
        """Redraws the bar."""
        if self.handle is not None:
            self.handle.update(self)

    def _repr_html_(self) -> str:
        extent = "" if self._total is None else f' value="{self._done}" max="{max(self._total, 1)}"'
        return f"<progress{extent}></progress> {escape(repr(self))}"

    def __repr__(self) -> str:
        of = "" if self._total is None else f" of {self._total:,}"
        skipped = f", {self._skipped:,} skipped" if self._skipped else ""
        return f"{self._title}: {self._done:,}{of} {self._unit}{skipped}"
