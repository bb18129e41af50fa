"""Tables and sentences in Markdown."""

from collections.abc import Iterable, Iterator, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yields the lines of a table, without columns that are empty in all rows."""
    body = list(rows)
    shown = [number for number in range(len(head)) if any(row[number] for row in body) or not body]
    for cells in [head, ["---"] * len(head), *body]:
        yield "| " + " | ".join(cells[number].replace("|", r"\|") for number in shown) + " |"


def paragraph(text: str) -> list[str]:
    """Returns a text below an empty line."""
    return ["", text]


def plain(text: str | None) -> str:
    """Returns a text as one line, for a cell of a table."""
    return " ".join((text or "").split()).replace("<", "&lt;")


def one_of(words: Iterable[object]) -> str:
    """Returns words as code: `a`, `b` or `c`."""
    *most, last = [f"`{word}`" for word in words]
    return f"{', '.join(most)} or {last}" if most else last
