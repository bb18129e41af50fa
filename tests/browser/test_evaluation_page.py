"""Tests the views of an evaluation in a real browser."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from browser import OpenPage, follow_to
from served import Served, run_job

pytestmark = pytest.mark.slow

LookAt = Callable[..., OpenPage]


def test_an_evaluation_is_started_followed_and_shown(served: Served, look_at: LookAt) -> None:
    """With the options that are shown, and by the only button; the page stays the same document."""
    seen = look_at(f"{served.url}/evaluation")
    assert seen.violations() == []
    seen.run("window.isSameDocument = true")
    seen.tab.fill("#option-k", "3")
    seen.tab.check("#option-without")
    seen.tab.wait_for_url("**/evaluation?*without_near=true*")
    seen.tab.fill("#option-k", "4")
    seen.tab.fill("#option-k", "3")
    assert seen.tab.locator("main button").count() == 1
    seen.tab.click("main button")
    seen.tab.wait_for_url("**/evaluation?*k=3*")
    seen.tab.wait_for_selector("dl.tiles")
    assert "vote of 3 neighbours" in seen.tab.inner_text("main")
    assert seen.run("window.isSameDocument")
    assert seen.logged == []


def test_an_evaluation_is_cancelled(hanging: Served, look_at: LookAt) -> None:
    """The view is as before."""
    seen = look_at(f"{hanging.url}/evaluation?k=4")
    seen.tab.click("button:text-is('Evaluate')")
    seen.tab.click("text=Cancel")
    seen.tab.wait_for_selector("button:text-is('Evaluate')")
    assert seen.logged == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_confusion_leads_to_images_that_ask(
    served: Served, look_at: LookAt, width: int, scheme: str
) -> None:
    """Both views are accessible, nothing overflows, and nothing is asked elsewhere."""
    with served.client() as client:
        run_job(client, "/evaluation")
    seen = look_at(f"{served.url}/evaluation", width=width, phone=width < 500, scheme=scheme)
    assert seen.violations() == []
    assert seen.run("document.documentElement.scrollWidth") <= width
    seen.tab.click(".heat td[class^=h] a >> nth=0")
    seen.tab.wait_for_selector(".pairs img")
    assert " finds " in seen.tab.inner_text("h1")
    assert seen.violations() == []
    assert seen.run("document.documentElement.scrollWidth") <= width
    seen.tab.click("text=Back to the evaluation")
    seen.tab.wait_for_selector(".heat")
    seen.tab.go_back()
    seen.tab.click(".pairs a >> nth=0")
    seen.tab.wait_for_url("**/?*id=*")
    assert seen.logged == []
    assert all(url.startswith((served.url, "data:", "blob:")) for url in seen.requested)


def test_an_evaluation_needs_no_script(served: Served, chromium: Any) -> None:
    """One form has its options and starts it, and its result is read."""
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{served.url}/evaluation?k=9")  # not evaluated yet
    tab.fill("#option-k", "2")
    follow_to(tab, "text=Evaluate >> nth=-1")
    until = time.monotonic() + 120
    while tab.locator("dl.tiles").count() == 0:
        assert time.monotonic() < until
        time.sleep(0.2)
        tab.goto(tab.url)
    assert "vote of 2 neighbours" in tab.inner_text("main")
    follow_to(tab, ".heat td[class^=h] a >> nth=0")
    assert " finds " in tab.inner_text("h1")
    context.close()
