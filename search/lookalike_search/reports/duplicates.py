"""The page of `search duplicates --html`: groups of the same image, with the file to keep."""

from collections.abc import Sequence

from lookalike_search.analysis.duplicates import Group, Match
from lookalike_search.analysis.file_state import FileState
from lookalike_search.reports.page import Page
from lookalike_search.reports.thumbnail_gallery import Gallery

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
    proven = [group for group in groups if group.is_proven]
    return Page(
        "duplicates.html",
        collection=collection,
        above=above,
        groups=sorted(groups, key=lambda group: -group.frees),  # stable: else as they were
        proven=len(proven),
        images=sum(len(group.members) for group in proven),
        redundant=sum(len(group.redundant) for group in groups),
        similar=sum(member.match is Match.SIMILAR for group in groups for member in group.others),
        frees=sum(group.frees for group in groups),
        matches=_MATCHES,
        states=_STATES,
        gallery=Gallery.of(member.file for group in groups for member in group.members),
    )
