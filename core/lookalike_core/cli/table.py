"""Aligned columns of text, by the width that a terminal gives each character."""

from collections.abc import Sequence

from lookalike_core.text import one_line


def cell_width(text: str) -> int:
    """Returns the width of `one_line(text)` on a terminal: 2 for wide characters, 0 for combining accents."""
    line = one_line(text)
    if line.isascii():
        return len(line)
    from rich.cells import cell_len

    return cell_len(line)


def pad(text: str, width: int) -> str:
    """Returns `text` as one line, padded with blanks to `width` columns."""
    line = one_line(text)
    return line + " " * (width - cell_width(line))


def align_columns(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Returns the rows as lines of aligned cells, two blanks apart.

    `sides` aligns each column but the last to the left, `<`, or to the right, `>`. The last column is never
    padded or cut, so that a path in it can be copied.
    """
    *widths, _ = (max(map(cell_width, column)) for column in zip(*rows, strict=True))
    lines = []
    for *cells, last in rows:
        shown = [_align(*each) for each in zip(cells, widths, sides, strict=True)]
        lines.append("  ".join([*shown, one_line(last)]))
    return lines


def _align(text: str, width: int, side: str) -> str:
    return pad(text, width) if side == "<" else " " * (width - cell_width(text)) + one_line(text)
