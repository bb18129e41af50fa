"""Filters made of what people give, and what is refused."""

import pytest
from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument
from lookalike_core.stores.point_filters import list_arguments, make_filter
from lookalike_core.stores.points import EVERYTHING, PointFilter, list_folders

FIRST, LAST = "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00"
COMPOSED, DECOMPOSED = "K\u00e4fer", "Ka\u0308fer"


def test_no_condition_is_for_all_images() -> None:
    """Lists may be empty."""
    assert make_filter() == make_filter(classes=[], folders=()) == EVERYTHING
    assert list_arguments(EVERYTHING) == []


def test_every_condition_is_named_by_its_argument() -> None:
    """Messages name the options to leave out."""
    made = make_filter(
        classes=["cat"],
        not_classes=[""],
        dataset="a",
        folders=["b"],
        since="2020-01-01",
        until="2020-01-01",
        min_width=1,
    )
    assert list_arguments(made) == [
        Argument.CLASS,
        Argument.NOT_CLASS,
        Argument.DATASET,
        Argument.PATH,
        Argument.SINCE,
        Argument.UNTIL,
        Argument.MIN_WIDTH,
    ]


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("a/b/", "a/b"),
        ("a/b", "a/b"),
        ("./a//b/.", "a/b"),
        (".", "."),
        ("./", "."),
        ("Ka\u0308fer/", "K\u00e4fer"),
    ],
)
def test_a_folder_may_be_written_in_many_ways(text: str, folder: str) -> None:
    """The slash at its end is optional, and so is the form of its letters."""
    assert make_filter(folders=[text]) == PointFilter(folders=frozenset({folder}))


@pytest.mark.parametrize(
    ("path", "folders"),
    [("1.jpg", ["."]), ("a/b/1.jpg", [".", "a", "a/b"]), ("Ka\u0308fer/1.jpg", [".", "K\u00e4fer"])],
)
def test_an_image_is_in_each_folder_of_its_path(path: str, folders: list[str]) -> None:
    """Its dataset's own folder is the first."""
    assert list_folders(path) == folders


@pytest.mark.parametrize(
    ("since", "until", "stored_since", "stored_until"),
    [
        ("2024-05-31", "2024-05-31", "2024-05-31T00:00:00+00:00", "2024-05-31T23:59:59+00:00"),
        ("2024-05-31T18:30", "2024-05-31 18:30", "2024-05-31T18:30:00+00:00", "2024-05-31T18:30:00+00:00"),
        (
            "2024-05-31T00:30+02:00",
            "2024-05-31T18:30Z",
            "2024-05-30T22:30:00+00:00",
            "2024-05-31T18:30:00+00:00",
        ),
        (
            "0001-01-01T00:00+14:00",
            "9999-12-31T23:00-12:00",
            "0001-01-01T00:00:00+00:00",
            "9999-12-31T23:59:59+00:00",
        ),
    ],
)
def test_dates_are_days_and_times_are_seconds(
    since: str, until: str, stored_since: str, stored_until: str
) -> None:
    """Both ends are included; offsets are applied, and without one it is UTC."""
    made = make_filter(since=since, until=until)
    assert (made.since, made.until) == (stored_since, stored_until)


@pytest.mark.parametrize(
    ("given", "argument", "said"),
    [
        ({"classes": ["cat"], "not_classes": ["cat", "dog"]}, "not_class", "cat cannot be both"),
        ({"classes": ["K\u00e4fer"], "not_classes": ["Ka\u0308fer"]}, "not_class", "cannot be both"),
        ({"classes": [""], "not_classes": [""]}, "not_class", "no class cannot be both"),
        ({"since": "2024-05-31", "until": "2024-05-30"}, "until", "exchange the two"),
        ({"since": "yesterday"}, "since", "'yesterday' is no date; give one as 2024-05-31"),
        ({"until": "2024-13-01"}, "until", "'2024-13-01' is no date"),
        ({"until": ""}, "until", "'' is no date"),
        ({"folders": ["/home/me/a"]}, "path", "is absolute; name one below"),
        ({"folders": ["a/../b"]}, "path", "leads out"),
        ({"folders": [""]}, "path", "is empty"),
        ({"min_width": 0}, "min_width", "at least 1 pixel"),
    ],
)
def test_what_no_image_can_meet_is_refused(given: dict[str, object], argument: str, said: str) -> None:
    """The error names the argument."""
    with pytest.raises(UsageError, match=said) as refused:
        make_filter(**given)  # type: ignore[arg-type]
    assert refused.value.argument == argument
