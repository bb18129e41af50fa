"""Tests that documents are true: the reference is generated, and commands, links and names exist."""

import functools
import pkgutil
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import reference
from described_source import describe
from lookalike_core import errors, settings
from lookalike_core.images.decoding import SUFFIXES
from lookalike_core.images.exclusion import DEFAULT_EXCLUDES
from lookalike_core.models.embedder import Embedder
from lookalike_core.stores.collection_manifest import Distance

from lookalike import Model

ROOT = Path(__file__).parents[1]
WRITTEN = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "benchmarks" / "README.md",
    *sorted(
        {*(ROOT / "docs").rglob("*.md")}
        - {*(ROOT / "docs").glob("adr/*"), *(ROOT / "docs").glob("reference/*")}
    ),
]
"""Pages written by hand, except decisions, whose commands may be of an older version."""

ROOMS = "lookalike_search|lookalike_ingest|lookalike_exporter|lookalike_core"
FOLDERS = "lookalike|search|ingest|exporter|core|tests|benchmarks|docs|examples|scripts"

DECISIONS = sorted((ROOT / "docs" / "adr").glob("*.md"))
LINKED = [*WRITTEN, *DECISIONS, *sorted((ROOT / "docs" / "reference").glob("*.md"))]


PAGES = functools.cache(reference.pages)


@functools.cache
def options() -> dict[tuple[str, str], set[str]]:
    """Returns command and subcommand -> its options."""
    return {
        (name, sub): {option for param in command.get_params(context) for option in param.opts}
        for name, package in reference.commands().items()
        for sub, command, context in reference.subcommands(name, package)
    }


