"""The list of files that were marked to be deleted; the page itself deletes nothing."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from lookalike_core.errors import UsageError

from lookalike_search.analysis.duplicate_json import DuplicateGroup, Member
from lookalike_search.reports.duplicates import members_of, sort_groups


class Mark(StrEnum):
    """What is to become of a file."""

    KEEP = "keep"
    DROP = "drop"


class ListForm(StrEnum):
    """How a list separates its paths."""

    LINES = "lines"
    """A path a line."""
    NUL = "nul"
    """Each path is ended by NUL, for `xargs -0`."""


def marked_files(groups: Sequence[DuplicateGroup], marks: Mapping[str, Mark]) -> list[str]:
    """Returns the files to delete: those that are marked so by their id, and by default what is offered.

    A file whose path is not known here is named as in its dataset.
    """
    return [
        str(member["file"] or member["path"])
        for group in sort_groups(groups)
        for member in members_of(group)
        if marks.get(member["id"], default_mark(member)) is Mark.DROP
    ]


def default_mark(member: Member) -> Mark:
    """Returns the mark of a member before anybody marks it: only proven duplicates are offered."""
    return Mark.DROP if member.get("redundant") else Mark.KEEP


def write_list(files: Sequence[str], form: ListForm) -> bytes:
    """Returns a list of files, in the bytes of the file system.

    Raises:
        UsageError: a name has a line break, which a list of lines cannot hold.
    """
    end = "\0" if form is ListForm.NUL else "\n"
    if any(end in file for file in files):
        raise UsageError("the name of a file has a line break; save the list separated by NUL", argument="as")
    return "".join(f"{file}{end}" for file in files).encode("utf-8", "surrogateescape")
