"""The page of `search duplicates --html`: groups of the same image, with the file to keep."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lookalike_search.analysis.duplicates import Group, Match, Member
from lookalike_search.analysis.file_state import FileState
from lookalike_search.reports.page import Page
from lookalike_search.reports.thumbnail_gallery import Gallery


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """An image of a group: what is to become of it, what it is to the kept one, what became of its file."""

    member: Member
    standing: str
    match: str
    state: str
    size: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """A group as it is shown, the kept image first; `frees` is empty where nothing could go."""

    because: str
    is_proven: bool
    frees: str
    members: Sequence[MemberView]


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesReport:
    """All that the page says; `frees` is what deleting every redundant file would free."""

    collection: str
    above: float
    groups: Sequence[GroupView]
    proven: int
    images: int
    redundant: int
    similar: int
    frees: str


def duplicates_report(groups: Sequence[Group], *, collection: str, above: float) -> DuplicatesReport:
    """The groups of a collection, those that free most first."""
    ordered = sorted(groups, key=lambda group: -group.frees)  # stable: else as they were
    proven = [group for group in groups if group.is_proven]
    return DuplicatesReport(
        collection=collection,
        above=above,
        groups=[_group_view(group) for group in ordered],
        proven=len(proven),
        images=sum(1 + len(group.others) for group in proven),
        redundant=sum(len(group.redundant) for group in groups),
        similar=sum(member.match is Match.SIMILAR for group in groups for member in group.others),
        frees=_size(sum(group.frees for group in groups)),
    )


def write_duplicates_page(path: Path, report: DuplicatesReport) -> None:
    """Writes the page, whole or not at all; images that are gone are said to be."""
    duplicates_page(report).write(path)


def duplicates_page(report: DuplicatesReport) -> Page:
    """Returns the page, with thumbnails of the files that are there."""
    files = (each.member.file for group in report.groups for each in group.members)
    return Page("duplicates.html", report=report, gallery=Gallery.of(files))


def _group_view(group: Group) -> GroupView:
    return GroupView(
        because=group.because,
        is_proven=group.is_proven,
        frees=_size(group.frees) if group.redundant else "",
        members=[_member_view(member, group) for member in (group.kept, *group.others)],
    )


def _member_view(member: Member, group: Group) -> MemberView:
    if member is group.kept:
        standing = "keep" if group.is_proven else "stays"
    elif member.is_redundant:
        standing = "could go"
    else:
        standing = "stays"
    states = {
        FileState.PRESENT: "",
        FileState.CHANGED: "changed since it was ingested",
        FileState.GONE: "gone since it was ingested",
    }
    return MemberView(
        member=member,
        standing=standing,
        match=_MATCHES[member.match],
        state=states[member.state],
        size=_size(member.payload.bytes),
    )


_MATCHES = {
    Match.IDENTICAL: "same bytes",
    Match.NEAR_DUPLICATE: "near-duplicate, proven on the pixels",
    Match.SIMILAR: "only similar",
}


def _size(count: int) -> str:
    from jinja2.filters import do_filesizeformat

    return do_filesizeformat(count)
