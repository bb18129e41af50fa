"""Tests the view of classes and images in a real browser: scrolling, keys and back."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from browser import PAINTED, OpenPage
from served import Served, serving

pytestmark = pytest.mark.slow

LookAt = Callable[..., OpenPage]

MANY = 600

TILES = "document.querySelectorAll('.tile').length"
SHOWN = "document.querySelectorAll('.tile img').length"
IN_SIGHT = """(() => {
    const boxes = [...document.querySelectorAll('.tile')].map(each => each.getBoundingClientRect());
    const box = boxes.find(each => each.top > 300);
    return [box.left + box.width / 2, box.top + box.height / 2];
})()"""
FOCUSED = "Number(document.activeElement.closest('.tile')?.getAttribute('aria-posinset'))"


@pytest.fixture(scope="module")
def shelf(
    make_shell: Callable[[Path], Any], draw: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Returns a server over many copies of an image, and two of another class."""
    shell = make_shell(tmp_path_factory.mktemp("shelf"))
    first, *_ = draw(shell.folder / "album", "cat/0000.png", "dog/0.png", "dog/1.png")
    for number in range(1, MANY):
        shutil.copy(first, first.with_name(f"{number:04}.png"))
    done = shell.ingest("album")
    assert done.code == 0, done.err
    with serving(shell.folder / "home") as one:
        yield one


@pytest.mark.parametrize(
    ("path", "width", "scheme"),
    [
        ("/browse", 1280, "light"),
        ("/browse?q=zebra", 390, "dark"),
        ("/browse?class=cat", 390, "dark"),
        ("/browse?images=all", 1280, "light"),
    ],
)
def test_lists_are_accessible(
    shelf: Served, look_at: LookAt, path: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    """Judged by axe-core's rules; nothing is said in the console, and nothing overflows."""
    seen = look_at(shelf.url + path, width=width, phone=width < 500, scheme=scheme)
    assert seen.violations() == []
    assert seen.logged == []
    assert seen.run("document.documentElement.scrollWidth") <= width


def test_a_class_leads_to_its_images_and_an_image_to_asking(shelf: Served, look_at: LookAt) -> None:
    """A class is found while typing; going back shows the place that was left."""
    seen = look_at(f"{shelf.url}/browse")
    seen.tab.locator("#find-class").press_sequentially("cat", delay=300)  # an answer comes between letters
    seen.tab.wait_for_url("**/browse?q=cat")
    seen.wait_for("document.querySelectorAll('.classes li').length === 1")
    assert seen.tab.input_value("#find-class") == "cat"
    assert seen.tab.locator(".classes li").count() == 1
    assert seen.run("document.activeElement.id") == "find-class"
    seen.tab.click(".classes a")
    seen.tab.wait_for_selector(".tile img")
    seen.run("scrollTo(0, 4000)")
    seen.wait_for(f"{SHOWN} > 100 && {SHOWN} === {TILES}")
    seen.tab.mouse.click(*seen.run(IN_SIGHT))
    seen.tab.wait_for_selector("main[data-view=ask]")
    assert "/?id=" in seen.tab.url
    seen.tab.go_back()
    seen.wait_for(f"scrollY === 4000 && {SHOWN} > 100")
    assert seen.logged == []


def test_scrolling_shows_all_images_and_keeps_few(shelf: Served, look_at: LookAt) -> None:
    """The grid is as long as all images, but has only those near what is seen; page links are gone."""
    seen = look_at(f"{shelf.url}/browse?class=cat")
    seen.tab.wait_for_selector("[data-turn]", state="detached")  # the script has started
    length = seen.run("document.documentElement.scrollHeight")
    most, ids = 0, set()
    for top in range(0, length, 1500):
        seen.run(f"scrollTo(0, {top})")
        seen.run(PAINTED)
        seen.wait_for(f"{SHOWN} > 0 && {SHOWN} === {TILES}")
        most = max(most, seen.run(TILES))
        ids |= set(seen.run("[...document.querySelectorAll('.tile a')].map(each => each.href)"))
    assert len(ids) == MANY
    assert most < 300
    assert seen.run("document.documentElement.scrollHeight") == length
    assert seen.tab.inner_text("[data-place]").endswith("of 600 images")
    assert not seen.tab.is_visible("[data-turn]")


def test_keys_go_from_image_to_image(shelf: Served, look_at: LookAt) -> None:
    """Also to such that are not loaded yet; one of them can be reached by Tab."""
    seen = look_at(f"{shelf.url}/browse?class=cat")
    seen.wait_for("document.querySelectorAll('.tile a[tabindex=\"0\"]').length === 1")
    seen.tab.focus('.tile a[tabindex="0"]')
    for key, place in (
        ("ArrowRight", 2),
        ("ArrowDown", 10),
        ("ArrowLeft", 9),
        ("End", MANY),
        ("ArrowUp", 592),
    ):
        seen.tab.keyboard.press(key)
        seen.wait_for(f"{FOCUSED} === {place}")
    seen.tab.keyboard.press("Home")
    seen.wait_for(f"{FOCUSED} === 1")
    href = seen.run("document.activeElement.href")
    seen.tab.keyboard.press("Enter")
    seen.tab.wait_for_selector("main[data-view=ask]")
    assert seen.tab.url == href


def test_an_address_with_a_place_begins_there(shelf: Served, look_at: LookAt) -> None:
    """As a page link that was followed without a script and then shared."""
    seen = look_at(f"{shelf.url}/browse?class=cat&offset=400")
    seen.wait_for(f"{SHOWN} > 0 && {SHOWN} === {TILES}")
    assert seen.tab.inner_text("[data-place]").startswith("401 to")


def test_an_image_whose_file_has_changed_says_so(shelf: Served, look_at: LookAt) -> None:
    """In its place, with its name for screen readers."""
    (shelf.images / "dog" / "1.png").write_bytes(b"something else")
    seen = look_at(f"{shelf.url}/browse?class=dog")
    seen.tab.wait_for_selector(".tile .gone")
    assert seen.violations() == []
