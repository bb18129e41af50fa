"""The list of files that were marked to be deleted."""

from typing import Any

import pytest
from lookalike_core.errors import UsageError
from lookalike_search.serving.pages.marked_files import ListForm, Mark, default_mark, marked_files, write_list


def member(id_: str, **more: Any) -> Any:
    """Returns the record of a member."""
    return {"id": id_, "file": f"/photos/{id_}.jpg", "path": f"{id_}.jpg", **more}


GROUPS: Any = [
    {
        "frees": 1,
        "kept": member("a"),
        "others": [member("b", redundant=True), member("c", redundant=False)],
    },
    {"frees": 9, "kept": member("d"), "others": [member("e", redundant=True)]},
]


def test_only_what_is_offered_is_dropped_by_default() -> None:
    """Groups that free most come first."""
    assert marked_files(GROUPS, {}) == ["/photos/e.jpg", "/photos/b.jpg"]
    assert [default_mark(each) for each in (GROUPS[0]["kept"], *GROUPS[0]["others"])] == [
        Mark.KEEP,
        Mark.DROP,
        Mark.KEEP,
    ]


def test_marks_change_the_defaults() -> None:
    """Each for its own image; an unknown one changes nothing."""
    marks = {"b": Mark.KEEP, "c": Mark.DROP, "d": Mark.DROP, "x": Mark.DROP}
    assert marked_files(GROUPS, marks) == ["/photos/d.jpg", "/photos/e.jpg", "/photos/c.jpg"]


def test_a_list_without_known_files_has_paths_of_datasets() -> None:
    """As beyond loopback."""
    groups: Any = [{"frees": 1, "kept": member("a"), "others": [member("b", redundant=True, file=None)]}]
    assert marked_files(groups, {}) == ["b.jpg"]


def test_a_list_holds_every_name_or_is_refused() -> None:
    """A line break in a name needs the list separated by NUL; bytes that are no UTF-8 stay as they are."""
    assert write_list(["/a b.jpg", "/\udcff.jpg"], ListForm.LINES) == b"/a b.jpg\n/\xff.jpg\n"
    assert write_list(["/a\nb.jpg"], ListForm.NUL) == b"/a\nb.jpg\0"
    with pytest.raises(UsageError, match="line break; save the list separated by NUL"):
        write_list(["/a\nb.jpg"], ListForm.LINES)
    assert write_list([], ListForm.LINES) == b""
