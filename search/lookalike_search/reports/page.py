"""Renders templates into self-contained HTML files: values are escaped, and a page loads nothing.

`templates/base.html` holds what all pages share: the policy that forbids requests, the style, the landmarks.
"""

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookalike_core.atomic import atomic_path
from lookalike_core.models.calibration_curves import percent
from lookalike_core.text import one_line

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"

_JOINERS = "\u200c\u200d"
"""Zero-width joiners of several scripts: invisible and harmless, so they stay."""


class Page:
    """A page before it is rendered: a file of `templates` and its values.

    Values are escaped; a template that uses a missing value raises `jinja2.UndefinedError`.
    """

    def __init__(self, template: str, **values: object) -> None:
        self._template, self._values = template, values

    def html(self) -> str:
        """Returns the page as text."""
        return "".join(self._parts())

    def write(self, path: Path) -> None:
        """Writes the page into a file atomically.

        Raises:
            OSError: the file cannot be written.
        """
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(self._parts())

    def _parts(self) -> Iterator[str]:
        return environment().get_template(self._template).generate(**self._values)


@cache
def environment() -> "Environment":
    """Returns the Jinja environment: it escapes everything, and writes control characters as escapes."""
    from importlib.metadata import version

    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["csp_hash"] = csp_hash
    made.filters["percent"] = percent
    made.filters["sentence"] = sentence
    made.globals["version"] = version("lookalike")
    return made


def _finalized(value: Any) -> Any:  # noqa: ANN401 - whatever a template prints
    return one_line(value, kept=_JOINERS) if type(value) is str else value  # what is markup is left as it is


def sentence(text: str) -> str:
    """Returns a text with a capital first letter, unless it begins with a name, as of a collection."""
    first = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if first.rstrip(",:;").isalpha() else text


def csp_hash(script: str) -> str:
    """Returns the hash-source of an inline script for a Content-Security-Policy (W3C CSP 3)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
