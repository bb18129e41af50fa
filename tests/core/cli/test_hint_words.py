"""Hints: each has a sentence, and names existing commands and options only."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

import lookalike_core
import lookalike_exporter
import lookalike_ingest
import lookalike_search
import pytest
import typer
from lookalike_core.cli.hint_words import MEMORY_ADVICE, SENTENCES, full_message, option, words
from lookalike_core.errors import CollectionMissingError, ImageError, SkipReason, UsageError
from lookalike_core.hints import Action, Argument, Hint, Notice, Value
from lookalike_exporter.commands.app import app as exporter
from lookalike_ingest.commands.app import app as ingest
from lookalike_search.commands.app import app as search

import lookalike

_COMMAND = re.compile(r"\b(exporter|ingest|search) (?!for\b|with\b|it\b)([a-z]+)")
_OPTION = re.compile(r"--[a-z][a-z-]*")


PACKAGES = (lookalike, lookalike_core, lookalike_exporter, lookalike_ingest, lookalike_search)
OTHERS = (
    "weights_sources.py",  # the options of pip
    "plots.py",  # what a plot is known again by
)
"""Modules whose strings name options of other programs, or give no advice."""


def test_every_action_has_a_sentence() -> None:
    """An action without a sentence would raise while an error is reported."""
    assert SENTENCES.keys() == set(Action)


def test_every_argument_is_an_option_of_some_command() -> None:
    """The option has the argument's name with dashes for underscores; the folder is positional."""
    known = set().union(*_commands().values())
    assert {option(argument) for argument in Argument} - known == {"--folder"}


@pytest.mark.parametrize("sentence", [*SENTENCES.values(), MEMORY_ADVICE])
def test_every_sentence_names_existing_commands_and_options(sentence: str) -> None:
    """Options after a command belong to it; those before the first command, to any."""
    assert list(_unknown(sentence)) == []


def test_every_hint_of_the_library_names_existing_commands_and_options() -> None:
    """Arguments are those given where the hint is created."""
    hints = list(_hints())
    assert len(hints) > 10
    problems = [(where, words(hint)) for where, hint in hints if list(_unknown(words(hint)))]
    assert problems == []
    assert [where for where, hint in hints if "None" in words(hint)] == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_no_string_of_the_library_names_options_or_commands(package: ModuleType) -> None:
    """A notebook has no options; docstrings are exempt."""
    found = [
        f"{file.name}:{line}: {text!r}"
        for file in library_files(package)
        for line, text in _strings(file)
        if _speaks_of_commands(text) or _OPTION.search(text) or "same command" in text  # type: ignore[index]
    ]
    assert [each for each in found if not each.startswith(OTHERS)] == []


