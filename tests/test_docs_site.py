"""Tests of the documentation site: links from outside of docs/, and that nothing is loaded from elsewhere."""

import pytest

pytest.importorskip("mkdocs", reason="the site is built with what `make check` installs")
pytest.importorskip("material", reason="the site is built with what `make check` installs")

import docs_site


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("how-to/verify.md", "../adr/0010-providers.md", "../adr/0010-providers.md"),
        ("how-to/verify.md", "../../benchmarks/README.md#embedding", "../project/benchmarks.md#embedding"),
        ("project/benchmarks.md", "../docs/adr/0013-cold-start.md", "../adr/0013-cold-start.md"),
        ("project/benchmarks.md", "throughput.svg", "throughput.svg"),
        ("project/contributing.md", "docs/adr/decisions.md", "../adr/decisions.md"),
        ("tutorial/index.md", "../../examples", "examples.md"),
        ("index.md", "#start", "#start"),
        ("index.md", "https://qdrant.tech", "https://qdrant.tech"),
    ],
)
def test_links_lead_to_the_same_page_in_the_site(page: str, link: str, expected: str) -> None:
    """In the repository they lead to the file, in the site to its page."""
    assert docs_site.rewrite_links(f"[text]({link})", page) == f"[text]({expected})"


def test_links_in_code_are_left_alone() -> None:
    """A path between backticks or in a block is text."""
    code = "`[a](../../LICENSE)`\n\n```\n[b](../../LICENSE)\n```\n"
    assert docs_site.rewrite_links(code, "how-to/verify.md") == code


def test_a_link_out_of_the_site_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A strict build fails for it."""
    docs_site.rewrite_links("[code](../pyproject.toml)", "index.md")
    assert "docs/index.md links to pyproject.toml, which is not in the site" in caplog.text


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://example.org/a.js"></script>',
        '<link rel="stylesheet" href="//example.org/a.css">',
        '<link rel="preconnect" href="https://example.org">',
        '<img src="HTTPS://example.org/a.png">',
        '<img srcset="a.png 1x, https://example.org/a.png 2x">',
        '<p style="background: url(https://example.org/a.png)">',
        '<style>@import "https://example.org/a.css";</style>',
    ],
)
def test_what_a_page_would_load_from_elsewhere_is_found(html: str) -> None:
    """Whatever the element or the style."""
    assert len(docs_site.fetched_by_html(html)) == 1


def test_links_and_own_files_are_no_requests() -> None:
    """A link waits for a click, and a relative address is the site's own."""
    html = '<a href="https://example.org">a</a><img src="a.png"><link rel="canonical" href="https://example.org">'
    assert docs_site.fetched_by_html(html + '<p style="background: url(data:image/png;base64,AA)">') == []
