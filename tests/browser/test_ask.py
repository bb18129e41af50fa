"""Tests the view `/` in a real browser: what people do with an image, with and without script."""

import base64
from collections.abc import Callable
from typing import Any, Literal

import httpx
import pytest
from browser import OpenPage, follow_to
from served import Served, serving

pytestmark = pytest.mark.slow

LookAt = Callable[..., OpenPage]

DROP = """
async ([base64, kind]) => {
  const bytes = Uint8Array.from(atob(base64), each => each.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
  const name = kind === "paste" ? "clipboardData" : "dataTransfer";
  const make = kind === "paste" ? ClipboardEvent : DragEvent;
  document.dispatchEvent(new make(kind, { [name]: data, bubbles: true, cancelable: true }));
}
"""


@pytest.fixture
def image(served: Served) -> bytes:
    """Returns an image of the collection."""
    return (served.images / "cat" / "3.png").read_bytes()


@pytest.fixture
def id_(served: Served) -> str:
    """Returns the id of an indexed image."""
    query = {"path": "cat/1.png", "include_self": True, "limit": 1}
    with served.client() as client:
        return str(client.post("/api/v1/query", json=query).json()["hits"][0]["id"])


def send(seen: OpenPage, image: bytes, kind: str = "drop") -> None:
    """Drops or pastes an image, and waits for its answer."""
    seen.tab.wait_for_selector("main.is-live")
    before = seen.tab.url
    seen.tab.evaluate(DROP, [base64.b64encode(image).decode(), kind])
    seen.tab.wait_for_function("before => location.href !== before", arg=before)
    seen.tab.wait_for_selector("main.is-live:not([aria-busy]) .question")


def follow(seen: OpenPage, selector: str) -> None:
    """Clicks, and waits for the page that follows."""
    before = seen.tab.url
    seen.tab.click(selector)
    seen.tab.wait_for_function("before => location.href !== before", arg=before)
    seen.tab.wait_for_selector("main.is-live:not([aria-busy])")


def ranked(seen: OpenPage) -> list[str]:
    """Returns the ids of the neighbours shown."""
    ids: list[str] = seen.run("[...document.querySelectorAll('.hit > a')].map(each => each.id)")
    return ids


def test_an_image_is_dropped_and_looked_around_from(served: Served, look_at: LookAt, image: bytes) -> None:
    """Ten neighbours; three are clicked through; filters, plus and minus, an explanation; back and reload."""
    seen = look_at(served.url)
    seen.run("window.isSameDocument = true")
    send(seen, image)
    assert "upload=" in seen.tab.url
    dropped, first = seen.tab.url, ranked(seen)
    assert len(first) == 10
    for _ in range(3):
        follow(seen, ".hit > a")
        assert len(ranked(seen)) == 10
    seen.tab.select_option("#by-class", "dog")
    seen.tab.wait_for_function("() => location.search.includes('class=dog')")
    seen.tab.wait_for_selector("main.is-live:not([aria-busy])")
    assert "dog" in seen.tab.inner_text(".hit .class >> nth=0")
    follow(seen, "#clear")
    follow(seen, "[id^=more-] >> nth=1")
    follow(seen, "[id^=less-] >> nth=2")
    assert seen.tab.locator(".chips li").count() == 2
    follow(seen, ".chips a >> nth=0")
    assert seen.tab.locator(".chips li").count() == 1
    follow(seen, "[id^=explain-] >> nth=0")
    seen.tab.wait_for_selector("#explanation svg .cell")
    seen.wait_for("document.activeElement.id === 'explanation'")
    seen.tab.hover("#explanation svg .cell >> nth=20")
    seen.wait_for("document.querySelector('[data-told]').innerText.includes('It matches best')")
    follow(seen, "#close-explanation")
    here, shown = seen.tab.url, ranked(seen)
    seen.tab.go_back()
    seen.tab.wait_for_selector("#explanation")
    seen.tab.go_forward()
    seen.tab.wait_for_selector("main:not([aria-busy]):not(:has(#explanation))")
    assert (seen.tab.url, ranked(seen)) == (here, shown)
    assert seen.run("window.isSameDocument")
    seen.tab.reload()
    assert ranked(seen) == shown
    seen.tab.goto(dropped)
    assert ranked(seen) == first
    assert seen.logged == []
    assert all(url.startswith((served.url, "data:", "blob:")) for url in seen.requested)
    seen.tab.wait_for_selector("main.is-live")
    seen.tab.context.set_offline(True)
    seen.tab.click(".hit > a >> nth=0")
    seen.tab.wait_for_selector("#notice:visible")
    seen.tab.context.set_offline(False)
    seen.tab.wait_for_function("before => location.href !== before", arg=dropped)
    assert len(ranked(seen)) == 10


def test_an_image_is_pasted_or_chosen(served: Served, look_at: LookAt, image: bytes) -> None:
    """A chosen one is asked with at once, by the filters that were set."""
    seen = look_at(served.url + "/?limit=20")
    send(seen, image, "paste")
    assert "limit=20" in seen.tab.url
    before = seen.tab.url
    chosen = {"name": "chosen.png", "mimeType": "image/png", "buffer": image}
    seen.tab.set_input_files("form[data-upload]:not(.camera) input", chosen)  # type: ignore[arg-type]
    seen.tab.wait_for_function("before => location.href !== before", arg=before)
    assert "chosen.png" in seen.tab.inner_text("h1")


