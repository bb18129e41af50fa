"""The JSON of groups of duplicates, for `search duplicates --json`, for its report and for `search serve`."""

from pathlib import Path
from typing import Literal, TypedDict

from lookalike_search.analysis.duplicates import Group, KeptBecause, Match
from lookalike_search.analysis.duplicates import Member as FoundMember
from lookalike_search.analysis.file_state import FileState
from lookalike_search.asking.answer_records import Classified


class Member(Classified):
    """An image of a group."""

    id: str
    """The point's UUID."""
    dataset: str
    path: str
    """Relative to the dataset's root, with `/`."""
    file: Path | None
    """Absolute path; null where the dataset's root is unknown."""
    state: FileState
    """Whether the file is unchanged since it was ingested."""
    sha256: str
    """SHA-256 of the file's bytes, in hex."""
    width: int
    """In pixels, as the image is shown."""
    height: int
    """In pixels, as the image is shown."""
    bytes: int
    """Size of the file."""


class OtherMember(Member):
    """An image of a group that is not the one to keep."""

    similarity: float
    """Cosine similarity to the kept image; 1 where the bytes are the same."""
    match: Match
    """`near-duplicate` is proven on the pixels, `similar` is not."""
    identical: bool
    """Whether the bytes are those of the kept image."""
    redundant: bool
    """Whether the file could be deleted."""
    frees: int
    """Bytes of disk that deleting it would free."""


class DuplicateGroup(TypedDict):
    """A group of duplicates, or of images that are only similar."""

    schema: Literal[1]
    collection: str
    group: int
    """The number of the group, from 1."""
    because: KeptBecause
    """Why that file is the one to keep."""
    proven: bool
    """Whether any of the others is proven to be the same image."""
    frees: int
    """Bytes of disk that deleting all redundant files would free."""
    kept: Member
    """The image whose file is the one to keep."""
    others: list[OtherMember]
    """Most similar first."""


def group_json(group: Group, number: int, collection: str) -> DuplicateGroup:
    """Returns the JSON of a group, which is the one of this number in its collection."""
    return {
        "schema": 1,
        "collection": collection,
        "group": number,
        "because": group.because,
        "proven": group.is_proven,
        "frees": group.frees,
        "kept": _member_json(group.kept),
        "others": [
            {
                **_member_json(member),
                "similarity": member.similarity,
                "match": member.match,
                "identical": member.is_identical,
                "redundant": member.is_redundant,
                "frees": member.frees,
            }
            for member in group.others
        ],
    }


def _member_json(member: FoundMember) -> Member:
    payload = member.payload
    return {
        "id": payload.id,
        "dataset": payload.dataset,
        "path": payload.path,
        "class": payload.class_name,
        "file": member.file,
        "state": member.state,
        "sha256": payload.sha256,
        "width": payload.width,
        "height": payload.height,
        "bytes": payload.bytes,
    }
