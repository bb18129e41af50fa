"""Columns on a terminal."""

import pytest
from lookalike_core.cli.table import cell_width, columns, padded
from lookalike_core.text import one_line


@pytest.mark.parametrize(
    ("text", "width"), [("", 0), ("cat", 3), ("猫", 2), ("e\u0301", 1), ("\x1b", 4), ("\u202e", 6)]
)
def test_a_width_is_what_a_terminal_makes_of_it(text: str, width: int) -> None:
    """Of the escapes, where there are any."""
    assert cell_width(text) == width
    assert padded(text, 8) == one_line(text) + " " * (8 - width)


def test_columns_stand_below_each_other() -> None:
    """By their width on a terminal, and nothing stands behind the last cell."""
    rows = [["rank", "class", "path"], ["1", "猫", "a.png"], ["10", "a\x07", "b c.png"]]
    assert columns(rows, "><") == [
        "rank  class  path",
        "   1  猫     a.png",
        r"  10  a\x07  b c.png",
    ]
