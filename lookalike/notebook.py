"""What a notebook shows: records as the pages of the commands, and how far long work has come."""

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
"""How often a bar is drawn again at most."""

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class ShownAsPage(ABC):
    """What a notebook shows as a page, with its thumbnails in it: nothing is asked for from elsewhere."""

    __slots__ = ()

    @abstractmethod
    def to_html(self) -> str:
        """Returns the whole page as text; thumbnails are made of the files as they are now."""

    def _repr_html_(self) -> str:
        """Returns a frame with the page, which keeps its styles and scripts apart from the notebook's."""
        page = escape(self.to_html(), quote=True)
        style = f"width: 100%; height: {HEIGHT_PX}px; border: 0; resize: vertical; overflow: auto"
        return f'<iframe srcdoc="{page}" sandbox="allow-scripts" style="{style}"></iframe>'


def shows_progress(work: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Returns work that shows its bars where it is done in a notebook, unless `shown_by` says otherwise."""

    @wraps(work)
    def shown(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        if progress.is_decided() or not _is_notebook():
            return work(*args, **kwargs)
        with progress.shown_by(notebook_bar):
            return work(*args, **kwargs)

    return shown


def _is_notebook() -> bool:
    """Whether this process is a notebook's kernel; IPython is not imported to find out."""
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
    """A bar as HTML's own, drawn again a few times a second; implements `Bar`."""

    def __init__(self, title: str, *, unit: str, total: int | None) -> None:
        self.handle: Any = None
        self._title, self._unit, self._total = title, unit, total
        self._done = self._skipped = 0
        self._lock, self._drawn_at = Lock(), time.monotonic()

    def advance(self, done: int, *, skipped: int = 0) -> None:
        """Draws it again where it was not drawn just now."""
        with self._lock:
            self._done += done
            self._skipped = max(self._skipped, skipped)
            if time.monotonic() - self._drawn_at < UPDATED_EVERY_S:
                return
            self._drawn_at = time.monotonic()
        self.draw()

    def set_total(self, total: int) -> None:
        """Seen when it is drawn next."""
        self._total = total

    def count_ahead(self, count: Callable[[], int]) -> None:
        """Counts in a thread that nobody waits for."""
        Thread(target=lambda: self.set_total(count()), daemon=True).start()

    def draw(self) -> None:
        """Replaces what the notebook shows of it."""
        if self.handle is not None:
            self.handle.update(self)

    def _repr_html_(self) -> str:
        extent = "" if self._total is None else f' value="{self._done}" max="{max(self._total, 1)}"'
        return f"<progress{extent}></progress> {escape(repr(self))}"

    def __repr__(self) -> str:
        of = "" if self._total is None else f" of {self._total:,}"
        skipped = f", {self._skipped:,} skipped" if self._skipped else ""
        return f"{self._title}: {self._done:,}{of} {self._unit}{skipped}"
