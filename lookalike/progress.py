"""How far long work has come: `with lookalike.progress.shown_by(show_bar):` shows it as one likes.

`show_bar(title, unit=..., total=...)` returns a context manager that gives a `Bar`; None hides all bars. A
notebook shows bars by itself.
"""

from lookalike_core.progress import Bar, HiddenBar, ShowBar, shown_by

__all__ = ["Bar", "HiddenBar", "ShowBar", "shown_by"]
