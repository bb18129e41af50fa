"""Draws thumbnails in a terminal: a half block in one colour on another shows two pixels per character.

They are drawn only on a terminal with enough colours; a pipe gets plain text.
"""

import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lookalike_core.errors import SkipReason
from lookalike_core.images.thumbnails import pixels_within
from lookalike_core.text import one_line

if TYPE_CHECKING:
    from rich.text import Text

COLUMNS, LINES = 12, 4
"""The size of a thumbnail: half a character is about square, and half a line is left between two."""

LEAST_WIDTH = 60
"""The least width of a terminal in columns; a narrower one shows no thumbnails."""

Pixel = tuple[int, int, int] | None
ColourSystem = Literal["256", "truecolor"]


def stdout_colours() -> ColourSystem | None:
    """Returns the colours of stdout for thumbnails; None if stdout is no terminal or has too few colours.

    `NO_COLOR`, `TERM` and `COLORTERM` are read as Rich reads them.
    """
    if not sys.stdout.isatty() or not (sys.stdout.encoding or "").lower().startswith("utf"):
        return None
    from rich.console import Console

    console = Console()
    if console.no_color or console.is_dumb_terminal or console.legacy_windows:
        return None
    if console.width < LEAST_WIDTH:
        return None
    match console.color_system:
        case "truecolor" | "256" as system:
            return system
    return None


def illustrate(
    table: Sequence[str], query: Path | None, neighbours: Sequence[Path | None], system: ColourSystem
) -> str:
    """Returns a table of neighbours with a thumbnail before its title and before each of its rows.

    The first line is the title, the second the heading, the next are the neighbours. A row is beside the last
    line of its thumbnail and is not cut, so that a long path continues below and can be copied. Colours are
    its only control sequences.
    """
    title, heading, *rest = map(one_line, table)
    count = len(neighbours)
    lines: list[Line] = [*_join_lines(query, title), [" " * COLUMNS, f"  {heading}"]]
    for file, row in zip(neighbours, rest[:count], strict=True):
        lines += _join_lines(file, row)
    return "\n".join([_render(lines, system), *rest[count:]])


Line = list["Text | str"]


def _join_lines(file: Path | None, row: str) -> list[Line]:
    """Returns the lines of a thumbnail; the row follows the last one."""
    lines: list[Line] = [[_characters(*pair)] for pair in _pairs_of_lines(file)]
    lines[-1].append(f"  {row}")
    return lines


def _pairs_of_lines(file: Path | None) -> Iterator[tuple[list[Pixel], list[Pixel]]]:
    """Yields the upper and lower pixels of each line, None where there is no image."""
    height = 2 * LINES
    grid: list[list[Pixel]] = [[None] * COLUMNS for _ in range(height)]
    found = SkipReason.VANISHED if file is None else pixels_within(file, COLUMNS, height - 1)
    if not isinstance(found, SkipReason):
        top, left = height - found.shape[0], (COLUMNS - found.shape[1]) // 2
        for y, row in enumerate(found.tolist(), start=top):
            grid[y][left : left + len(row)] = [tuple(pixel) for pixel in row]
    yield from zip(grid[::2], grid[1::2], strict=True)


def _characters(upper: Sequence[Pixel], lower: Sequence[Pixel]) -> "Text":
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    def colour(pixel: Pixel) -> Color | None:
        return Color.from_rgb(*pixel) if pixel else None

    line = Text()
    for above, below in zip(upper, lower, strict=True):
        if above is not None:
            line.append("▀", Style.from_color(colour(above), colour(below)))
        elif below is not None:
            line.append("▄", Style.from_color(colour(below)))
        else:
            line.append(" ")
    return line


def _render(lines: Sequence[Line], system: ColourSystem) -> str:
    """Returns the lines with the terminal's colour codes, not wrapped and not cut."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=io.StringIO(), force_terminal=True, color_system=system, width=COLUMNS)
    with console.capture() as captured:
        for line in lines:
            console.print(Text.assemble(*line), soft_wrap=True, highlight=False)
    return captured.get().removesuffix("\n")
