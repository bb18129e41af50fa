"""Filters of the library: one value or several, dates as dates or as text."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from lookalike_core.stores.points import EVERYTHING, PointFilter

import lookalike
from lookalike import errors
from lookalike.searching import points_where

TOKYO = timezone(timedelta(hours=9))


def test_one_value_is_a_list_of_one() -> None:
    """`""` is no class, and None is no condition."""
    one = lookalike.Where(class_name="", not_class="cat", path="a/", min_width=10)
    several = lookalike.Where(class_name=[""], not_class=("cat",), path=["a"], min_width=10)
    assert points_where(one) == points_where(several)
    assert points_where(one) == PointFilter(
        classes=frozenset({""}), not_classes=frozenset({"cat"}), folders=frozenset({"a"}), min_width=10
    )
    assert points_where(None) == points_where(lookalike.Where()) == EVERYTHING


@pytest.mark.parametrize(
    ("since", "text"),
    [
        (date(2024, 5, 31), "2024-05-31T00:00:00+00:00"),
        ("2024-05-31", "2024-05-31T00:00:00+00:00"),
        (datetime(2024, 5, 31, 18, 30), "2024-05-31T18:30:00+00:00"),  # noqa: DTZ001 - without a zone
        (datetime(2024, 5, 31, 18, 30, tzinfo=UTC), "2024-05-31T18:30:00+00:00"),
        (datetime(2024, 5, 31, 18, 30, tzinfo=TOKYO), "2024-05-31T09:30:00+00:00"),
    ],
)
def test_a_date_may_be_one_or_text(since: str | date, text: str) -> None:
    """A time without a zone is in UTC."""
    assert points_where(lookalike.Where(since=since)).since == text
    assert points_where(lookalike.Where(until=date(2024, 5, 31))).until == "2024-05-31T23:59:59+00:00"


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (lookalike.Where(since=3), "must be text, not 3"),  # type: ignore[arg-type]
        (lookalike.Where(path=[3]), "must be a text or path"),  # type: ignore[list-item]
        (lookalike.Where(min_width=0), "min_width is 0"),
        (lookalike.Where(min_width=1.5), "min_width is 1.5"),  # type: ignore[arg-type]
        (lookalike.Where(class_name="a", not_class="a"), "a cannot be both"),
        (lookalike.Where(class_name=[]), "class_name is empty, so no image fits"),
        (lookalike.Where(path=()), "path is empty, so no image fits"),
    ],
)
def test_a_malformed_filter_is_refused(where: lookalike.Where, said: str) -> None:
    """As by the commands; an empty list, which would select all images, is one of the library alone."""
    with pytest.raises(errors.UsageError, match=said):
        points_where(where)


def test_no_unwanted_class_leaves_all_images() -> None:
    """An empty list of them has a meaning."""
    assert points_where(lookalike.Where(not_class=[])) == EVERYTHING
