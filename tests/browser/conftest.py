"""Fixtures that open report pages in a real browser."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from browser import MISSING, OpenPage, find_chromium, open_page, running_browser
from served import Served, album, hanging_command, serving

__all__ = ["album"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Starts one browser for a module, so that Playwright's event loop does not run during other tests."""
    program = find_chromium()
    if program is None:
        pytest.skip(MISSING)
    pytest.importorskip("playwright", reason="Playwright is not installed; `make check` installs it")
    with running_browser(program) as browser:
        yield browser


@pytest.fixture
def look_at(chromium: Any) -> Iterator[Callable[..., OpenPage]]:
    """Returns a function that opens pages: `look_at(file, width=..., phone=..., scheme=..., media=...)`."""
    yield partial(open_page, chromium)
    for window in chromium.contexts:
        window.close()


@pytest.fixture(scope="module")
def served(album: Any) -> Iterator[Served]:
    """Returns a server over images of two classes, whose pages a browser can open."""
    with serving(album.folder / "home") as one:
        yield one


@pytest.fixture(scope="module")
def hanging(album: Any) -> Iterator[Served]:
    """Returns a server over the same images, whose jobs run until they are cancelled."""
    with serving(album.folder / "home", job_command=hanging_command) as one:
        yield one
