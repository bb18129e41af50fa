"""Thumbnails in a terminal: half blocks in two colours, beside rows that are not wrapped."""

import re
from pathlib import Path

import pytest
from lookalike_search.commands import half_blocks
from lookalike_search.commands.half_blocks import COLUMNS, LINES, illustrate, stdout_colours
from PIL import Image

TABLE = ["query.png in a", "rank  path", "   1  one.png", "   2  two.png", "verdict: x"]
ROW = re.compile(r"\x1b\[[0-9;]*m")


def plain(text: str) -> list[str]:
    """Returns the lines without colour codes."""
    return ROW.sub("", text).split("\n")


def save(path: Path, size: tuple[int, int], colour: tuple[int, int, int]) -> Path:
    """Writes an image of one colour."""
    Image.new("RGB", size, colour).save(path)
    return path


def test_a_row_is_not_wrapped_beside_the_last_line_of_its_thumbnail(tmp_path: Path) -> None:
    """A long path can be copied whole; lines after the neighbours do not change."""
    red = save(tmp_path / "red.png", (120, 70), (200, 0, 0))
    long = [line.replace("one.png", "one/" * 60 + "one.png") for line in TABLE]
    lines = plain(illustrate(long, red, [red, red], "truecolor"))
    assert len(lines) == 3 * LINES + 2
    assert lines[LINES - 1] == "▀" * COLUMNS + "  query.png in a"
    assert lines[LINES] == " " * COLUMNS + "  rank  path"
    assert lines[2 * LINES] == "▀" * COLUMNS + "     1  " + "one/" * 60 + "one.png"
    assert lines[-1] == "verdict: x"


def test_a_half_block_has_the_colours_of_two_pixels(tmp_path: Path) -> None:
    """The upper pixel is the foreground, the lower one the background."""
    red = save(tmp_path / "red.png", (120, 70), (200, 0, 0))
    text = illustrate(TABLE, red, [None, red], "truecolor")
    assert text.count("38;2;200;0;0;48;2;200;0;0m") == 2 * (LINES - 1) * COLUMNS
    blue = save(tmp_path / "blue.png", (120, 70), (0, 0, 200))  # Rich keeps the codes of a style it has seen
    few = illustrate(TABLE, blue, [None, blue], "256")
    assert "38;5;" in few
    assert "38;2;" not in few


@pytest.mark.parametrize(("size", "columns"), [((40, 120), 2), ((70, 70), 7)])
def test_a_thumbnail_keeps_its_aspect_ratio(tmp_path: Path, size: tuple[int, int], columns: int) -> None:
    """A narrow one is centred; a square one has two columns for each line."""
    file = save(tmp_path / "a.png", size, (0, 90, 0))
    line = plain(illustrate(TABLE, file, [file, file], "truecolor"))[LINES - 1][:COLUMNS]
    assert line.count("▀") == columns
    assert line.strip() == "▀" * columns


def test_a_missing_file_has_a_blank_thumbnail(tmp_path: Path) -> None:
    """Its row is aligned with the others."""
    lines = plain(illustrate(TABLE, None, [tmp_path / "gone.png", None], "truecolor"))
    assert lines[LINES - 1] == " " * COLUMNS + "  query.png in a"
    assert "▀" not in "".join(lines)


def test_no_neighbours_leave_the_table_as_it_is(tmp_path: Path) -> None:
    """It has its title, its heading, and the line that gives the reason."""
    lines = plain(illustrate(["q in a", "rank", "no image fits"], None, [], "256"))
    assert lines[LINES:] == [" " * COLUMNS + "  rank", "no image fits"]


class _Terminal:
    """A stand-in for stdout."""

    def __init__(self, *, is_terminal: bool = True, encoding: str = "utf-8") -> None:
        self._is_terminal = is_terminal
        self.encoding = encoding

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize(
    ("terminal", "variables", "expected"),
    [
        (_Terminal(), {"COLORTERM": "truecolor"}, "truecolor"),
        (_Terminal(), {}, "256"),
        (_Terminal(), {"TERM": "xterm"}, None),
        (_Terminal(), {"TERM": "dumb"}, None),
        (_Terminal(), {"NO_COLOR": "1"}, None),
        (_Terminal(), {"COLUMNS": "50"}, None),
        (_Terminal(encoding="iso-8859-1"), {}, None),
        (_Terminal(is_terminal=False), {"FORCE_COLOR": "1"}, None),
    ],
)
def test_thumbnails_are_for_terminals_with_enough_colours(
    terminal: _Terminal, variables: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`NO_COLOR` turns them off, and a pipe never gets them."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "100", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(half_blocks.sys, "stdout", terminal)
    assert stdout_colours() == expected
