"""A browser to look at pages with."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from browser import MISSING, OpenPage, find_chromium, open_page, running_browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for a module, so that Playwright's event loop is not left running for tests elsewhere."""
    program = find_chromium()
    if program is None:
        pytest.skip(MISSING)
    pytest.importorskip("playwright", reason="Playwright is not installed; `make check` installs it")
    with running_browser(program) as browser:
        yield browser


@pytest.fixture
def look_at(chromium: Any) -> Iterator[Callable[..., OpenPage]]:
    """Opens pages: `look_at(file, width=..., phone=..., scheme=..., media=...)`; see `browser.open_page`."""
    yield partial(open_page, chromium)
    for window in chromium.contexts:
        window.close()
