"""Tests the page of `search privacy` in a real browser."""

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import OpenPage
from lookalike_search.reports.privacy import privacy_page
from privacy_pages import make_report

LookAt = Callable[..., OpenPage]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes the page of an attack."""
    path = tmp_path_factory.mktemp("privacy") / "privacy.html"
    privacy_page(make_report(), seed=0).write(path)
    return path


@pytest.mark.parametrize(("width", "phone"), [(1280, False), (360, True)])
def test_the_page_loads_without_requests_and_does_not_scroll_sideways(
    page: Path, look_at: LookAt, width: int, phone: bool
) -> None:
    """Its console stays empty, and every image is drawn."""
    seen = look_at(page, width=width, phone=phone)
    assert seen.logged == []
    assert [url for url in seen.requested if not url.startswith("data:")] == [page.as_uri()]
    assert seen.run("document.documentElement.scrollWidth") <= width
    assert seen.run("[...document.images].every(image => image.complete && image.naturalWidth === 96)")
