"""Writes the tutorial in Python as a notebook, `examples/tutorial.ipynb`: `make reference`.

Text becomes cells of Markdown, blocks of Python and commands cells of code, and what a block prints its
output. A test compares both.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tutorial" / "python.md"
NOTEBOOK = ROOT / "examples" / "tutorial.ipynb"

_BLOCK = re.compile(
    r"^```(?P<kind>python|console)\n(?P<code>.*?)^```\n(?:\n```text\n(?P<shown>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


def main() -> None:
    """Writes the notebook, and says whether it changed."""
    text = notebook_text(PAGE.read_text(encoding="utf-8"))
    if not NOTEBOOK.exists() or NOTEBOOK.read_text(encoding="utf-8") != text:
        NOTEBOOK.write_text(text, encoding="utf-8")
        print(f"wrote {NOTEBOOK.relative_to(ROOT)}")


def notebook_text(page: str) -> str:
    """Returns the notebook of a page, as JSON in nbformat 4."""
    cells = [{**cell, "id": f"cell-{number}"} for number, cell in enumerate(_cells(page))]
    python = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": cells, "metadata": {"kernelspec": python}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _cells(page: str) -> Iterator[dict[str, Any]]:
    end = 0
    for block in _BLOCK.finditer(page):
        yield from _text_cell(page[end : block.start()])
        yield _code_cell(block["kind"], block["code"], block["shown"])
        end = block.end()
    yield from _text_cell(page[end:])


def _text_cell(text: str) -> Iterator[dict[str, Any]]:
    """Yields a cell unless the text is empty; its links lead to the same places, seen from the notebook."""
    if text.strip():
        seen = re.sub(r"\]\((?!\w+:|#)([^)]+)\)", lambda link: f"]({_from_notebook(link[1])})", text.strip())
        yield {"cell_type": "markdown", "metadata": {}, "source": _lines(seen)}


def _from_notebook(link: str) -> str:
    return Path(os.path.relpath(PAGE.parent / link, NOTEBOOK.parent)).as_posix()


def _code_cell(kind: str, code: str, shown: str | None) -> dict[str, Any]:
    source = re.sub(r"^\$ ", "!", code, flags=re.MULTILINE) if kind == "console" else code
    stream = {"name": "stdout", "output_type": "stream", "text": _lines(shown)} if shown else None
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [stream] if stream else [],
        "source": _lines(source.rstrip("\n")),
    }


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


if __name__ == "__main__":
    main()
