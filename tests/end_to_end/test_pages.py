"""Tests `--html` and thumbnails of the commands."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from page_rules import read_page

FOR_QUERY = ["query", "query.png"]


@pytest.fixture
def name(ingested: Any) -> str:
    """Returns the name of the cosine collection."""
    said = ingested("ingest", "status", "--json").json[0]["collections"]
    return str(next(each["name"] for each in said if each["name"].endswith("cosine")))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (FOR_QUERY, "Neighbours of query.png"),
        (["evaluate"], "How good the neighbours are"),
        (["duplicates"], "Duplicates in"),
    ],
)
def test_a_page_is_written_beside_the_same_output(
    ingested: Any, name: str, tmp_path: Path, words: list[str], expected: str
) -> None:
    """Stdout is the same as without `--html`; the page is complete and follows the rules for pages."""
    command = ["search", *words, "--collection", name]
    plain = ingested(*command)
    done = ingested(*command, "--html", tmp_path / "a.html")
    assert done.code == plain.code == 0, done.err
    assert done.out == plain.out
    page = read_page(tmp_path / "a.html")
    assert page.problems == []
    assert expected in page.text
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


@pytest.mark.parametrize("words", [FOR_QUERY, ["evaluate"], ["duplicates"]])
def test_an_unwritable_page_stops_a_command_at_once(ingested: Any, tmp_path: Path, words: list[str]) -> None:
    """The path is checked before anything is opened, so that no work is lost."""
    done = ingested("search", *words, "--html", tmp_path)
    assert done.code == 2
    assert f"--html: {tmp_path} is a folder" in done.err
    assert done.out == ""
    assert "store:" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_query_page_has_the_content_of_the_json(ingested: Any, name: str, tmp_path: Path) -> None:
    """Both have the same neighbours, scores and verdict; an indexed image shows its own class."""
    words = ["pictures/circle/crimson.png", "query.png"]
    done = ingested("search", "query", *words, "--collection", name, "--json", "--html", tmp_path / "a.html")
    page = read_page(tmp_path / "a.html")
    for answer in done.json:
        for hit in answer["hits"]:
            said = f"similarity {hit['score']:.4f} {hit['path']}"
            assert re.search(rf"{hit['rank']}\. {hit['class']} (✓ right |✗ wrong |){said}", page.text)
    assert page.text.count("Its class: circle") == 1


def test_an_unreadable_query_is_on_the_page_with_the_others(ingested: Any, name: str, tmp_path: Path) -> None:
    """The page and the exit code report it."""
    done = ingested(
        "search", "query", "query.png", "gone.png", "--collection", name, "--html", tmp_path / "a.html"
    )
    assert done.code == 4
    page = read_page(tmp_path / "a.html")
    assert page.problems == []
    assert "Not answered: gone.png" in page.text
    assert "Verdict:" in page.text


def run_in_terminal(shell: Any, *words: str, **variables: str) -> str:
    """Returns what a command writes to a terminal of 100 columns."""
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    ours, its = pty.openpty()
    environment = shell.environment | {"TERM": "xterm-256color", "COLUMNS": "100", "PYTHONUTF8": "1"}
    environment = {key: value for key, value in environment.items() if key not in {"NO_COLOR", "COLORTERM"}}
    with subprocess.Popen(
        [Path(sys.executable).parent / words[0], *words[1:]],
        cwd=shell.folder,
        env=environment | variables,
        stdout=its,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(its)
        parts = []
        try:
            while part := os.read(ours, 65_536):
                parts.append(part)
        except OSError:  # Linux reports a closed peer by this error
            pass
        os.close(ours)
        assert process.wait(60) == 0
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.mark.slow  # a process on a terminal
def test_a_terminal_with_colours_shows_thumbnails(ingested: Any, name: str) -> None:
    """Every row of the piped table is complete beside the thumbnails."""
    command = ["search", "query", "query.png", "--collection", name]
    piped = ingested(*command).out
    assert "\x1b" not in piped
    shown = run_in_terminal(ingested, *command)
    assert shown.count("▀") > 100
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    for line in piped.splitlines():
        assert re.search(rf"{re.escape(line)}$", text, re.MULTILINE), line


@pytest.mark.slow  # processes on a terminal
@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (["--no-thumbnails"], {}),
        ([], {"NO_COLOR": "1"}),
        ([], {"TERM": "dumb"}),
        (["--json"], {}),
    ],
)
def test_thumbnails_can_be_switched_off(
    ingested: Any, name: str, words: list[str], variables: dict[str, str]
) -> None:
    """The output is that of a pipe, but for the times."""
    command = ["search", "query", "query.png", "--collection", name, *words]
    shown = run_in_terminal(ingested, *command, **variables)

    def untimed(text: str) -> str:
        return re.sub(r'"took_ms": \{[^}]*\}', "", text)

    assert untimed(shown) == untimed(ingested(*command).out)
