"""Tests the map of `search serve` in a real browser: keys, pointer, classes and zoom."""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from browser import OpenPage
from served import Served, wait_for_job

pytestmark = pytest.mark.slow

LookAt = Callable[..., OpenPage]

SAID = "[...document.querySelectorAll('[role=status]')].map(each => each.textContent).join('')"
INK = """(() => {
    const canvas = document.querySelector('#map');
    const copy = new OffscreenCanvas(canvas.width, canvas.height);
    const brush = copy.getContext('2d', { willReadFrequently: true });
    brush.drawImage(canvas, 0, 0);
    const { data } = brush.getImageData(0, 0, canvas.width, canvas.height);
    let painted = 0;
    for (let i = 3; i < data.length; i += 4) painted += data[i] > 0;
    return painted;
})()"""


@pytest.fixture(scope="module")
def mapped(served: Served) -> Iterator[Served]:
    """Returns a server with a map that is done."""
    with served.client() as client:
        job = client.post("/api/v1/jobs/map", json={}).headers["location"]
        wait_for_job(client, job)
        yield served


def look_at_map(look_at: LookAt, served: Served, **options: Any) -> OpenPage:
    """Returns the page once its marks are drawn."""
    seen = look_at(f"{served.url}/map", **options)
    seen.tab.wait_for_selector("#map:visible")
    seen.wait_for(f"{INK} > 200")
    return seen


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_map_is_accessible(
    mapped: Served, look_at: LookAt, width: int, scheme: Literal["light", "dark"]
) -> None:
    """Judged by axe-core's rules; nothing is said in the console, and nothing overflows."""
    seen = look_at_map(look_at, mapped, width=width, phone=width < 500, scheme=scheme)
    assert seen.violations() == []
    assert seen.logged == []
    assert all(url.startswith((mapped.url, "data:", "blob:")) for url in seen.requested)
    assert seen.run("document.documentElement.scrollWidth") <= width


def test_keys_go_from_image_to_image_and_ask(mapped: Served, look_at: LookAt) -> None:
    """Each is shown with its thumbnail and announced; Enter asks with it, and back shows the map."""
    seen = look_at_map(look_at, mapped)
    seen.tab.locator("[data-tools] button").last.focus()
    seen.tab.keyboard.press("Shift+Tab")
    seen.tab.keyboard.press("Shift+Tab")
    seen.tab.keyboard.press("Shift+Tab")
    assert seen.run("document.activeElement.id") == "map"
    paths = set()
    for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "ArrowRight"):
        seen.tab.keyboard.press(key)
        paths.add(path := seen.tab.inner_text(".near .path"))
        assert path in seen.run(SAID)
    assert len(paths) > 2
    seen.wait_for("document.querySelector('.near img').naturalWidth > 0")
    assert seen.violations() == []
    seen.tab.keyboard.press("Enter")
    seen.tab.wait_for_selector("main[data-view=ask]")
    assert "&id=" in seen.tab.url
    seen.tab.go_back()
    seen.tab.wait_for_selector("#map:visible")
    assert seen.logged == []


def test_the_pointer_shows_an_image_and_a_click_asks(mapped: Served, look_at: LookAt) -> None:
    """Where an image is, its card is shown; elsewhere it is hidden."""
    seen = look_at_map(look_at, mapped)
    x, y = find_first_image(seen)
    seen.tab.mouse.move(x, y)
    seen.wait_for("!document.querySelector('.near').hidden")
    path = seen.tab.inner_text(".near .path")
    left, top, *_ = seen.run(BOX)
    seen.tab.mouse.move(left + 3, top + 3)
    seen.wait_for("document.querySelector('.near').hidden")
    seen.tab.mouse.click(x, y)
    seen.tab.wait_for_selector("main[data-view=ask]")
    with mapped.client() as client:
        id_ = seen.tab.url.rpartition("id=")[2]
        assert client.get(f"/api/v1/images/{id_}").json()["path"] == path


