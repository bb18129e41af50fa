"""The question in an address: changed for links, and read as a query."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lookalike_core.errors import UsageError
from lookalike_core.stores.points import PointFilter
from lookalike_search.serving.pages.question import NO_CLASS, Question
from lookalike_search.serving.query_fields import read_query
from starlette.datastructures import QueryParams

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
NAMES = st.sampled_from(["id", "and", "not", "class", "offset", "limit", "explain", "large"])
QUESTIONS = st.builds(
    lambda pairs: Question(pairs=tuple(pairs)), st.lists(st.tuples(NAMES, TEXT), max_size=6)
)


def read(address: str) -> Question:
    """Returns the question of an address, as a request has it."""
    return Question.of(QueryParams(urlsplit(address).query))


@given(QUESTIONS)
def test_an_address_holds_the_question(question: Question) -> None:
    """Whatever a name is."""
    assert read(question.address) == question


@given(QUESTIONS, NAMES, TEXT)
def test_changes_change_one_field(question: Question, name: str, value: str) -> None:
    """One value, a further one, none; the other fields stay in their order."""
    others = question.leaving(name).pairs
    assert question.asking(name, value).values(name) == [value]
    assert question.adding(name, value).values(name)[-1] == value
    assert question.adding(name, value).values(name).count(value) == 1
    assert value not in question.adding(name, value).removing(name, value).values(name)
    for changed in (
        question.asking(name, value),
        question.adding(name, value),
        question.removing(name, value),
    ):
        assert changed.leaving(name).pairs == others


def test_fields_without_a_value_are_not_asked() -> None:
    """A form without script sends all of them."""
    assert read("/?id=a&class=&min_score=&limit=5").pairs == (("id", "a"), ("limit", "5"))
    assert not read("/?class=cat").is_asked
    assert read("/").address == "/"


@pytest.mark.parametrize(
    ("address", "class_name", "dataset"),
    [
        ("/?id=a", None, None),
        ("/?id=a&class=cat&dataset=b", "cat", "b"),
        (f"/?id=a&class={NO_CLASS}", "", None),
    ],
)
def test_filters_are_those_of_the_query(address: str, class_name: str | None, dataset: str | None) -> None:
    """Images without a class have a value of their own, since an empty one means every class."""
    where = read_query(read(address).to_fields(), pixels=1000).options.where
    assert where == PointFilter(
        classes=frozenset() if class_name is None else frozenset({class_name}), dataset=dataset
    )


def test_every_filter_of_the_page_is_one_of_the_query() -> None:
    """Of classes and folders there may be several; `path` is the image that is asked with."""
    address = (
        "/?path=a/1.png&class=cat&class=dog&not_class=%2F&folder=a%2Fb%2F&folder=c"
        "&since=2024-05-31&until=2024-06-01T12:00&min_width=640"
    )
    query = read_query(read(address).to_fields(), pixels=1000)
    assert query.image == "a/1.png"
    assert query.options.where == PointFilter(
        classes=frozenset({"cat", "dog"}),
        not_classes=frozenset({""}),
        folders=frozenset({"a/b", "c"}),
        since="2024-05-31T00:00:00+00:00",
        until="2024-06-01T12:00:00+00:00",
        min_width=640,
    )


@pytest.mark.parametrize(
    ("field", "argument"),
    [
        ("min_width=wide", "min_width"),
        ("min_width=0", "min_width"),
        ("since=noon", "since"),
        ("until=2024-05-32", "until"),
        ("folder=/home", "path"),
        ("class=a&not_class=a", "not_class"),
    ],
)
def test_a_malformed_filter_is_refused_by_name(field: str, argument: str) -> None:
    """The page leaves such a field out, and says so."""
    with pytest.raises(UsageError) as refused:
        read_query(read(f"/?id=a&{field}").to_fields(), pixels=1000)
    assert str(refused.value.argument) == argument


def test_panels_are_not_part_of_the_query() -> None:
    """What is explained or shown large changes nothing in the answer."""
    asked = read("/?id=a&explain=b&large=c")
    assert read_query(asked.to_fields(), pixels=1000).image == "a"
