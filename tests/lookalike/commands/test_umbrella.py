"""The umbrella command: the other commands under one name, versions, and completion in shells."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from lookalike.commands import versions
from lookalike.commands.app import GROUPS, SUBCOMMANDS

HEAVY = ("numpy", "onnx", "lookalike_search", "lookalike_ingest", "lookalike_exporter")


@pytest.mark.parametrize("name", GROUPS)
def test_each_group_has_the_help_of_its_command(name: str, shell: Any) -> None:
    """The line is repeated in the list, so that `--help` imports no other command."""
    assert import_module(f"{GROUPS[name]}.app").app.info.help == SUBCOMMANDS[name]
    direct, nested = shell(name, "--help"), shell("lookalike", name, "--help")
    assert nested.code == 0
    assert nested.out == direct.out.replace(f"Usage: {name} ", f"Usage: lookalike {name} ")


@pytest.mark.parametrize(
    "words",
    [
        ("ingest", "status", "--json"),
        ("search", "query", "gone.png"),
        ("exporter", "run", "--backbone", "nonsense"),
        ("ingest", "nonsense"),
        ("search", "query", "--limit", "ten", "a.png"),
        ("exporter",),
    ],
    ids=" ".join,
)
def test_a_command_is_the_same_under_the_umbrella(words: tuple[str, ...], shell: Any) -> None:
    """It has the same exit code, output and messages; usage lines name what was typed."""
    direct, nested = shell(*words), shell("lookalike", *words)
    for before in ("Usage: ", "Try '"):
        direct = type(direct)(
            code=direct.code,
            out=direct.out,
            err=direct.err.replace(f"{before}{words[0]} ", f"{before}lookalike {words[0]} "),
        )
    assert nested == direct


def test_an_unknown_command_is_wrong_usage(shell: Any) -> None:
    """Without any, it shows its help."""
    assert (shell("lookalike", "nonsense").code, shell("lookalike").code) == (2, 2)
    assert "No such command 'nonsense'" in shell("lookalike", "nonsense").err


def test_the_version_names_runtime_and_providers(shell: Any) -> None:
    """One line for each library that decides what works."""
    lines = shell("lookalike", "--version").out.splitlines()
    assert lines[0].startswith("lookalike ")
    assert lines[1].startswith("Python ")
    assert lines[2].startswith("onnxruntime")
    assert "CPUExecutionProvider" in lines[2]
    assert [line.split()[0] for line in lines[-2:]] == ["qdrant-client", "qdrant-edge-py"]


def test_versions_are_shown_of_a_broken_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is when they are wanted."""

    def fail() -> object:
        raise OSError("libonnxruntime.so: cannot allocate memory")

    monkeypatch.setattr("lookalike_core.models.providers.load_runtime", fail)
    assert any("with no provider: libonnxruntime.so" in line for line in versions.version_lines())
    monkeypatch.setattr(versions, "installed_version", lambda _: None)
    assert list(versions.version_lines())[-1] == "ONNX Runtime is not installed"


def complete(shell: Any, words: str) -> list[str]:
    """Returns what bash would offer for the last word."""
    position = str(len(words.split(" ")) - 1)
    done = shell(
        "lookalike", _LOOKALIKE_COMPLETE="complete_bash", COMP_WORDS=words.rstrip(), COMP_CWORD=position
    )
    assert (done.code, done.err) == (0, "")
    offered: list[str] = done.out.split()
    return offered


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("lookalike ", ["exporter", "ingest", "search", "doctor"]),
        ("lookalike sea", ["search"]),
        ("lookalike search q", ["query"]),
        ("lookalike search query --coll", ["--collection"]),
        ("lookalike ingest run --distance e", ["euclid"]),
        ("lookalike doctor --off", ["--offline"]),
    ],
)
def test_shells_complete_nested_commands_and_options(words: str, offered: list[str], shell: Any) -> None:
    """As bash asks for it."""
    assert complete(shell, words) == offered


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_completion_of_each_shell_can_be_shown(name: str, shell: Any) -> None:
    """It names the command, run as a module, too; which shell is in use is not looked up here."""
    environment = shell.environment | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "yes"}
    installed = [Path(sys.executable).parent / "lookalike"]
    shown = [
        subprocess.run(
            [*words, "--show-completion", name], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for words in (installed, [sys.executable, "-m", "lookalike"])
    ]
    assert "_LOOKALIKE_COMPLETE=complete" in shown[0]
    assert shown[0] == shown[1]


def test_help_and_library_import_no_other_command() -> None:
    """Help is there at once; in a new Python process, run as a module."""
    program = (
        "import atexit, runpy, sys\n"
        f"heavy = {HEAVY}\n"
        "atexit.register(lambda: print([name for name in sys.modules if name.startswith(heavy)]))\n"
        "sys.argv = ['lookalike', '--help']\n"
        "runpy.run_module('lookalike', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: lookalike")
    assert done.stdout.splitlines()[-1] == "[]"
