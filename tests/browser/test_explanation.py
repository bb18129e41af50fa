"""Tests the page of an explanation in a real browser: what its script adds."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from browser import OpenPage
from explanation_pages import make_page

LookAt = Callable[..., OpenPage]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Writes the page of `make_page`."""
    return make_page(tmp_path)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_loads_without_console_messages_requests_or_scrolling(
    page: Path, look_at: LookAt, width: int, scheme: Literal["light", "dark"]
) -> None:
    """The page is opened from a file, at the widths of a desktop and of a phone."""
    seen = look_at(page, width=width, phone=width < 500, scheme=scheme)
    assert seen.logged == []
    assert [url for url in seen.requested if not url.startswith("data:")] == [page.as_uri()]
    assert seen.run("document.documentElement.scrollWidth") <= width
    loaded = "[...document.querySelectorAll('svg image')].every(i => i.getBBox().width > 0)"
    assert seen.run(loaded)


def test_a_focused_cell_marks_its_best_matches(page: Path, look_at: LookAt) -> None:
    """A cell focused by keyboard is outlined, as are its three best matches, which text lists as well."""
    seen = look_at(page)
    told = seen.run("""(() => {
        const svg = document.querySelector('svg.image');
        svg.focus();
        svg.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowUp', bubbles: true }));
        return document.querySelector('[data-told]').textContent;
    })()""")
    assert told.startswith("The query's row 3, column 4 brings ")
    assert "the neighbour's row 4, column 6" in told
    images = "[...document.querySelectorAll('.section:first-of-type svg.image')]"
    rings = f"{images}.map(image => image.querySelectorAll('.ring').length)"
    assert seen.run(rings) == [2, 6]
    seen.run("document.activeElement.blur()")
    assert seen.run(rings) == [0, 0]
    assert seen.logged == []
