"""The README stays true: commands, options, variables, exit codes and reasons."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lookalike_core import errors
from lookalike_core.cli.start import INTERRUPTED_EXIT_CODE
from lookalike_core.images.decoding import SUFFIXES

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
COMMANDS = {
    "exporter": ("run", "list", "verify", "fit"),
    "ingest": ("run", "status", "rebuild", "remove", "sample"),
    "search": ("query", "evaluate", "calibrate", "neighbours", "duplicates", "explain", "map"),
}


def section(title: str) -> str:
    """The README's text from one heading to the next of the same depth."""
    found = re.search(rf"^(#+) {re.escape(title)}$\n(.*?)(?=^#{{1,3}} |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[2]


@pytest.fixture(scope="module", params=COMMANDS)
def command(request: pytest.FixtureRequest) -> str:
    """Each in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def options(
    command: str, make_shell: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, set[str]]:
    """Subcommand -> the options in its help."""
    shell, options = make_shell(tmp_path_factory.mktemp("help")), {}
    for name in COMMANDS[command]:
        done = shell(command, name, "--help")
        assert done.code == 0
        options[name] = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", done.out)) - {"--help"}
    return options


def test_every_option_is_in_the_readme_and_no_other(command: str, options: dict[str, set[str]]) -> None:
    """What `--help` lists and what the command's section lists are the same."""
    there = set().union(*options.values())
    rows = re.findall(r"^\| (`--.*?) \|", section(command), re.MULTILINE)
    documented = {option for row in rows for option in re.findall(r"--[a-z][a-z-]*", row)}
    assert documented | {"--json", "--verbose"} == there


def test_options_are_listed_with_their_subcommands(command: str, options: dict[str, set[str]]) -> None:
    """The column `of` names exactly the subcommands that take an option."""
    for names, of in re.findall(r"^\| (`--.*?) \| ([a-z, ]+) \|", section(command), re.MULTILINE):
        for option in re.findall(r"--[a-z][a-z-]*", names):
            takers = {name for name, taken in options.items() if option in taken}
            assert takers == set(of.split(", ")), option


def test_every_subcommand_is_in_the_readme(command: str) -> None:
    """Each one stands there as it is typed."""
    for name in COMMANDS[command]:
        assert f"{command} {name}" in README


def test_exit_codes_are_those_of_the_errors() -> None:
    """The table has a row for every exit code there is."""
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", section("Exit codes"), re.MULTILINE)}
    tree = [value for value in vars(errors).values() if hasattr(value, "exit_code")]
    assert documented == {0, INTERRUPTED_EXIT_CODE, *(error.exit_code for error in tree)}


def test_environment_variables_are_those_that_are_read() -> None:
    """The table lists what settings look up, and nothing else."""
    source = (Path(__file__).parents[1] / "core" / "lookalike_core" / "settings.py").read_text(
        encoding="utf-8"
    )
    read = set(re.findall(r'environment\.get\("(\w+)"\)', source))
    documented = set(re.findall(r"^\| `(\w+)` \|", section("Environment"), re.MULTILINE))
    assert documented == read


def test_reasons_and_suffixes_are_those_of_the_code() -> None:
    """The closed set of reasons and the picture names stand in the README in full."""
    text = section("ingest")
    assert all(f"`{reason}`" in text for reason in errors.SkipReason)
    assert all(f"`{suffix}`" in text for suffix in SUFFIXES)
