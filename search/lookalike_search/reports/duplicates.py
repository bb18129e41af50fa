"""The page of `search duplicates --html`: groups of the same image, with the file to keep."""

from collections.abc import Iterator, Sequence

from lookalike_search.analysis.duplicate_json import DuplicateGroup, Member, group_json
from lookalike_search.analysis.duplicates import Group, Match
from lookalike_search.analysis.file_state import FileState
from lookalike_search.reports.page import Page
from lookalike_search.reports.thumbnail_gallery import Frame, Gallery

_MATCHES = {
    Match.IDENTICAL: "same bytes",
    Match.NEAR_DUPLICATE: "near-duplicate, proven on the pixels",
    Match.SIMILAR: "only similar",
}

_STATES = {
    FileState.PRESENT: "",
    FileState.CHANGED: "changed since it was ingested",
    FileState.GONE: "gone since it was ingested",
}


def duplicates_page(groups: Sequence[Group], *, collection: str, above: float) -> Page:
    """Returns the page of a collection's groups, those that free most first, with thumbnails."""
    records = [group_json(group, number, collection) for number, group in enumerate(groups, start=1)]
    gallery = Gallery.of(member["file"] for group in records for member in members_of(group))

    def frame(member: Member) -> Frame:
        return gallery.frame(member["file"])

    shown = show_duplicates(records, collection=collection, above=above)
    return Page("duplicates.html", gallery=gallery, frame=frame, **shown)


def show_duplicates(groups: Sequence[DuplicateGroup], *, collection: str, above: float) -> dict[str, object]:
    """Returns the values of `duplicate_groups.html`, by which a report and a page show groups.

    Both need `frame` as well, which returns the frame of a member.
    """
    proven = [group for group in groups if group["proven"]]
    others = [member for group in groups for member in group["others"]]
    return {
        "collection": collection,
        "above": above,
        "groups": sort_groups(groups),
        "proven": len(proven),
        "images": sum(1 + len(group["others"]) for group in proven),
        "redundant": sum(member["redundant"] for member in others),
        "similar": sum(member["match"] == Match.SIMILAR for member in others),
        "frees": sum(group["frees"] for group in groups),
        "matches": _MATCHES,
        "states": _STATES,
    }


def sort_groups(groups: Sequence[DuplicateGroup]) -> list[DuplicateGroup]:
    """Returns groups in the order in which they are shown: those that free most first, else as they are."""
    return sorted(groups, key=lambda group: -group["frees"])


def members_of(group: DuplicateGroup) -> Iterator[Member]:
    """Yields the image to keep, then the others."""
    yield group["kept"]
    yield from group["others"]
