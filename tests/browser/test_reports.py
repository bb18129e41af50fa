"""Tests the pages of query, evaluate and duplicates in a real browser."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import OpenPage
from lookalike_core.stores.collection_manifest import Distance
from lookalike_search.evaluation.runs import Setting
from lookalike_search.evaluation.summary import FIGURES
from lookalike_search.reports.evaluation import evaluation_page
from report_pages import KINDS, Collection, Draw, Kind, make_collection, query_page, write_page

LookAt = Callable[..., OpenPage]


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Collection:
    """Draws and evaluates a `Collection`."""
    return make_collection(tmp_path_factory.mktemp("pictures"), draw)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_loads_without_console_messages_requests_or_scrolling(
    kind: Kind, collection: Collection, tmp_path: Path, look_at: LookAt
) -> None:
    """The only request is for the file itself, and nothing scrolls sideways on a phone."""
    path = tmp_path / "a.html"
    write_page(kind, collection, path)
    for width, phone in ((1280, False), (360, True)):
        seen = look_at(path, width=width, phone=phone)
        assert seen.logged == []
        assert [url for url in seen.requested if not url.startswith("data:")] == [path.as_uri()]
        assert seen.run("document.documentElement.scrollWidth") <= width
        assert seen.run("document.scripts.length") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_thumbnail_is_drawn(
    kind: Kind, collection: Collection, tmp_path: Path, look_at: LookAt
) -> None:
    """Each thumbnail class that is used has an image, no other has one, and a missing image shows a note."""
    write_page(kind, collection, tmp_path / "a.html")
    seen = look_at(tmp_path / "a.html")
    empty = seen.run(
        "[...document.querySelectorAll('.p')].filter(e => !e.classList.contains('gone') && "
        "getComputedStyle(e).backgroundImage.slice(0, 9) !== 'url(\"data').length"
    )
    assert empty == 0
    assert seen.run("document.querySelectorAll('.p').length") > 5


@pytest.mark.parametrize("kind", KINDS)
def test_right_and_wrong_have_contrast_in_both_schemes(
    kind: Kind, collection: Collection, tmp_path: Path, look_at: LookAt
) -> None:
    """Text has a contrast of at least 4.5 to 1 (WCAG 2.2, 1.4.3), on the page's background and on cards."""
    write_page(kind, collection, tmp_path / "a.html")
    for scheme in ("light", "dark"):
        seen = look_at(tmp_path / "a.html", scheme=scheme)
        colours = seen.run(
            "(() => { const style = getComputedStyle(document.documentElement); return Object.fromEntries("
            "['ink', 'faint', 'accent', 'right', 'wrong', 'ground', 'card'].map("
            "name => [name, style.getPropertyValue('--' + name).trim()])) })()"
        )
        for ground in ("ground", "card"):
            for name in ("ink", "faint", "accent", "right", "wrong"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (scheme, name, ground)


def contrast(one: str, other: str) -> float:
    """Returns the contrast ratio of two colours `#rrggbb` (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_a_page_prints_with_its_images(collection: Collection, tmp_path: Path, look_at: LookAt) -> None:
    """Thumbnails are CSS backgrounds, and are printed even where backgrounds are not."""
    write_page("query", collection, tmp_path / "a.html")
    seen = look_at(tmp_path / "a.html")
    seen.print_to(tmp_path / "a.pdf")
    with_images = (tmp_path / "a.pdf").read_bytes().count(b"/Subtype /Image")
    assert with_images > 10


def test_wrong_verdicts_can_be_shown_alone(collection: Collection, tmp_path: Path, look_at: LookAt) -> None:
    """The filter works without a script, by keyboard and by touch."""
    rows = range(0, 36, 2)
    page = query_page(collection, tmp_path / "a.html", *map(collection.answer, rows))
    wrong = sum("is-wrong" in str(each.attributes) for each in page.with_class("query"))
    assert 0 < wrong < len(rows)
    seen = look_at(tmp_path / "a.html")
    shown = "[...document.querySelectorAll('.query')].filter(e => e.getClientRects().length).length"
    assert seen.run(shown) == len(rows)
    seen.run("document.querySelector('#show-wrong').click()")
    assert seen.run(shown) == wrong


LONG = "resnet101v2-conv5_block1_preact_relu-w5b0ab088-{0} + vgg16-block4_pool-max-w2cd5ce3e-{0} (calibrated)"

A4_PX = 680

"""About the width of an A4 page between its margins, in pixels."""


@pytest.mark.parametrize(("media", "width"), [("screen", 1100), ("print", A4_PX)])
def test_long_names_leave_room_for_the_figures(
    collection: Collection, tmp_path: Path, look_at: LookAt, media: str, width: int
) -> None:
    """Every figure of two compared fused rankings is visible without scrolling, and on paper."""
    settings = [
        Setting(evaluation=replace(collection.evaluation, collection=LONG.format(distance)), differences=[])
        for distance in Distance
    ]
    path = tmp_path / "a.html"
    evaluation_page(settings, [collection.manifest] * len(settings), k=10).write(path)
    seen = look_at(path, width=width, media=media)
    cells = seen.run(
        "[...document.querySelector('table').querySelectorAll('td.number')]"
        ".map(cell => cell.getBoundingClientRect().right)"
    )
    assert len(cells) == 2 * (1 + len(FIGURES))
    assert max(cells) <= width
