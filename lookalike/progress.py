"""Shows progress of long work by a function of yours: `with lookalike.progress.shown_by(show_bar):`.

`show_bar(title, unit=..., total=...)` returns a context manager of a `Bar`; None hides all bars. Notebooks
show bars by default.
"""

from lookalike_core.progress import Bar, HiddenBar, ShowBar, shown_by

__all__ = ["Bar", "HiddenBar", "ShowBar", "shown_by"]
