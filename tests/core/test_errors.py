"""Exit codes: the table that users' scripts rely on."""

import re

import pytest
from lookalike_core import errors
from lookalike_core.cli.start import INTERRUPTED_EXIT_CODE
from lookalike_core.errors import LookalikeError, PictureError, SkipReason

EXIT_CODES = {
    "LookalikeError": 1,
    "UsageError": 2,
    "ModelError": 3,
    "WeightsError": 3,
    "ProviderError": 3,
    "PictureError": 4,
    "MissingDecoderError": 4,
    "StoreError": 5,
    "StoreRefusedError": 5,
    "CollectionError": 6,
    "CollectionMissingError": 6,
    "ManifestError": 6,
    "StoreLockedError": 7,
}


@pytest.mark.parametrize(("name", "exit_code"), EXIT_CODES.items())
def test_an_error_ends_a_command_with_the_code_that_is_promised(name: str, exit_code: int) -> None:
    """The table of docs and README, class by class."""
    assert getattr(errors, name).exit_code == exit_code


def test_no_error_is_missing_from_the_table() -> None:
    """A new class has to be given its code here, too."""
    classes = {cls.__name__ for cls in _tree(LookalikeError) if cls.__module__ == errors.__name__}
    assert classes == EXIT_CODES.keys()


def test_the_drawing_of_the_tree_is_true() -> None:
    """The module begins with the tree and its codes, for people to read."""
    drawn = re.findall(r"(\w+Error) +(\d) *", errors.__doc__ or "")
    assert {name: int(code) for name, code in drawn} == EXIT_CODES


def test_an_interrupted_command_ends_as_shells_have_it() -> None:
    """128 and the number of SIGINT."""
    assert INTERRUPTED_EXIT_CODE == 130


def test_a_picture_error_says_why_in_one_of_a_closed_set_of_words() -> None:
    """`--json` prints the word, the message is for people."""
    error = PictureError("x.jpg is empty", reason=SkipReason.EMPTY)
    assert (str(error), error.reason) == ("x.jpg is empty", "empty")


def _tree(cls: type[LookalikeError]) -> set[type[LookalikeError]]:
    return {cls}.union(*map(_tree, cls.__subclasses__()))
