"""A browser to look at pages with."""

from collections.abc import Iterator

import pytest
from chromium import MISSING, Tab, chromium, open_tab


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A page in a headless Chromium; one browser serves all tests."""
    program = chromium()
    if program is None:
        pytest.skip(MISSING)
    with open_tab(program, tmp_path_factory.mktemp("chromium")) as opened:
        yield opened
