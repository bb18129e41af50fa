"""The style sheets and scripts of the pages, read once, so that no request names a file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from lookalike_search.reports.map import DARK, LIGHT
from lookalike_search.reports.page import TEMPLATES, Page
from lookalike_search.serving.problems import Code, RefusedError

FOLDER = "/static/"
"""The address under which they are."""

_MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_SHARED = (
    *("style.css", "images.css", "answer.css", "explained.css", "explained.js"),
    *("duplicate_groups.css", "evaluation.css", "audit.css"),
)
"""What reports have within them."""
_MARKS = "marks.css"
"""The style sheet of maps, with the colours of `reports.map`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    """A file that pages load: its bytes, media type and entity tag."""

    content: bytes
    media_type: str
    tag: str


def static_address(name: str) -> str:
    """Returns the address of a static file.

    Raises:
        KeyError: there is none of this name.
    """
    static_files()[name]
    return f"{FOLDER}{name}"


def static_response(request: Request) -> Response:
    """Returns the static file that a request names, or that it is unchanged.

    Raises:
        RefusedError: there is none of this name.
    """
    found = static_files().get(request.path_params["name"])
    if found is None:
        raise RefusedError(Code.NOT_FOUND, "there is nothing at this address")
    headers = {"ETag": found.tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)


@cache
def static_files() -> Mapping[str, StaticFile]:
    """Returns all static files by name."""
    own = [path for path in (Path(__file__).parent / "static").iterdir() if path.suffix in _MEDIA_TYPES]
    shared = [TEMPLATES / name for name in _SHARED]
    files = {path.name: _file(path.name, path.read_bytes()) for path in sorted(own + shared)}
    marks = Page("map.css", light=LIGHT, dark=DARK).html()
    return files | {_MARKS: _file(_MARKS, marks.encode())}


def _file(name: str, content: bytes) -> StaticFile:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return StaticFile(content=content, media_type=_MEDIA_TYPES[Path(name).suffix], tag=tag)
