"""Tests of the documentation site, built as `make docs` does, on the disk and in a real browser."""

import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from browser import OpenPage

pytest.importorskip("mkdocs", reason="the site is built with what `make check` installs")
pytest.importorskip("material", reason="the site is built with what `make check` installs")

import docs_site

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

LookAt = Callable[..., OpenPage]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the site as `make docs` does."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_builds_with_every_link_and_loads_nothing_from_elsewhere(site: Path) -> None:
    """It checks links, headings and what is loaded; each page has a policy that forbids more."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 60
    assert list(docs_site.external_requests(site)) == []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "default-src 'self'" in text, page.name
        assert not re.search(r"googleapis|gstatic|google-analytics|class=\"mermaid\"", text), page.name


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """Serves the site on loopback, without a line for each request."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        """Logs nothing."""

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_load_only_the_site_and_fit(
    address: str, look_at: LookAt, width: int, scheme: Literal["light", "dark"]
) -> None:
    """Nothing is said in the console, so that the policy forbids nothing that a page needs."""
    for page in ("index.html", "how-to/evaluate.html", "reference/errors.html"):
        seen = look_at(f"{address}/{page}", width=width, phone=width < 500, scheme=scheme)
        assert seen.logged == []
        assert all(url.startswith((address, "data:", "blob:")) for url in seen.requested)
        assert seen.run("document.documentElement.scrollWidth") <= width


def test_the_search_finds_a_page(address: str, look_at: LookAt) -> None:
    """It runs in a worker of the site's own, below the policy."""
    seen = look_at(f"{address}/index.html", width=1280)
    seen.tab.fill(".md-search__input", "near-duplicates")
    seen.wait_for("document.querySelectorAll('.md-search-result__item').length > 0")
    assert all(url.startswith((address, "data:", "blob:")) for url in seen.requested)
