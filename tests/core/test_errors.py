"""Exit codes, which users' scripts rely on."""

import pickle
import re
from pathlib import Path

import pytest
from lookalike_core import errors
from lookalike_core.cli.interrupt import INTERRUPTED_EXIT_CODE
from lookalike_core.errors import (
    CollectionMissingError,
    ImageError,
    LookalikeError,
    MissingDecoderError,
    SkipReason,
    StoreError,
    StoreLockedError,
    UsageError,
)
from lookalike_core.hints import Action, Argument, Hint

EXIT_CODES = {
    "LookalikeError": 1,
    "UsageError": 2,
    "ModelError": 3,
    "WeightsError": 3,
    "ProviderError": 3,
    "ImageError": 4,
    "MissingDecoderError": 4,
    "StoreError": 5,
    "StoreRefusedError": 5,
    "PeersMissingError": 5,
    "CollectionError": 6,
    "CollectionMissingError": 6,
    "ManifestError": 6,
    "StoreLockedError": 7,
}


@pytest.mark.parametrize(("name", "exit_code"), EXIT_CODES.items())
def test_each_error_has_its_documented_exit_code(name: str, exit_code: int) -> None:
    """The table is that of the docs and README, class by class."""
    assert getattr(errors, name).exit_code == exit_code


def test_no_error_is_missing_from_the_table() -> None:
    """A new class needs an entry in the test's table."""
    classes = {cls.__name__ for cls in _tree(LookalikeError) if cls.__module__ == errors.__name__}
    assert classes == EXIT_CODES.keys()


def test_the_drawn_tree_matches_the_classes() -> None:
    """The module's docstring shows the tree and its codes."""
    drawn = re.findall(r"(\w+Error) +(\d) *", errors.__doc__ or "")
    assert {name: int(code) for name, code in drawn} == EXIT_CODES


def test_an_interrupted_command_exits_as_shells_expect() -> None:
    """The exit code is 128 plus the number of SIGINT."""
    assert INTERRUPTED_EXIT_CODE == 130


def test_an_image_error_has_a_reason_of_a_closed_set() -> None:
    """`--json` prints the reason; the message is for people."""
    error = ImageError("x.jpg is empty", reason=SkipReason.EMPTY)
    assert (str(error), error.reason) == ("x.jpg is empty", "empty")


def test_an_error_has_its_hint_beside_its_message() -> None:
    """The message holds for any caller, so it names no options."""
    error = ImageError(
        "x.jpg has too many pixels",
        reason=SkipReason.TOO_LARGE,
        limit=9,
        path="x.jpg",
        hint=Hint(Action.RAISE_LIMIT, {Argument.MAX_PIXELS: None}),
    )
    assert str(error) == "x.jpg has too many pixels"
    assert (error.limit, error.path) == (9, Path("x.jpg"))
    assert error.hint == Hint(Action.RAISE_LIMIT, {Argument.MAX_PIXELS: None})


@pytest.mark.parametrize(
    "error",
    [
        LookalikeError("a", path="x", hint=Hint(Action.REPEAT)),
        UsageError("b", argument=Argument.DIMS),
        ImageError("c", reason=SkipReason.EMPTY, path="x.jpg"),
        MissingDecoderError("d", needed="a decoder"),
        StoreError("e", store="http://127.0.0.1:6333"),
        CollectionMissingError("f", collection="vgg16-cosine"),
        StoreLockedError("g", holder="process 7 (ingest)", waited_s=10.0),
    ],
)
def test_an_error_reaches_another_process_with_its_data(error: LookalikeError) -> None:
    """Process pools pickle errors, whose data are keyword-only arguments."""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - made in the line before
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(
    ("origin", "message", "argument"),
    [
        (Argument.STORE, "x names no store", Argument.STORE),
        ("QDRANT_URL", "QDRANT_URL: x names no store", None),
    ],
)
def test_an_invalid_value_names_its_source(
    origin: Argument | str, message: str, argument: Argument | None
) -> None:
    """An argument is kept as data, as commands name it differently; a variable is named in the message."""
    error = UsageError.of(origin, "x names no store", path="x")
    assert (str(error), error.argument, error.path) == (message, argument, Path("x"))


def _tree(cls: type[LookalikeError]) -> set[type[LookalikeError]]:
    return {cls}.union(*map(_tree, cls.__subclasses__()))
