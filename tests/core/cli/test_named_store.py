"""Commands that messages advise name the store that the command itself was given."""

from collections.abc import Iterator

import pytest
from lookalike_core.cli.hint_words import words
from lookalike_core.cli.named_store import advised, in_named_store, remember_store
from lookalike_core.hints import Action, Argument, Hint


@pytest.fixture(autouse=True)
def _no_store_is_named() -> Iterator[None]:
    remember_store(None)
    yield
    remember_store(None)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (None, "ingest run"),
        ("embedded", "ingest run --store embedded"),
        ("embedded:/media/my photos", "ingest run --store 'embedded:/media/my photos'"),
        ("http://localhost:6333", "ingest run --store http://localhost:6333"),
        ("https://me:secret@host", "ingest run --store URL"),
    ],
)
def test_an_advised_command_is_given_the_store(named: str | None, expected: str) -> None:
    """It can be copied into a shell, and shows no password."""
    assert remember_store(named) == named
    assert advised("ingest run") == expected


def test_every_command_of_a_sentence_is_given_the_store() -> None:
    """Names with braces are no placeholders of the sentence."""
    remember_store("embedded:{a}")
    sentence = in_named_store("try ingest rebuild {collection}, or search query: ingest run with --prune")
    assert sentence.format(collection="c") == (
        "try ingest rebuild --store 'embedded:{a}' c, or search query --store 'embedded:{a}': "
        "ingest run with --prune"
    )


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (
            Hint(Action.REBUILD, {Argument.COLLECTION: "c"}),
            "rebuild it with: ingest rebuild --store embedded:DIR c",
        ),
        (Hint(Action.PRUNE_AWAY), "if they are gone for good: ingest run with --prune --force"),
        (Hint(Action.CONTINUE_COPY), "or continue it by running the same ingest copy again"),
        (
            Hint(Action.INGEST, {Argument.STORE: "embedded:OTHER"}),
            "create it with: ingest run DIR --store embedded:OTHER",
        ),
    ],
)
def test_hints_name_the_store(hint: Hint, expected: str) -> None:
    """A hint that names another store keeps it."""
    remember_store("embedded:DIR")
    assert words(hint) == expected
