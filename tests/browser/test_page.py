"""Pages as such in a real browser: their policy."""

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import OpenPage
from lookalike_search.reports.page import Page, environment
from own_templates import with_own_templates
from page_rules import read_page

LookAt = Callable[..., OpenPage]


@pytest.fixture(autouse=True)
def _templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pages that only tests have, beside the real ones."""
    monkeypatch.setattr(environment(), "loader", with_own_templates())


def test_a_browser_runs_the_script_that_the_policy_names(tmp_path: Path, look_at: LookAt) -> None:
    """The hash is of exactly what stands between the tags, and names in it are still text."""
    Page("scripted.html", name="</script><b>").write(tmp_path / "b.html")
    seen = look_at(tmp_path / "b.html")
    assert seen.run("document.title") == "</script><b>!"
    assert seen.logged == []


def test_a_browser_refuses_what_the_policy_does(tmp_path: Path, look_at: LookAt) -> None:
    """So the checks of the other pages would notice a request or a script that slipped in."""
    Page("plain.html", name="x").write(tmp_path / "a.html")
    source = (tmp_path / "a.html").read_text()
    bad = '<script>document.title = "ran"</script><img alt="" src="http://127.0.0.1:1/a.png">'
    (tmp_path / "a.html").write_text(source.replace("</main>", f"{bad}</main>"))
    seen = look_at(tmp_path / "a.html")
    assert seen.run("document.title") != "ran"
    assert len([line for line in seen.logged if "Content Security Policy" in line]) == 2
    assert "asks for http://127.0.0.1:1/a.png" in read_page(tmp_path / "a.html").problems
