"""Drives a headless Chromium by Playwright, to test pages as readers' browsers show them."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "no Chromium is installed to look at the page with"
TIMEOUT_S = 120
"""How long elements and conditions are waited for: as long as a busy machine may take."""

LIVE = """(() => {
    const main = document.getElementById("main");
    const isView = document.scripts.length > 0 && main?.dataset.view !== undefined;
    return !isView || main.classList.contains("is-live");
})()"""
"""Whether the scripts of a view have started; other pages have none that start later."""

PAINTED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))"


def find_chromium() -> str | None:
    """Returns the path of the system's own browser; Playwright downloads none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPage:
    """A page that is loaded and painted.

    `logged` is what its console and its policy said, `requested` the URLs it asked for.
    """

    tab: "Page"
    logged: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)

    def run(self, script: str) -> Any:
        """Returns the value of an expression of JavaScript, promises awaited."""
        return self.tab.evaluate(script)

    def wait_for(self, script: str, *, seconds: float = TIMEOUT_S) -> None:
        """Waits until an expression of JavaScript is true; Playwright's own way needs a policy with eval."""
        until = time.monotonic() + seconds
        while not self.run(script):
            if time.monotonic() > until:
                raise TimeoutError(f"not true within {seconds} s: {script}")
            time.sleep(0.02)

    def violations(self) -> list[str]:
        """Returns what axe-core's rules find wrong for readers with disabilities, an element each."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.tab).response["violations"]
        return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]

    def print_to(self, file: Path) -> None:
        """Writes the page as PDF, as printed without ticking "background graphics"."""
        self.tab.pdf(path=file, print_background=False, prefer_css_page_size=True)


def follow_to(tab: "Page", selector: str) -> None:
    """Clicks on what leads to another page, and waits until that is loaded: a page without a script."""
    with tab.expect_navigation():
        tab.click(selector)


def open_page(
    browser: "Browser",
    where: Path | str,
    *,
    width: int = 1280,
    height: int = 900,
    phone: bool = False,
    scheme: Literal["light", "dark"] = "light",
    media: Literal["screen", "print"] = "screen",
) -> OpenPage:
    """Loads a file or a URL in a new window with these preferences; the caller closes its context."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        device_scale_factor=2 if phone else 1,
        is_mobile=phone,
        color_scheme=scheme,
    )
    page = OpenPage(tab=context.new_page())
    page.tab.on("console", lambda message: page.logged.append(f"{message.type}: {message.text}"))
    page.tab.on("pageerror", lambda error: page.logged.append(f"exception: {error}"))
    page.tab.on("request", lambda request: page.requested.append(request.url))
    page.tab.emulate_media(media=media)
    page.tab.goto(where if isinstance(where, str) else where.as_uri())
    page.run(PAINTED)
    page.wait_for(LIVE)
    return page


@contextmanager
def running_browser(program: str) -> Iterator["Browser"]:
    """Starts the browser, and closes it after the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        new_context = browser.new_context

        def new_patient_context(**options: Any) -> Any:
            context = new_context(**{"reduced_motion": "reduce", **options})
            context.set_default_timeout(1000 * TIMEOUT_S)
            return context

        browser.new_context = new_patient_context  # type: ignore[method-assign]
        yield browser
        browser.close()