def test_a_forgotten_upload_is_sent_again(album: Any, look_at: LookAt, image: bytes) -> None:
    """Where the document still has the file; the server was away meanwhile, and is back without it."""
    with serving(album.folder / "home") as one:
        seen = look_at(one.url)
        send(seen, image)
        first = ranked(seen)
        forgotten = seen.tab.url.partition("upload=")[2]
        with one.client() as client:
            client.delete(f"/api/v1/uploads/{forgotten}")
        seen.tab.select_option("#by-class", "dog")
        seen.tab.wait_for_function("id => !location.search.includes(id)", arg=forgotten)
        seen.tab.wait_for_selector("main.is-live:not([aria-busy]) .question")
        assert "class=dog" in seen.tab.url
        follow(seen, "#clear")
        assert ranked(seen) == first


def test_a_part_is_drawn_and_removed(served: Served, look_at: LookAt, id_: str) -> None:
    """By the pointer, then by the keyboard."""
    seen = look_at(f"{served.url}/?id={id_}")
    box = seen.tab.locator("[data-frame]").bounding_box()
    assert box
    seen.tab.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.2)
    seen.tab.mouse.down()
    seen.tab.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.8, steps=4)
    seen.tab.mouse.up()
    seen.tab.wait_for_selector("#whole")
    assert "region=20" in seen.tab.url
    assert seen.tab.locator(".frame .part").count() == 1
    follow(seen, "#whole")
    seen.tab.focus("[data-frame]")
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowDown", "Enter"):
        seen.tab.keyboard.press(key)
    seen.tab.wait_for_selector("#whole")
    assert "region=27" in seen.tab.url
    assert seen.logged == []


def test_an_original_is_a_dialog(album: Any, look_at: LookAt, id_: str) -> None:
    """Beside the neighbours; Escape closes it."""
    with serving(album.folder / "home", serves_originals=True) as one:
        seen = look_at(f"{one.url}/?id={id_}")
        follow(seen, "[id^=large-of-] >> nth=0")
        seen.tab.wait_for_selector("dialog:modal")
        seen.wait_for("document.querySelector('.original').complete")
        assert seen.violations() == []
        follow(seen, "#large-3")
        seen.tab.keyboard.press("Escape")
        seen.tab.wait_for_selector("main:not(:has(dialog))")
        assert "large=" not in seen.tab.url
        assert seen.logged == []


def test_without_script_an_image_is_uploaded(served: Served, chromium: Any, image: bytes) -> None:
    """The form, the neighbours, filters, plus and an explanation are those of any page."""
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(served.url)
    chosen = {"name": "chosen.png", "mimeType": "image/png", "buffer": image}
    tab.set_input_files("form[data-upload]:not(.camera) input", chosen)
    follow_to(tab, "form[data-upload]:not(.camera) button")
    assert "upload=" in tab.url
    assert tab.locator("ol .hit").count() == 10
    tab.select_option("#by-class", "dog")
    follow_to(tab, "[data-apply]")
    assert "class=dog" in tab.url
    follow_to(tab, "[id^=more-] >> nth=0")
    assert tab.locator(".chips li").count() == 1
    follow_to(tab, "[id^=explain-] >> nth=0")
    assert tab.locator("#explanation svg .cell").count() > 1
    context.close()


def test_what_is_unfolded_stays_so(served: Served, look_at: LookAt, id_: str) -> None:
    """When a filter in it acts, and the page is replaced."""
    seen = look_at(f"{served.url}/?id={id_}")
    seen.tab.wait_for_selector("main.is-live")
    seen.tab.click("#more summary")
    seen.tab.select_option("#by-limit", "20")
    seen.tab.wait_for_function("() => location.search.includes('limit=20')")
    seen.tab.wait_for_selector("main.is-live:not([aria-busy])")
    opened = "[...document.querySelectorAll('.filters details[open]')].map(each => each.id)"
    assert seen.run(opened) == ["more"]


STATES = (
    "",
    "id={id}",
    "id={id}&explain={id}",
    "id={id}&region=10%,10%,50%,50%",
    "id={id}&min_score=1",
    "id={id}&class=cat&class=dog&folder=cat&folder=dog&not_class=/&since=2001-01-01T18:30&until=2199-01-01",
    "upload=0",
)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_state_is_accessible(
    served: Served, look_at: LookAt, id_: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    """Judged by axe-core's rules; nothing overflows."""
    seen = look_at(served.url, width=width, phone=width < 500, scheme=scheme)
    names = [each["name"] for each in httpx.get(f"{served.url}/api/v1/collections").json()["collections"]]
    fused = "id={id}&and={id}&collection=" + "&collection=".join(names)
    for state in (*STATES, fused):
        seen.tab.goto(f"{served.url}/?{state.format(id=id_)}")
        seen.tab.wait_for_selector("main.is-live")
        assert seen.violations() == [], state
        assert seen.run("document.documentElement.scrollWidth") <= width, state