@pytest.mark.parametrize(
    ("action", "values", "expected"),
    [
        (Action.REPEAT, {}, "run the same command again"),
        (Action.USE, {Argument.LAYER: "fc1", Argument.POOLING: "max"}, "use --layer fc1 --pooling max"),
        (Action.USE, {Argument.WEIGHTS: None, Argument.EXACT: None}, "use --weights FILE --exact"),
        (Action.LEAVE_OUT, {Argument.NEW_ROOT: None}, "leave --new-root out"),
        (
            Action.LEAVE_OUT,
            {Argument.BACKBONE: None, Argument.DISTANCE: None, Argument.HEAD: None},
            "leave --backbone, --distance and --head out",
        ),
        (Action.LEAVE_ONE_OUT, {Argument.AND: None, Argument.NOT: None}, "leave one of --and or --not out"),
        (Action.REBUILD, {Argument.COLLECTION: "a"}, "rebuild it with: ingest rebuild a"),
        (
            Action.REQUANTIZE,
            {Argument.COLLECTION: "a", Argument.QUANTIZE: "scalar"},
            "change that with: ingest rebuild a --quantize scalar",
        ),
        (
            Action.CALIBRATE,
            {Argument.COLLECTION: ("a", "b")},
            "run: search calibrate --collection a --collection b",
        ),
        (
            Action.MOVE_DATASET,
            {Argument.DATASET: "my photos", Argument.NEW_ROOT: None},
            "if it was renamed or moved, say so with: ingest run DIR --dataset 'my photos' --new-root",
        ),
        (
            Action.MOVE_DATASET,
            {
                Argument.FOLDER: "/new photos",
                Argument.NEW_ROOT: None,
                Argument.WEIGHTS: "my weights.h5",
                Argument.DATASET: "a",
            },
            (
                "if it was renamed or moved, say so with: ingest run '/new photos' --new-root "
                "--weights 'my weights.h5' --dataset a"
            ),
        ),
        (Action.INGEST, {}, "create it with: ingest run DIR"),
        (Action.INGEST, {Argument.BACKBONE: "vgg"}, "create it with: ingest run DIR --backbone vgg"),
    ],
)
def test_a_hint_is_worded_with_commands_and_options(
    action: Action, values: Mapping[Argument, Value], expected: str
) -> None:
    """Given values are filled in; placeholders stand for values that the reader chooses."""
    assert words(Hint(action, values)) == expected


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("done", "done"),
        (Notice("done"), "done"),
        (Notice("cut off", hint=Hint(Action.REPEAT)), "cut off; run the same command again"),
        (ImageError("x.jpg is empty", reason=SkipReason.EMPTY), "x.jpg is empty"),
        (UsageError("10 is too many", argument=Argument.DIMS), "--dims: 10 is too many"),
        (
            UsageError("too few have a class", hint=Hint(Action.LABEL)),
            "too few have a class, or ingest with --labels",
        ),
        (
            CollectionMissingError("available: none.", hint=Hint(Action.INGEST)),
            "available: none. Create it with: ingest run DIR",
        ),
    ],
)
def test_a_message_ends_with_the_remedy(subject: str | UsageError, expected: str) -> None:
    """The remedy follows a semicolon, or is a sentence; the option precedes the message."""
    assert full_message(subject) == expected


@cache
def _commands() -> dict[str, set[str]]:
    """Returns each command with its options."""
    found = {}
    for name, app in (("exporter", exporter), ("ingest", ingest), ("search", search)):
        group = typer.main.get_command(app)
        context = typer.Context(group)
        for command in group.list_commands(context):  # type: ignore[attr-defined]
            _, found_command, _ = group.resolve_command(context, [command])  # type: ignore[attr-defined]
            options = {
                each
                for parameter in found_command.params
                for each in (*parameter.opts, *parameter.secondary_opts)
            }
            found[f"{name} {command}"] = options
    return found


def _speaks_of_commands(text: str) -> bool:
    named = _COMMAND.search(text)
    return bool((named and named[0] in _commands()) or _OPTION.search(text) or "same command" in text)


def _unknown(sentence: str) -> Iterator[str]:
    """Returns the commands and options in a sentence that do not exist, or not together."""
    known = _commands()
    sentence = sentence.replace("pip install", "")
    starts = [match.start() for match in _COMMAND.finditer(sentence)]
    for start, end in zip([0, *starts], [*starts, len(sentence)], strict=True):
        part = sentence[start:end].partition(", or use")[0]
        named = _COMMAND.match(part)
        if named and named[0] not in known:
            yield named[0]
        options = known.get(named[0], set()) if named else set().union(*known.values())
        yield from (each for each in _OPTION.findall(part) if each not in options)


def _hints() -> Iterator[tuple[str, Hint]]:
    """Yields every hint in the library's modules, from their syntax trees."""
    for file in library_files():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Hint":
                yield f"{file}:{node.lineno}", _hint(node)


def _hint(call: ast.Call) -> Hint:
    action, *values = call.args
    assert isinstance(action, ast.Attribute)
    given: dict[Argument, Value] = {}
    for each in values:
        if isinstance(each, ast.Dict):
            for key, value in zip(each.keys, each.values, strict=True):
                if key is None:  # `**`, of arguments that nobody knows before
                    continue
                assert isinstance(key, ast.Attribute)
                given[Argument[key.attr]] = value.value if isinstance(value, ast.Constant) else "x"
    return Hint(Action[action.attr], given)


def library_files(*packages: ModuleType) -> Iterator[Path]:
    """Returns all modules that are no commands."""
    for package in packages or PACKAGES:
        for folder in package.__path__:
            for file in sorted(Path(folder).rglob("*.py")):
                if not {"commands", "cli"} & set(file.relative_to(folder).parts):
                    yield file


def _strings(file: Path) -> Iterator[tuple[int, str]]:
    """Yields line and text of each string that is no docstring; f-strings in parts."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value
