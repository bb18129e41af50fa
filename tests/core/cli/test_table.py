"""Aligned columns on a terminal."""

import pytest
from lookalike_core.cli.table import align_columns, cell_width, pad
from lookalike_core.text import one_line


@pytest.mark.parametrize(
    ("text", "width"), [("", 0), ("cat", 3), ("猫", 2), ("e\u0301", 1), ("\x1b", 4), ("\u202e", 6)]
)
def test_the_width_of_a_text_is_in_columns_of_a_terminal(text: str, width: int) -> None:
    """Control characters count as their escapes."""
    assert cell_width(text) == width
    assert pad(text, 8) == one_line(text) + " " * (8 - width)


def test_columns_are_aligned() -> None:
    """Widths are those on a terminal; the last cell is not padded."""
    rows = [["rank", "class", "path"], ["1", "猫", "a.png"], ["10", "a\x07", "b c.png"]]
    assert align_columns(rows, "><") == [
        "rank  class  path",
        "   1  猫     a.png",
        r"  10  a\x07  b c.png",
    ]
