"""Tests the views of duplicates in a real browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import OpenPage, follow_to
from served import Served, doubled_album, run_job, serving

__all__ = ["doubled_album"]

pytestmark = pytest.mark.slow

LookAt = Callable[..., OpenPage]
TOTAL = "form.marks [data-total]"


@pytest.fixture(scope="module")
def doubled(doubled_album: Any) -> Iterator[Served]:
    """Returns a server over images of which three are exact duplicates."""
    with serving(doubled_album.folder / "home") as served:
        yield served


def saved_list(seen: OpenPage, button: str) -> str:
    """Returns the content of the list that a button saves."""
    with seen.tab.expect_download() as download:
        seen.tab.click(button)
    return Path(download.value.path()).read_text()


def test_duplicates_are_found_from_the_form(doubled: Served, look_at: LookAt) -> None:
    """The job is started, followed and shown in the same document."""
    seen = look_at(f"{doubled.url}/duplicates")
    assert seen.violations() == []
    seen.run("window.isSameDocument = true")
    seen.tab.click("text=Find duplicates")
    seen.tab.wait_for_selector("article.group")
    assert seen.run("window.isSameDocument")
    assert seen.tab.locator("article.group").count() == 2
    assert seen.logged == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_groups_and_pairs_are_accessible(doubled: Served, look_at: LookAt, width: int, scheme: str) -> None:
    """Also while the difference is drawn; nothing overflows, and nothing is asked elsewhere."""
    with doubled.client() as client:
        run_job(client, "/duplicates")
    seen = look_at(f"{doubled.url}/duplicates", width=width, phone=width < 500, scheme=scheme)
    seen.tab.wait_for_selector("[data-reset]:visible")
    assert seen.violations() == []
    assert seen.run("document.documentElement.scrollWidth") <= width
    seen.tab.click("a.compare >> nth=0")
    seen.tab.click("text=Difference")
    seen.tab.wait_for_selector("canvas:visible")
    assert seen.violations() == []
    assert seen.run("document.documentElement.scrollWidth") <= width
    assert seen.logged == []
    assert all(url.startswith((doubled.url, "data:", "blob:")) for url in seen.requested)


def test_marks_are_made_by_keys_and_survive_a_reload(doubled: Served, look_at: LookAt) -> None:
    """K and D mark the image with the focus; the list has what is marked, until the marks are reset."""
    with doubled.client() as client:
        run_job(client, "/duplicates")
    seen = look_at(f"{doubled.url}/duplicates")
    seen.tab.wait_for_selector("[data-reset]:visible")
    copies = {str(doubled.images / "copies" / name) for name in ("cat 0.png", "cat 1.png", "dog 0.png")}
    assert set(saved_list(seen, "text=Save the list").splitlines()) == copies
    seen.tab.locator("article.group >> nth=0").locator("input:checked").first.focus()
    for key in ("d", "k", "j"):  # the first is dropped, the second kept, the third stays as it is
        seen.tab.keyboard.press(key)
    assert seen.tab.inner_text(TOTAL).startswith("3 files to delete")
    marked = set(saved_list(seen, "text=Save the list").splitlines())
    assert str(doubled.images / "cat" / "0.png") in marked
    assert len(marked & copies) == 2
    seen.tab.keyboard.press("d")  # a button has the focus
    seen.tab.reload()
    seen.tab.wait_for_selector("[data-reset]:visible")
    assert set(saved_list(seen, "text=Save for xargs -0").rstrip("\0").split("\0")) == marked
    seen.tab.click("text=Reset the marks")
    assert set(saved_list(seen, "text=Save the list").splitlines()) == copies
    seen.tab.locator("article.group >> nth=0").locator("input:checked").first.focus()
    seen.tab.keyboard.press("ArrowRight")  # as radio buttons do
    assert seen.tab.inner_text(TOTAL).startswith("4 files to delete")
    assert "nothing of it is kept" in seen.run(
        "getComputedStyle(document.querySelector('article.group h2'), '::after').content"
    )
    assert "Drop: Image 1 of group 1" in seen.tab.inner_text("p.hidden[role=status] >> nth=-1")
    assert seen.logged == []


def test_what_differs_is_drawn_over_a_pair(doubled: Served, look_at: LookAt) -> None:
    """Exact duplicates differ nowhere, another image in most places; keys change the view and mark."""
    with doubled.client() as client:
        run_job(client, "/duplicates")
    seen = look_at(f"{doubled.url}/duplicates")
    seen.tab.click("a.compare >> nth=0")
    seen.tab.wait_for_selector("[data-views]:visible")
    seen.tab.keyboard.press("3")
    seen.tab.wait_for_selector("text=Nothing differs visibly")
    seen.tab.keyboard.press("2")  # less motion is asked for, as in all tests of pages
    seen.tab.wait_for_selector("text=The first image; press Blink again for the other one.")
    seen.tab.keyboard.press("2")
    seen.tab.wait_for_selector("text=The other image; press Blink again for the other one.")
    seen.tab.emulate_media(reduced_motion="no-preference")
    seen.tab.keyboard.press("2")
    seen.tab.wait_for_selector("text=The two images in turn")
    seen.tab.keyboard.press("1")
    assert seen.tab.is_hidden("canvas")
    seen.tab.keyboard.press("k")
    assert seen.tab.inner_text(TOTAL).startswith("2 files to delete")
    seen.tab.keyboard.press("n")
    seen.tab.wait_for_selector("h1 >> text=pair 2 of 3")
    heat = (
        "import('/static/pair.js').then(m => m.heatOver(new Uint8ClampedArray([0, 0, 0, 255, 9, 9, 9, 255]), "
    )
    assert seen.run(f"{heat} new Uint8ClampedArray([255, 0, 0, 255, 9, 9, 19, 255])))") == 1
    assert seen.logged == []


def test_duplicates_need_no_script(doubled: Served, chromium: Any) -> None:
    """A form starts the job, marks are radio buttons, and the list is a download."""
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{doubled.url}/duplicates?above=1")
    follow_to(tab, "text=Find duplicates")
    for _ in range(600):
        if tab.locator("article.group").count():
            break
        tab.wait_for_timeout(200)
        tab.goto(f"{doubled.url}/duplicates?above=1")
    tab.locator("article.group >> nth=0").locator("input[value=drop]").first.check()
    with tab.expect_download() as download:
        tab.click("text=Save the list")
    assert len(Path(download.value.path()).read_text().splitlines()) == 4
    context.close()
