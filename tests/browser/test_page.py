"""Tests the content security policy of pages in a real browser."""

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import OpenPage
from lookalike_search.reports.page import Page, environment
from own_templates import with_own_templates
from page_rules import read_page

LookAt = Callable[..., OpenPage]


@pytest.fixture(autouse=True)
def _use_own_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds two pages that only tests have to the real ones."""
    monkeypatch.setattr(environment(), "loader", with_own_templates())


def test_a_browser_runs_the_script_whose_hash_the_policy_names(tmp_path: Path, look_at: LookAt) -> None:
    """The hash covers exactly the text between the script tags, and names inside the script stay text."""
    Page("scripted.html", name="</script><b>").write(tmp_path / "b.html")
    seen = look_at(tmp_path / "b.html")
    assert seen.run("document.title") == "</script><b>!"
    assert seen.logged == []


def test_a_browser_blocks_what_the_policy_forbids(tmp_path: Path, look_at: LookAt) -> None:
    """A blocked request or script leaves a console message, for which the other pages' tests look."""
    Page("plain.html", name="x").write(tmp_path / "a.html")
    source = (tmp_path / "a.html").read_text()
    bad = '<script>document.title = "ran"</script><img alt="" src="http://127.0.0.1:1/a.png">'
    (tmp_path / "a.html").write_text(source.replace("</main>", f"{bad}</main>"))
    seen = look_at(tmp_path / "a.html")
    assert seen.run("document.title") != "ran"
    assert len([line for line in seen.logged if "Content Security Policy" in line]) == 2
    assert "asks for http://127.0.0.1:1/a.png" in read_page(tmp_path / "a.html").problems
