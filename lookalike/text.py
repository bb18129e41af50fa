"""Text that others wrote, made fit for a line that people read: shown, never obeyed, and aligned.

Names of files and classes, labels and what servers say may hold anything that a terminal acts on. Whatever
is shown in `console`, drawn or put on a page comes through here; nobody else has to think of it.
"""

from collections.abc import Sequence


def one_line(text: str, *, kept: str = "") -> str:
    """Text as one line that a terminal shows and does not obey.

    What cannot be printed (control characters of both sets, line breaks of every kind, what turns the
    direction of writing, what has no width, lone surrogates) stands as in Python's `repr`, but for `kept`.
    What is one line already comes back as it is.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in kept else repr(char)[1:-1] for char in text)


def cell_width(text: str) -> int:
    """How many columns of a terminal `one_line(text)` takes: two for a wide character, none for an accent."""
    line = one_line(text)
    if line.isascii():
        return len(line)
    from rich.cells import cell_len

    return cell_len(line)


def padded(text: str, width: int) -> str:
    """`text` as one line, with blanks behind it to `width` columns."""
    line = one_line(text)
    return line + " " * (width - cell_width(line))


def columns(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """The rows as lines whose cells stand below each other, two blanks apart.

    `sides` says of each column but the last whether it is set to the left, `<`, or to the right, `>`. The
    last one is as long as it is, for a path that stands there is to be copied.
    """
    *widths, _ = (max(map(cell_width, column)) for column in zip(*rows, strict=True))
    lines = []
    for *cells, last in rows:
        shown = [_set(*each) for each in zip(cells, widths, sides, strict=True)]
        lines.append("  ".join([*shown, one_line(last)]))
    return lines


def _set(text: str, width: int, side: str) -> str:
    return padded(text, width) if side == "<" else " " * (width - cell_width(text)) + one_line(text)
