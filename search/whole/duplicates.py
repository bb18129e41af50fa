"""Groups of the same picture: byte-identical, or as good as identical to a network.

Which picture stands for which is `stars`' part, and what has become of the files that of `disk`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

from lookalike.console import Reporter
from lookalike.errors import UsageError
from lookalike.stores.points import EVERYTHING, Payload, PointFilter
from lookalike.stores.protocol import Collection
from lookalike.stores.reading import stored_vectors
from search.whole.disk import FileState, Offers, PictureFile, looked_at, verified
from search.whole.every import is_small
from search.whole.exact import ExactSearch, IntVector, Nearest
from search.whole.stars import StoreNearness, stars

ABOVE = 0.99
"""Cosine similarity from which two pictures are taken for the same one, unless told otherwise."""


class KeptBecause(StrEnum):
    """The first rule that sets the kept file apart from the next best of its group that is still there."""

    THERE = "the only one left as it was"
    PIXELS = "most pixels"
    BYTES = "most bytes"
    OLDEST = "oldest"
    PATH = "first by path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A picture of a group.

    `file` is None where the manifest does not know the dataset's folder. `similarity` is the cosine
    similarity to the kept picture, 1 where `is_identical`: the same bytes. `is_redundant` says that the
    file could be deleted: it and the kept one are as they were ingested, and they are two files. `frees`
    is how many bytes of disk that would free, when all are deleted that could be: none for a link.
    """

    payload: Payload
    file: Path | None
    state: FileState
    similarity: float
    is_identical: bool
    is_redundant: bool
    frees: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The same picture several times: the file to keep, why that one, and the others, most similar first."""

    kept: Member
    because: KeptBecause
    others: Sequence[Member]

    @property
    def redundant(self) -> list[Member]:
        """Those that could be deleted."""
        return [member for member in self.others if member.is_redundant]

    @property
    def frees(self) -> int:
        """How many bytes that would free."""
        return sum(member.frees for member in self.others)


def find_duplicates(
    collection: Collection,
    *,
    reporter: Reporter,
    above: float = ABOVE,
    where: PointFilter = EVERYTHING,
) -> list[Group]:
    """Groups of pictures whose bytes are equal or whose cosine similarity is over `above`, the largest first.

    The file to keep is the first by: being there as it was ingested, most pixels, most bytes, the oldest
    time of change, dataset and path. Every other picture of a group was compared with that file itself,
    and comes behind it by these rules: a chain in which each is like the next, but the last not like the
    first, is not taken for one picture. A picture that is near to several kept ones is with the most
    similar. So every file that is not kept has one that is, better and similar enough.

    Similarity is that of the vectors' directions, whatever the collection's distance.

    Raises:
        UsageError: the distance is Euclidean and the collection too large to compare all with all.
    """
    pictures = sorted((looked_at(p, collection.manifest) for p in collection.scan(where)), key=_preference)
    copies: dict[str, list[PictureFile]] = {}
    for picture in pictures:
        copies.setdefault(picture.payload.sha256, []).append(picture)
    found = _compared(collection, copies, reporter=reporter, above=above, where=where)
    several = [sorted(each, key=lambda one: _preference(one.picture)) for each in found if len(each) > 1]
    offers = Offers(members[0].picture for members in several)
    groups = [_group(members, offers) for members in several]
    return sorted(groups, key=lambda group: (-len(group.others), -group.frees, _place(group.kept.payload)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    picture: PictureFile
    similarity: float


def _preference(picture: PictureFile) -> tuple[bool, int, int, int, tuple[str, str]]:
    """Smaller is to be kept; in the order of `KeptBecause`."""
    payload = picture.payload
    return (
        picture.state is not FileState.PRESENT,
        -payload.width * payload.height,
        -payload.bytes,
        payload.mtime_ns,
        _place(payload),
    )


def _place(payload: Payload) -> tuple[str, str]:
    return payload.dataset, payload.path


def _compared(
    collection: Collection,
    copies: Mapping[str, Sequence[PictureFile]],
    *,
    reporter: Reporter,
    above: float,
    where: PointFilter,
) -> list[list[_Found]]:
    """Pictures that belong together, by one of each content."""
    payloads = [pictures[0].payload for pictures in copies.values()]
    near: Callable[[IntVector], Iterable[Nearest]]
    with reporter.bar(collection.name, unit="images", total=len(payloads)) as bar:
        if is_small(collection, where):
            payloads, vectors = stored_vectors(collection, payloads)
            search = ExactSearch(vectors, cosine=True)
            blocks, near = search.blocks(), partial(search.above, threshold=above)
        elif collection.manifest.distance.higher_is_nearer:
            rows = {each.payload.id: row for row, same in enumerate(copies.values()) for each in same}
            asked = StoreNearness(collection, payloads, rows, above=above, where=where)
            blocks, near = asked.blocks(), asked.near
        else:
            raise UsageError(
                f"{collection.name} holds too many pictures to compare all with all, and Euclidean "
                "distances do not say which are similar; ask a cosine collection: --distance cosine"
            )
        kept_of, similarity = stars(len(payloads), blocks, near, bar.advance)
    together: dict[int, list[_Found]] = {}
    for payload, kept, score in zip(payloads, kept_of.tolist(), similarity.tolist(), strict=True):
        same = copies[payload.sha256]
        together.setdefault(kept, []).extend(_Found(picture=each, similarity=score) for each in same)
    return list(together.values())


def _group(members: Sequence[_Found], offers: Offers) -> Group:
    """`members` are in the order of preference."""
    because = _because(members[0].picture, members[1].picture)
    kept, *others = [replace(each, picture=verified(each.picture)) for each in members]
    found = [_member(each, kept.picture, *offers.offer(each.picture, kept.picture)) for each in others]
    return Group(
        kept=_member(kept, kept.picture, is_redundant=False, frees=0),
        because=because,
        others=sorted(found, key=lambda each: (not each.is_identical, -each.similarity)),
    )


def _member(found: _Found, kept: PictureFile, is_redundant: bool, frees: int) -> Member:
    picture = found.picture
    return Member(
        payload=picture.payload,
        file=picture.file,
        state=picture.state,
        similarity=found.similarity,
        is_identical=picture.payload.sha256 == kept.payload.sha256,
        is_redundant=is_redundant,
        frees=frees,
    )


def _because(kept: PictureFile, next_best: PictureFile) -> KeptBecause:
    pairs = zip(_preference(kept), _preference(next_best), KeptBecause, strict=True)
    return next((why for one, other, why in pairs if one != other), KeptBecause.PATH)
