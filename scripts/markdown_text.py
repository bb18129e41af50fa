"""Tables and sentences in Markdown."""

from collections.abc import Iterable, Iterator, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table, a line at a time."""
    for cells in [head, ["---"] * len(head), *rows]:
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def paragraph(text: str) -> list[str]:
    """A text below an empty line."""
    return ["", text]


def plain(text: str | None) -> str:
    """Text of any number of lines for a cell of a table."""
    return " ".join((text or "").split()).replace("<", "&lt;")


def one_of(words: Iterable[object]) -> str:
    """Words as code: `a`, `b` or `c`."""
    *most, last = [f"`{word}`" for word in words]
    return f"{', '.join(most)} or {last}" if most else last
