"""Tests the page of a map in a real browser: marks, thumbnails, classes and zoom."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from browser import OpenPage
from lookalike_search.reports.map import EDGE
from map_pages import Draw, make_map

LookAt = Callable[..., OpenPage]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Path:
    """Writes the page of `make_map`."""
    return make_map(tmp_path_factory.mktemp("map"), draw)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_loads_without_console_messages_requests_or_scrolling(
    page: Path, look_at: LookAt, width: int, scheme: Literal["light", "dark"]
) -> None:
    """The page is opened from a file, at the widths of a desktop and of a phone."""
    seen = look_at(page, width=width, phone=width < 500, scheme=scheme)
    assert seen.logged == []
    assert [url for url in seen.requested if not url.startswith("data:")] == [page.as_uri()]
    assert seen.run("document.documentElement.scrollWidth") <= width


def test_a_mark_shows_its_image_by_keyboard(page: Path, look_at: LookAt) -> None:
    """Arrow keys move from mark to mark; the shown image is announced to screen readers, too."""
    seen = look_at(page)
    shown = seen.run("""(() => {
        const map = document.querySelector('[data-map]'), seen = [];
        map.focus();
        for (const key of ['ArrowLeft', 'ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown']) {
            map.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
            const near = document.querySelector('.near');
            seen.push([near.hidden, near.querySelector('.path').textContent,
                       document.querySelector('[role=status]').textContent]);
        }
        return seen;
    })()""")
    assert not any(hidden for hidden, _, _ in shown)
    assert len({path for _, path, _ in shown}) > 1
    assert all(said.endswith(f": {path}") for _, path, said in shown)
    assert seen.logged == []


def test_a_mark_shows_its_thumbnail_under_the_pointer(page: Path, look_at: LookAt) -> None:
    """The thumbnail is that of the list, and disappears when the pointer leaves the mark."""
    seen = look_at(page)
    size = seen.run("""(async () => {
        const mark = document.querySelector('use[data-n="3"]');
        mark.dispatchEvent(new PointerEvent('pointerenter'));
        const image = document.querySelector('.near img');
        await image.decode();
        return [image.naturalWidth, image.src === document.querySelector('#p3 img').src];
    })()""")
    assert size == [min(64, EDGE), True]
    seen.run("document.querySelector('[data-map]').dispatchEvent(new PointerEvent('pointerleave'))")
    assert seen.run("document.querySelector('.near').hidden")


def test_classes_can_be_hidden_and_the_map_zoomed(page: Path, look_at: LookAt) -> None:
    """A class's checkbox hides its marks; the buttons zoom in and back out."""
    seen = look_at(page)
    shown = "[...document.querySelectorAll('use[data-n]')].filter(u => u.getClientRects().length).length"
    assert seen.run(shown) == 12
    seen.run("document.querySelector('#show-0').click()")
    assert seen.run(shown) == 8
    box = "document.querySelector('[data-map]').viewBox.baseVal.width"
    full = seen.run(box)
    seen.run("document.querySelector('[aria-label=\"Zoom in\"]').click()")
    assert seen.run(box) == pytest.approx(full / 1.5)
    seen.run("[...document.querySelectorAll('button')].find(b => b.textContent === 'Whole map').click()")
    assert seen.run(box) == full
    assert seen.logged == []
