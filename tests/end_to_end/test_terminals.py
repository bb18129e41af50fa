"""Tests names with terminal control codes: every command shows them escaped."""

import csv
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from terminal import control_sequences, sent_to_terminal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no POSIX pseudo-terminals")

TITLE = "\x1b]0;TAKEN\x07"
DATASET = f"[bold]hols{TITLE}"
CLASS = "ca\x9b2Jt [/x]"
NAMES = ("a\x1b[5n.png", "b\u202egnp.png", ":smile:.png", "d\ne.png", "f\u2028g\u2066.png", "猫.png")

Terminal = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def library(make_shell: Any, draw: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns a shell beside a collection of images with such names; tests only read it."""
    shell = make_shell(tmp_path_factory.mktemp("library"))
    (first, *_) = draw(shell.folder / DATASET, *(f"{CLASS}/{name}" for name in NAMES))
    (shell.folder / DATASET / "copy\x1b[2J.png").write_bytes(first.read_bytes())
    assert shell.ingest(DATASET).code == 0
    return shell


@pytest.fixture
def terminal(library: Any) -> Terminal:
    """Returns a function that runs a command on a terminal: its exit code, and what it sent."""

    def run(*words: str | Path, typed: str = "") -> tuple[int, str]:
        return sent_to_terminal(words, folder=library.folder, environment=library.environment, typed=typed)

    return run


def test_a_progress_bar_escapes_its_title(terminal: Terminal, library: Any) -> None:
    """Control codes and Rich's markup in a folder's name are shown as text, unbalanced markup too."""
    code, sent = terminal("ingest", "run", DATASET, *library.model, "--dataset", f"[/x]{TITLE}", "--dry-run")
    assert (code, control_sequences(sent)) == (0, [])
    assert r"[/x]\x1b]0;TAKEN\x07 " in sent
    assert "images/s" in sent


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["ingest", "status"], r"dataset [bold]hols\x1b]0;TAKEN\x07"),
        (["ingest", "status", "--json"], r"[bold]hols\u001b]0;TAKEN\u0007"),
        (["search", "query", f"{DATASET}/{CLASS}/{NAMES[1]}"], r"ca\x9b2Jt [/x]/d\ne.png"),
        (
            ["search", "query", "--no-thumbnails", f"{DATASET}/{CLASS}/{NAMES[1]}"],
            "ca\\x9b2Jt [/x]/:smile:.png",
        ),
        (["search", "neighbours"], r'"ca\x9b2Jt [/x]/d\ne.png"'),
        (["search", "neighbours", "--json"], r"b\u202egnp.png"),
        (["search", "duplicates"], r"copy\x1b[2J.png"),
        (["search", "duplicates", "--paths"], r"copy\x1b[2J.png"),
        (["search", "duplicates", "--print0"], r"copy\x1b[2J.png"),
        (["search", "query", f"gone{TITLE}.png"], r"gone\x1b]0;TAKEN\x07.png"),
        (["search", "query", "--dataset", TITLE, NAMES[1]], r"\x1b]0;TAKEN\x07"),
        (["search", "query", f"--{TITLE}"], r"--\x1b]0;TAKEN\x07"),
        (["search", "query", "a.png", "--limit", TITLE], r"\x1b]0;TAKEN\x07"),
        (["search", TITLE], r"\x1b]0;TAKEN\x07"),
        (["exporter", "run", "--backbone", TITLE, "--verbose"], r"\x1b]0;TAKEN\x07"),
    ],
    ids=lambda value: (
        " ".join(value[:3]).encode("unicode_escape").decode() if isinstance(value, list) else ""
    ),
)
def test_names_are_escaped_on_a_terminal(terminal: Terminal, words: list[str], shown: str) -> None:
    """Tables, JSON, errors, and quoted values of options escape them."""
    _, sent = terminal(*words)
    assert control_sequences(sent.replace("\0", "")) == []
    assert shown in sent


def test_a_question_escapes_names(terminal: Terminal) -> None:
    """Only yes confirms."""
    code, sent = terminal("ingest", "remove", "--dataset", DATASET, typed="n\n")
    assert (code, control_sequences(sent)) == (1, [])
    assert r"points of [bold]hols\x1b]0;TAKEN\x07" in sent
    assert "nothing was changed" in sent


def test_a_pipe_receives_names_unescaped(library: Any) -> None:
    """Names are escaped for terminals only."""
    redundant = library("search", "duplicates", "--print0").out.removesuffix("\0").split("\0")
    (copy,) = (Path(path) for path in redundant)
    assert copy.read_bytes() == (library.folder / DATASET / CLASS / NAMES[0]).read_bytes()
    table = list(csv.DictReader(io.StringIO(library("search", "neighbours").out, newline="")))
    assert {Path(row["path"]).name for row in table} == {*NAMES, "copy\x1b[2J.png"}
    assert {row["dataset"] for row in table} == {DATASET}
