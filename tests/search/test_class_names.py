"""Finding classes by typed names, in both stores."""

import unicodedata
from collections.abc import Callable, Iterator

import pytest
from all_hits import all_hits
from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument
from lookalike_core.settings import Settings
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Collection, Store
from lookalike_core.text import nfc
from lookalike_search.asking.answers import QueryOptions
from lookalike_search.asking.query import Searcher
from lookalike_search.class_names import find_class
from one_answer import answer_of
from refusals import refuses

CAFE = unicodedata.normalize("NFD", "Café")
CLASSES = ("Turtle", "watch", CAFE, "ketch", "bonsai")
OTHERS = (nfc(CAFE), "bonsai", "ketch", "watch")
"""Than the turtle."""


@pytest.fixture
def name(both_stores: Store, fill: Callable[..., str]) -> str:
    """Returns a collection with two images of each class."""
    images = [f"{each}/{number}.png" for each in CLASSES for number in (1, 2)]
    return fill(both_stores, {image: [1, place] for place, image in enumerate(images)})


@pytest.fixture
def collection(both_stores: Store, name: str) -> Iterator[Collection]:
    """Yields that collection, open."""
    with both_stores.open(name) as opened:
        yield opened


@pytest.mark.parametrize(
    ("typed", "stored"),
    [("watch", "watch"), *((form, nfc(CAFE)) for form in (CAFE, nfc(CAFE))), ("", ""), (None, None)],
)
def test_a_class_is_known_in_either_normal_form(
    collection: Collection, typed: str | None, stored: str | None
) -> None:
    """Systems compose or decompose accented letters; the empty class is known, too."""
    assert find_class(typed, [collection]) == stored


@pytest.mark.parametrize(
    ("typed", "said", "choices"),
    [
        ("turtel", "nearest: Turtle", ("Turtle", *OTHERS)),
        ("turtle", "nearest: Turtle", ("Turtle", *OTHERS)),
        (
            "zzz",
            "available: Café, Turtle, bonsai and 2 more",
            (nfc(CAFE), "Turtle", "bonsai", "ketch", "watch"),
        ),
        (
            "\udcff",  # a byte of a command line that is no UTF-8
            "available: Café, Turtle, bonsai and 2 more",
            (nfc(CAFE), "Turtle", "bonsai", "ketch", "watch"),
        ),
    ],
)
def test_an_unknown_class_is_refused_with_similar_names(
    collection: Collection, typed: str, said: str, choices: tuple[str, ...]
) -> None:
    """They are in the message, and as data in the error."""
    with pytest.raises(UsageError) as refused:
        find_class(typed, [collection])
    message = unicodedata.normalize("NFC", str(refused.value))
    assert message == f"there is no class {typed} in {collection.name}; {said}"
    assert (refused.value.argument, refused.value.choices) == (Argument.CLASS, choices)


def test_every_function_with_a_class_filter_refuses_an_unknown_class(
    both_stores: Store, name: str, home: Settings
) -> None:
    """No image is read before that."""
    with Searcher.opened(name, store=both_stores, settings=home) as searcher:
        with refuses(UsageError, match="--class: there is no class turtel"):
            searcher.resolve_options(QueryOptions(where=PointFilter(classes=frozenset({"turtel"}))))
        with refuses(UsageError, match="there is no class turtel"):
            all_hits(
                searcher.networks[0].collection, limit=3, where=PointFilter(classes=frozenset({"turtel"}))
            )


def test_a_class_in_another_form_is_searched(both_stores: Store, name: str, home: Settings) -> None:
    """Only images of that class are found."""
    with Searcher.opened(name, store=both_stores, settings=home) as searcher:
        options = QueryOptions(where=PointFilter(classes=frozenset({nfc(CAFE)})))
        answer = answer_of(searcher, "watch/1.png", options)
        rows = all_hits(
            searcher.networks[0].collection,
            limit=3,
            where=options.where,
        )
    assert {hit.payload.class_name for hit in answer.hits} == {nfc(CAFE)}
    assert [payload.path for payload, _ in rows] == [f"{CAFE}/1.png", f"{CAFE}/2.png"]
