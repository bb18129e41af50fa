"""Hints and notices as data: readable, picklable and comparable."""

import pickle

import pytest
from lookalike_core.hints import Action, Argument, Hint, Notice


def test_a_notice_is_a_line_of_text_that_carries_a_hint() -> None:
    """Code that expects text can use it; other code reads the hint."""
    hint = Hint(Action.REBUILD, {Argument.COLLECTION: "vgg16-cosine"})
    notice = Notice("vgg16-cosine is old", hint=hint)
    assert notice == "vgg16-cosine is old"
    assert type(str(notice)) is str
    assert (notice.hint, Notice("nothing to do").hint) == (hint, None)


@pytest.mark.parametrize("notice", [Notice("a"), Notice("b", hint=Hint(Action.USE, {Argument.DIMS: "9"}))])
def test_a_notice_reaches_another_process_with_its_hint(notice: Notice) -> None:
    """Log records that go through a queue are pickled."""
    copy = pickle.loads(pickle.dumps(notice))  # noqa: S301 - made in the line before
    assert (copy, copy.hint) == (notice, notice.hint)
