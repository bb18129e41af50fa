"""Tests what all pages of `search serve` share, in a real browser."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
from browser import LIVE, OpenPage
from lookalike_search.serving.access import Access
from served import Served, serving

pytestmark = pytest.mark.slow

LookAt = Callable[..., OpenPage]

PATHS = ("/", "/browse", "/map", "/duplicates", "/evaluation", "/login", "/nothing")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_page_is_accessible_and_asks_only_its_server(
    served: Served, look_at: LookAt, path: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    """Judged by axe-core's rules; nothing is said in the console, and nothing overflows."""
    seen = look_at(served.url + path, width=width, phone=width < 500, scheme=scheme)
    assert seen.violations() == []
    assert [line for line in seen.logged if "404" not in line or path != "/nothing"] == []
    assert all(url.startswith((served.url, "data:", "blob:")) for url in seen.requested)
    assert seen.run("document.documentElement.scrollWidth") <= width


def test_links_are_followed_without_a_new_document(served: Served, look_at: LookAt) -> None:
    """The address, the title and the view change; going back shows the first view again."""
    seen = look_at(served.url)
    seen.run("window.isSameDocument = true")
    seen.tab.click("nav >> text=Browse")
    seen.tab.wait_for_selector("main[data-view=browse]")
    assert seen.tab.url == f"{served.url}/browse"
    assert seen.tab.title() == "Browse - Lookalike"
    seen.tab.go_back()
    seen.tab.wait_for_selector("main[data-view=ask]")
    assert seen.run("window.isSameDocument")
    assert seen.logged == []


def test_a_thumbnail_that_is_not_there_says_so(served: Served, look_at: LookAt) -> None:
    """In its place, in every view."""
    seen = look_at(f"{served.url}/login")
    seen.tab.route("**/thumbnail?*", lambda route: route.fulfill(status=404))
    for path in ("/", "/?path=cat/0.png", "/browse"):
        seen.tab.goto(served.url + path)
        seen.wait_for(LIVE)
        seen.tab.wait_for_selector("span.gone[role=img]")
        assert "the file is gone or has changed" in seen.tab.inner_text("main")
        assert seen.violations() == []


def test_a_long_name_overflows_nothing(served: Served, look_at: LookAt) -> None:
    """Of a class in the vote, for example, which has no place to break."""
    seen = look_at(f"{served.url}/?path=cat/0.png", width=390, phone=True)
    seen.run("void document.querySelectorAll('bdi').forEach(each => { each.textContent = 'x'.repeat(180) })")
    assert seen.run("document.documentElement.scrollWidth") <= 390


def test_a_reload_and_going_back_show_the_place_that_was_left(served: Served, look_at: LookAt) -> None:
    """Of a view that is longer than the window."""
    seen = look_at(f"{served.url}/?path=cat/0.png", width=390, phone=True)
    seen.wait_for("document.querySelector('main.is-live') !== null")
    seen.run("scrollTo(0, 500)")
    seen.wait_for("history.state?.scroll === 500")
    seen.tab.reload()
    seen.wait_for("scrollY === 500")
    seen.run("document.querySelector('nav.site a[href^=\"/browse\"]').click()")  # nothing scrolls to it
    seen.tab.wait_for_selector("main[data-view=browse]")
    seen.tab.go_back()
    seen.tab.wait_for_selector("main[data-view=ask]")
    seen.wait_for("scrollY === 500")
    seen.tab.go_forward()
    seen.tab.wait_for_selector("main[data-view=browse]")
    seen.wait_for("scrollY === 0")


def test_the_page_waits_for_a_server_that_is_away(served: Served, look_at: LookAt) -> None:
    """A notice says so, and the view is shown once the server answers again."""
    seen = look_at(served.url)
    seen.tab.context.set_offline(True)
    seen.tab.click("nav >> text=Browse")
    seen.tab.wait_for_selector("#notice:visible")
    assert "does not answer" in seen.tab.inner_text("#notice")
    seen.tab.context.set_offline(False)
    seen.tab.wait_for_selector("main[data-view=browse]")
    seen.tab.wait_for_selector("#notice", state="hidden")


def test_the_token_is_given_without_a_script(album: Any, chromium: Any) -> None:
    """The form comes from the page of the server, as its origin says, and leads to the first view."""
    given = "secret"
    with serving(album.folder / "home", access=Access(host="127.0.0.1", token=given)) as served:
        tab = chromium.new_context(java_script_enabled=False).new_page()
        tab.goto(f"{served.url}/browse")
        tab.fill("input[name=token]", given)
        tab.click("text=Log in >> nth=-1")
        tab.wait_for_selector("main[data-view=ask]")
        tab.goto(f"{served.url}/browse")
        assert tab.locator(".classes li").count() == 2
        tab.context.close()