@functools.cache
def anchors(file: Path) -> set[str]:
    """Returns the anchors of a page: its headings as GitHub names them."""
    text = re.sub(r"^```.*?^```", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shell_lines(text: str) -> Iterator[list[str]]:
    """Yields the words of each of our commands in a console block or between backticks."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    for line in [*lines, *re.findall(r"`([^`\n]+)`", text)]:
        words = shlex.split(re.split(r" [|>;] | # ", line)[0].replace("'", ""))
        if words[:1] == ["lookalike"] and words[1:2] and words[1] in reference.commands():
            del words[0]
        if len(words) > 1 and words[0] in reference.commands() and not words[1].startswith("-"):
            yield words


def exists(name: str) -> bool:
    """Returns whether a path exists, or a dotted name can be imported."""
    if "/" in name:
        return (ROOT / name).exists()
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@functools.cache
def sources() -> tuple[Path, ...]:
    """Returns the Python files of packages, tests, benchmarks and scripts."""
    return tuple(path for folder in FOLDERS.split("|") for path in (ROOT / folder).rglob("*.py"))


def page_id(file: Path) -> str:
    """Returns the name of a page in the name of a test."""
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("name", ["cli.md", "json.md", "library.md", "errors.md"])
def test_the_reference_is_up_to_date(name: str) -> None:
    """After a change to an option, a key, a docstring or an error, run `make reference`."""
    written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert written == PAGES()[name], f"docs/reference/{name} is stale; run: make reference"


def test_every_page_of_the_reference_is_generated() -> None:
    """A page that nothing writes any more must be removed."""
    there = {file.name for file in (ROOT / "docs" / "reference").iterdir()}
    assert there == PAGES().keys()


def test_the_list_of_decisions_is_up_to_date() -> None:
    """Each decision is in it by its own heading; after a new one, run `make reference`."""
    written = (ROOT / "docs" / "adr" / "decisions.md").read_text(encoding="utf-8")
    assert written == reference.decisions_page(), "docs/adr/decisions.md is stale; run: make reference"


def test_every_guide_is_in_the_list_of_tasks() -> None:
    """A new page of `docs/how-to` needs a line in its index; the navigation is checked by `make docs`."""
    folder = ROOT / "docs" / "how-to"
    listed = set(re.findall(r"\]\(([\w-]+\.md)", (folder / "index.md").read_text(encoding="utf-8")))
    assert {file.name for file in folder.glob("*.md")} - listed == {"index.md"}


def test_the_library_reference_has_signatures_attributes_and_sections() -> None:
    """Attributes have their defaults, and docstrings their sections."""
    described = "\n".join(describe("lookalike.Settings", settings.Settings))
    assert "| `store` | `str \\| None = None` |" in described
    assert "| `models_dir` | `Path` |" in described
    assert (
        "Settings.with_provider(\n    provider: ProviderChoice | None,\n    *,\n    require_gpu: bool,\n"
        in described
    )
    assert "**Raises**\n\n- `UsageError`: " in described
    assert "lookalike.Model(\n    name: str | None = None," in "\n".join(describe("lookalike.Model", Model))
    assert "lookalike.Embedder(" not in "\n".join(describe("lookalike.Embedder", Embedder))
    drawn = describe("lookalike.errors", ModuleType("errors", "All.\n\nRoot\n├── Leaf\n"))
    assert "\n```\nRoot\n├── Leaf\n```" in "\n".join(drawn)
    assert "| `COSINE` | `cosine` |" in "\n".join(describe("lookalike.Distance", Distance))


@pytest.mark.parametrize("file", WRITTEN, ids=page_id)
def test_commands_in_documents_exist(file: Path) -> None:
    """Each shown subcommand exists and has the shown options."""
    for words in shell_lines(file.read_text(encoding="utf-8")):
        assert tuple(words[:2]) in options(), words
        shown = {word.partition("=")[0] for word in words[2:] if word.startswith("--")}
        assert shown - {"--help"} <= options()[words[0], words[1]], words


@pytest.mark.parametrize("file", LINKED, ids=page_id)
def test_relative_links_have_targets(file: Path) -> None:
    """A relative link names an existing file, and a heading in it."""
    text = re.sub(r"`[^`\n]*`", "", file.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        page = (file.parent / target).resolve() if target else file
        assert page.exists(), link
        assert not anchor or anchor in anchors(page), link


@pytest.mark.parametrize("file", [*WRITTEN, *DECISIONS], ids=page_id)
def test_names_of_code_in_documents_exist(file: Path) -> None:
    """Dotted names of our packages, module files, and paths below the project's folders are looked up."""
    text = file.read_text(encoding="utf-8")
    quoted = re.findall(r"`([^`\n]+)`", text)
    named = [name for name in quoted if re.fullmatch(rf"lookalike(\.\w+)+|({FOLDERS})/[\w./-]*", name)]
    named += re.findall(rf"(?<![\w/])(?:{ROOMS})(?:\.\w+)+", text)
    files = {name for name in quoted if re.fullmatch(r"\w+\.py", name)}
    assert [name for name in named if not exists(name)] == []
    assert files - {path.name for path in sources()} == set()


def test_modules_and_folders_in_the_architecture_exist() -> None:
    """Modules without their package, as `.changes`, and the folders of each package are looked up, too."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    modules = {path.stem for path in sources()} | {path.parent.name for path in sources()}
    assert set(re.findall(r"(?<![\w.`/])\.([a-z]\w+)\b", text)) - modules == {"onnx"}
    room, folders = "", set()
    for line in text.splitlines():
        room = found.group() if (found := re.match(ROOMS, line)) else room if line.startswith("  ") else ""
        folders |= {f"{room}.{folder}" for folder in re.findall(r" (\w+)/ ", line) if room}
    assert "lookalike_core.stores" in folders
    assert [name for name in folders if not exists(name)] == []


def test_documented_environment_variables_are_those_read() -> None:
    """Settings read exactly the variables that they document."""
    source = Path(settings.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r'environment\.get\("(\w+)"\)', source)) == settings.VARIABLES.keys()


def test_documented_reasons_and_suffixes_are_complete() -> None:
    """The page about files lists every reason and every image suffix."""
    text = (ROOT / "docs" / "how-to" / "which-files.md").read_text(encoding="utf-8")
    assert all(f"`{reason}`" in text for reason in errors.SkipReason)
    assert all(f"`{suffix}`" in text for suffix in SUFFIXES)


def test_the_page_about_files_lists_the_default_exclusions() -> None:
    """Each name is listed, except the pattern of hidden files."""
    text = (ROOT / "docs" / "how-to" / "which-files.md").read_text(encoding="utf-8")
    assert [name for name in DEFAULT_EXCLUDES[1:] if f"`{name}`" not in text] == []
