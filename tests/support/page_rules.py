"""Checks the rules for pages, by the standard library's parser, which is less forgiving than a browser."""

import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

VOID = frozenset({"meta", "link", "input", "br", "img", "hr"})
LANDMARKS = ("header", "main", "footer")
CELLS = ("th", "td")


@dataclass(slots=True)
class Element:
    """A start tag."""

    name: str
    attributes: dict[str, str | None]


@dataclass(slots=True)
class _Reader(HTMLParser):
    elements: list[Element] = field(default_factory=list)
    open_tags: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self, convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))
        if len(dict(attrs)) < len(attrs):
            self.problems.append(f"<{tag}> has an attribute twice")
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Handles self-closing tags, as in SVG."""
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open_tags or self.open_tags[-1] != tag:
            self.problems.append(f"</{tag}> ends {self.open_tags[-3:]} at {self.getpos()}")
        else:
            self.open_tags.pop()

    def handle_data(self, data: str) -> None:
        if not self.open_tags or self.open_tags[-1] not in {"style", "script"}:
            self.text.append(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPage:
    """A parsed page: its start tags, its text, its source and the rules that it breaks."""

    elements: list[Element]
    text: str
    source: str
    problems: list[str]

    def with_class(self, name: str) -> list[Element]:
        """Returns the elements of a CSS class."""
        return [each for each in self.elements if name in (each.attributes.get("class") or "").split()]


def read_page(path: Path) -> ReadPage:
    """Parses a page and notes which rules it breaks."""
    source = path.read_text(encoding="utf-8")
    reader = _Reader()
    reader.feed(source)
    reader.close()
    problems = [*reader.problems, *(f"<{tag}> is not closed" for tag in reader.open_tags)]
    problems += _structure(reader.elements) + _references(reader.elements) + _requested_urls(source)
    return ReadPage(
        elements=reader.elements,
        text=" ".join("".join(reader.text).split()),
        source=source,
        problems=problems,
    )


def _structure(elements: list[Element]) -> list[str]:
    problems = []
    counts = Counter(each.name for each in elements)
    problems += [f"{counts[name]} <{name}>" for name in (*LANDMARKS, "h1", "title") if counts[name] < 1]
    if counts["main"] != 1 or counts["h1"] != 1:
        problems.append("there has to be one <main> and one <h1>")
    levels = [int(each.name[1]) for each in elements if re.fullmatch("h[1-6]", each.name)]
    problems += [f"h{a} is followed by h{b}" for a, b in pairwise(levels) if b > a + 1]
    for each in elements:
        own = each.attributes
        if (own.get("role") == "img" or each.name == "img") and not (own.get("aria-label") or own.get("alt")):
            problems.append(f"an image has no name: {own}")
        if each.name == "th" and own.get("scope") not in {"row", "col"}:
            problems.append("a <th> has no scope")
        if any(name.startswith("on") for name in own):
            problems.append(f"a handler stands in an attribute: {own}")
    return problems


def _references(elements: list[Element]) -> list[str]:
    ids = Counter(each.attributes["id"] for each in elements if "id" in each.attributes)
    problems = [f"the id {name} is there {count} times" for name, count in ids.items() if count > 1]
    for each in elements:
        wanted = (each.attributes.get("aria-labelledby") or "").split()
        href = each.attributes.get("href") or ""
        if href.startswith("#"):
            wanted.append(href[1:])
        problems += [f"nothing has the id {name}" for name in wanted if name not in ids]
    return problems


def _requested_urls(source: str) -> list[str]:
    """Returns the addresses that a browser would load; `data:` URLs need no request."""
    problems = [f"asks for {url}" for url in re.findall(r"url\((?!data:)[^)]*\)|@import[^;]*", source)]
    problems += [
        f"asks for {url}"
        for url in re.findall(r"""(?:src|href|poster)=["']?((?!data:|#)[^"'>\s]+)""", source)
    ]
    if "default-src 'none'" not in source:
        problems.append("the page has no policy")
    return problems
