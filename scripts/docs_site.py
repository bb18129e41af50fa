"""What `make docs` adds to MkDocs: pages from outside of docs/, their links, and a check of the built site.

The site has the written pages of the whole project. A page keeps its links as they work in the repository;
where their targets are elsewhere in the site, they are rewritten. Nothing that a reader's browser would fetch
from another host may be in the built files.
"""

import posixpath
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]

OUTSIDE = {
    "benchmarks/README.md": "project/benchmarks.md",
    **{
        f"benchmarks/{figure.name}": f"project/{figure.name}"
        for figure in sorted((ROOT / "benchmarks").glob("*.svg"))
    },
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "examples": "tutorial/examples.md",
    "examples/tutorial.ipynb": "tutorial/tutorial.ipynb",
}
"""Path in the repository, outside of docs/ -> its path in the site."""

FETCHED = {
    "audio": {"src"},
    "embed": {"src"},
    "iframe": {"src"},
    "image": {"href", "xlink:href"},
    "img": {"src", "srcset"},
    "input": {"src"},
    "link": {"href"},
    "object": {"data"},
    "script": {"src"},
    "source": {"src", "srcset"},
    "track": {"src"},
    "use": {"href", "xlink:href"},
    "video": {"src", "poster"},
}
"""Elements of HTML -> their attributes that a browser fetches without being asked."""

NAMES_A_PAGE = {"canonical", "next", "prev", "license"}
"""Relations of `<link>` that name a page, and fetch nothing."""

SEARCHED_LAST = ("adr/", "project/", "reference/")
"""Folders whose pages the search lists below the tutorial, the how-to guides and the explanations."""

log = get_plugin_logger("docs_site")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the pages from outside of docs/."""
    for source, path in OUTSIDE.items():
        if source == "examples":
            files.append(File.generated(config, path, content=examples_page()))
        else:
            files.append(File.generated(config, path, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Rewrites the links of a page that lead out of docs/ or to it from outside; ranks it in the search."""
    if page.file.src_uri.startswith(SEARCHED_LAST):
        page.meta["search"] = {"boost": 0.3}
    return rewrite_links(markdown, page.file.src_uri)


def on_post_build(*, config: MkDocsConfig) -> None:
    """Refuses a site that would load anything from another host."""
    found = list(external_requests(Path(config.site_dir)))
    if found:
        raise PluginError("the site would load from elsewhere:\n" + "\n".join(found))


def examples_page() -> str:
    """Returns a page with the source of each program in examples/."""
    lines = ["# Example programs", "", "Whole programs, from `examples/`; the tests run each of them.", ""]
    for file in sorted((ROOT / "examples").glob("*.py")):
        title = file.stem.replace("_", " ").capitalize()
        source = file.read_text(encoding="utf-8").rstrip("\n")
        lines += [f"## {title}", "", f"`examples/{file.name}`", "", "```python", source, "```", ""]
    return "\n".join(lines)


def rewrite_links(markdown: str, src_uri: str) -> str:
    """Returns a page of the site with its relative links as they are in the site; code is left alone."""
    parts = re.split(r"(^```.*?^```$|`[^`\n]*`)", markdown, flags=re.MULTILINE | re.DOTALL)
    for number in range(0, len(parts), 2):
        parts[number] = re.sub(
            r"(?<=\]\()([^)\s]+)(?=\))", lambda found: site_link(found[1], src_uri), parts[number]
        )
    return "".join(parts)


def site_link(link: str, src_uri: str) -> str:
    """Returns a link of a page as it is in the site."""
    if "://" in link or link.startswith(("#", "mailto:")):
        return link
    target, mark, anchor = link.partition("#")
    source = {path: file for file, path in OUTSIDE.items()}.get(src_uri, f"docs/{src_uri}")
    folder = source if source == "examples" else posixpath.dirname(source)
    named = posixpath.normpath(posixpath.join(folder, target))
    if named in OUTSIDE:
        path = OUTSIDE[named]
    elif named.startswith("docs/"):
        path = named.removeprefix("docs/")
    else:
        log.warning("%s links to %s, which is not in the site", source, named)
        return link
    return posixpath.relpath(path, posixpath.dirname(src_uri)) + mark + anchor


def external_requests(site: Path) -> Iterator[str]:
    """Yields what a browser would load from another host, with its file, for each file of a built site."""
    for file in sorted(site.rglob("*")):
        if file.suffix == ".html":
            yield from (f"{file.relative_to(site)}: {url}" for url in fetched_by_html(read(file)))
        elif file.suffix in (".css", ".svg"):
            yield from (f"{file.relative_to(site)}: {url}" for url in fetched_by_css(read(file)))


def fetched_by_html(text: str) -> list[str]:
    """Returns the addresses of other hosts that a page would load."""
    parser = FetchParser()
    parser.feed(text)
    return [*parser.found, *fetched_by_css("\n".join(parser.styles))]


def fetched_by_css(text: str) -> list[str]:
    """Returns the addresses of other hosts that a style sheet would load."""
    urls = re.findall(r"""url\(\s*["']?([^"')]+)""", text)
    imports = re.findall(r"""@import\s+["']([^"']+)""", text)
    return [url for url in [*urls, *imports] if is_external(url)]


def is_external(url: str) -> bool:
    """Returns whether an address is one of another host."""
    return bool(re.match(r"\s*(?:[a-z][a-z0-9+.-]*:)?//", url, re.IGNORECASE))


def read(file: Path) -> str:
    """Returns the text of a built file."""
    return file.read_text(encoding="utf-8")


class FetchParser(HTMLParser):
    """Collects the addresses of other hosts that elements of a page load, and its styles."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.styles: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Takes the attributes that are loaded."""
        values = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        self.styles.append(values.get("style", ""))
        if tag == "link" and set(values.get("rel", "").lower().split()) <= NAMES_A_PAGE:
            return
        for name in FETCHED.get(tag, ()) & values.keys():
            urls = values[name].split(",") if name == "srcset" else [values[name]]
            self.found += [url.strip() for url in urls if is_external(url)]

    def handle_data(self, data: str) -> None:
        """Takes the text of a style element."""
        if self._in_style:
            self.styles.append(data)

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser's signature
        """Ends a style element."""
        self._in_style = False