BOX = """(() => {
    const box = document.querySelector('#map').getBoundingClientRect();
    const { width, height } = document.querySelector('[data-stage]').dataset;
    return [box.left, box.top, box.width, box.height, Number(width), Number(height)];
})()"""


def find_first_image(seen: OpenPage) -> tuple[float, float]:
    """Returns where on the screen the first image of the whole map is."""
    address = seen.run("document.querySelector('[data-stage]').dataset.points")
    points = seen.tab.request.get(seen.run("location.origin") + address).body()
    [count] = struct.unpack_from("<I", points)
    [x], [y] = struct.unpack_from("<f", points, 8), struct.unpack_from("<f", points, 8 + 4 * count)
    left, top, width, height, full_width, full_height = seen.run(BOX)
    scale = min(width / full_width, height / full_height)
    return (
        left + width / 2 + (x - full_width / 2) * scale,
        top + height / 2 + (y - full_height / 2) * scale,
    )


def test_classes_are_hidden_and_the_map_is_zoomed(mapped: Served, look_at: LookAt) -> None:
    """Hidden marks are not drawn and not found; the whole map is shown again by a button."""
    seen = look_at_map(look_at, mapped)
    whole = seen.run(INK)
    seen.tab.click("text=Hide all")
    seen.wait_for(f"{INK} === 0")
    seen.tab.focus("#map")
    seen.tab.keyboard.press("ArrowLeft")
    assert seen.tab.is_hidden(".near")
    seen.tab.click("text=Show all")
    seen.wait_for(f"{INK} > {whole // 2}")
    seen.tab.click('[aria-label="Zoom in"]')
    assert seen.run("document.querySelector('.stage').classList.contains('zoomed')")
    seen.tab.click("text=Whole map")
    assert not seen.run("document.querySelector('.stage').classList.contains('zoomed')")
    seen.tab.locator("#map").hover()
    seen.tab.keyboard.down("Control")
    seen.tab.mouse.wheel(0, -300)
    seen.wait_for("document.querySelector('.stage').classList.contains('zoomed')")
    assert seen.logged == []


def test_a_tap_shows_an_image_and_its_link_asks(mapped: Served, chromium: Any) -> None:
    """On a touch screen, where nothing can be pointed at."""
    window = chromium.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    seen = OpenPage(tab=window.new_page())
    seen.tab.goto(f"{mapped.url}/map")
    seen.tab.wait_for_selector("#map:visible")
    seen.wait_for(f"{INK} > 200")
    seen.tab.touchscreen.tap(*find_first_image(seen))
    seen.tab.wait_for_selector(".near a:visible")
    assert seen.violations() == []
    seen.tab.tap(".near a")
    seen.tab.wait_for_selector("main[data-view=ask]")
    window.close()


def test_two_fingers_zoom_the_map(mapped: Served, chromium: Any) -> None:
    """What is between them stays there; two fingers that come nearer show more again."""
    window = chromium.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    seen = OpenPage(tab=window.new_page())
    seen.tab.goto(f"{mapped.url}/map")
    seen.tab.wait_for_selector("#map:visible")
    seen.wait_for(f"{INK} > 200")
    seen.tab.locator("#map").scroll_into_view_if_needed()
    left, top, width, height, *_ = seen.run(BOX)
    touch = window.new_cdp_session(seen.tab)

    def pinch(*gaps: int) -> None:
        for number, gap in enumerate(gaps):
            fingers = [
                {"x": left + width / 2 + side * gap / 2, "y": top + height / 2, "id": finger}
                for finger, side in enumerate((-1, 1))
            ]
            kind = "touchMove" if number else "touchStart"
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    zoomed = "document.querySelector('.stage').classList.contains('zoomed')"
    scale = "visualViewport.scale"
    before = seen.run(scale)
    pinch(60, 90, 140, 200)
    seen.wait_for(zoomed)
    assert seen.run(scale) == before, "the map is zoomed, not the page"
    pinch(240, 160, 90, 30)
    pinch(240, 160, 90, 30)
    seen.wait_for(f"!{zoomed}")
    assert seen.tab.is_hidden(".near"), "two fingers are no tap"
    window.close()
