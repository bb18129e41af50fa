"""The page of an explanation in a real browser: what its script adds."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from browser import OpenPage
from explanation_pages import make_page

LookAt = Callable[..., OpenPage]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """See `make_page`."""
    return make_page(tmp_path)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_is_quiet_asks_for_nothing_and_fits(
    page: Path, look_at: LookAt, width: int, scheme: Literal["light", "dark"]
) -> None:
    """From a file, on a desk and on a phone."""
    seen = look_at(page, width=width, phone=width < 500, scheme=scheme)
    assert seen.logged == []
    assert [url for url in seen.requested if not url.startswith("data:")] == [page.as_uri()]
    assert seen.run("document.documentElement.scrollWidth") <= width
    loaded = "[...document.querySelectorAll('svg image')].every(i => i.getBBox().width > 0)"
    assert seen.run(loaded)


def test_a_cell_shows_what_it_matches(page: Path, look_at: LookAt) -> None:
    """By keyboard: the cell is ringed, its three best matches are, and they are told."""
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
