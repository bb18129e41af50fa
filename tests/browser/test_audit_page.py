"""Tests the views of an audit in a real browser."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import OpenPage
from served import Served, mislabelled_album, run_job, serving

__all__ = ["mislabelled_album"]

pytestmark = pytest.mark.slow

LookAt = Callable[..., OpenPage]

ADDRESS = "/audit?fdr=0.5&files=true"


@pytest.fixture(scope="module")
def audited(mislabelled_album: Any) -> Iterator[Served]:
    """Returns a server with an audit."""
    with serving(mislabelled_album.folder / "home") as served, served.client() as client:
        run_job(client, ADDRESS)
        yield served


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_each_kind_of_findings_is_accessible(
    audited: Served, look_at: LookAt, width: int, scheme: Any
) -> None:
    """Judged by axe-core's rules; nothing overflows, is said in the console, or is asked elsewhere."""
    seen = look_at(f"{audited.url}{ADDRESS}", width=width, phone=width < 500, scheme=scheme)
    for place in range(seen.tab.locator(".kinds a").count()):
        seen.tab.locator(".kinds a").nth(place).click()
        seen.tab.wait_for_url("**kind=*")
        seen.wait_for(f"[...document.querySelectorAll('.kinds a')].findIndex(a => a.ariaCurrent) === {place}")
        assert seen.violations() == []
        assert seen.run("document.documentElement.scrollWidth") <= width
    assert seen.logged == []
    assert all(url.startswith((audited.url, "data:", "blob:")) for url in seen.requested)


def test_suspects_are_marked_by_key_and_saved(audited: Served, look_at: LookAt, tmp_path: Path) -> None:
    """The total follows, marks outlast a reload, and what is kept is not in the table."""
    seen = look_at(f"{audited.url}{ADDRESS}&kind=wrong_labels")
    total = int(seen.tab.inner_text("[data-total]").split()[0])
    assert total > 1
    seen.tab.focus(".findings .card a")
    kept = seen.tab.inner_text(".findings .card .path >> nth=0").partition(": ")[2]
    seen.tab.keyboard.press("k")
    assert seen.tab.inner_text("[data-total]").startswith(f"{total - 1} ")
    assert seen.run("document.activeElement.closest('.card') === document.querySelectorAll('.card')[1]")
    seen.tab.reload()
    seen.wait_for(f"document.querySelector('[data-total]').textContent.startsWith('{total - 1} ')")
    with seen.tab.expect_download() as saving:
        seen.tab.click("text=Save the labels")
    assert saving.value.suggested_filename == "labels.csv"
    saving.value.save_as(tmp_path / "labels.csv")
    with (tmp_path / "labels.csv").open(encoding="utf-8", newline="") as table:
        paths = [row["path"] for row in csv.DictReader(table)]
    assert len(paths) == total - 1
    assert kept not in paths
    seen.tab.click(".findings .card a >> nth=0")
    seen.tab.wait_for_selector("main[data-view=ask]")
    assert seen.logged == []
