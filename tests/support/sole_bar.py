"""Records progress for tests of progress bars."""

from contextlib import AbstractContextManager, nullcontext

from lookalike_core.progress import Bar, HiddenBar


class SoleBar(HiddenBar):
    """One progress bar in the place of all: `with shown_by(SoleBar()):`."""

    def __call__(self, title: str, *, unit: str, total: int | None) -> AbstractContextManager[Bar]:  # noqa: ARG002 - a `ShowBar`
        """Returns itself as the shown bar."""
        return nullcontext(self)
