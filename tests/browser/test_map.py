"""The page of a map in a real browser: marks, thumbnails, classes and zoom."""

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
    """See `make_map`."""
    return make_map(tmp_path_factory.mktemp("map"), draw)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_is_quiet_asks_for_nothing_and_fits(
    page: Path, look_at: LookAt, width: int, scheme: Literal["light", "dark"]
) -> None:
    """From a file, on a desk and on a phone."""
    seen = look_at(page, width=width, phone=width < 500, scheme=scheme)
    assert seen.logged == []
    assert [url for url in seen.requested if not url.startswith("data:")] == [page.as_uri()]
    assert seen.run("document.documentElement.scrollWidth") <= width


def test_a_mark_shows_its_image_by_keyboard(page: Path, look_at: LookAt) -> None:
    """Arrow keys go from mark to mark; what is shown is also said."""
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


def test_a_mark_shows_its_image_where_it_is_pointed_at(page: Path, look_at: LookAt) -> None:
    """The thumbnail is that of the list; elsewhere it goes away."""
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


def test_classes_are_hidden_and_the_map_is_zoomed(page: Path, look_at: LookAt) -> None:
    """A class's box takes its marks away; the buttons bring the map nearer and back."""
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
