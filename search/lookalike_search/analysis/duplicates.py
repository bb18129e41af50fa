"""Groups of duplicates: identical bytes, proven on the pixels, or only similar by their embeddings.

`star_clustering` clusters images by their embeddings, `verified_copies` proves near-duplicates, and
`file_state` checks files.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

import numpy as np
from lookalike_core import progress
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.neighbours.brute_force import ExactSearch, IntVector, Nearest
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.stores.bulk_reads import read_vectors
from lookalike_core.stores.points import EVERYTHING, Payload, PointFilter
from lookalike_core.stores.protocol import Collection

from lookalike_search.analysis.all_neighbours import COMPARISON_LIMITS, ComparisonLimits, is_small
from lookalike_search.analysis.copy_candidates import Candidates, is_resized
from lookalike_search.analysis.file_state import (
    FileState,
    ImageFile,
    Offers,
    ReferenceFolders,
    check_file,
    verify_file,
)
from lookalike_search.analysis.star_clustering import StoreNearness, find_stars
from lookalike_search.analysis.verified_copies import prove_copies
from lookalike_search.collection_choice import resolve_dataset

COMPARED_ABOVE = 0.95
"""Cosine similarity from which two images are compared on their pixels, unless told otherwise."""

COMPARED_RESIZED_ABOVE = 0.85
"""The same for two that could be one image in two sizes."""

SIMILAR_ABOVE = NEAR_ABOVE
"""The same from which they are shown as similar, though their pixels prove nothing."""


class Match(StrEnum):
    """How an image matches the kept one of its group; only exact and proven duplicates may be deleted."""

    IDENTICAL = "identical"
    """The same bytes."""
    NEAR_DUPLICATE = "near-duplicate"
    """Proven on the pixels: the same image in another size, format or compression."""
    SIMILAR = "similar"
    """Near by its embedding alone."""


class KeptBecause(StrEnum):
    """The first rule that ranks the kept file before the next one of its group."""

    THERE = "the only one left as it was"
    FOLDER = "in a folder to keep"
    PIXELS = "most pixels"
    BYTES = "most bytes"
    OLDEST = "oldest"
    PATH = "first by path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An image of a group.

    `is_redundant` says that the file could be deleted: it is an exact or proven duplicate, it and the kept
    one are unchanged since they were ingested, they are two files, and it is in no folder to keep.
    """

    payload: Payload
    """The image as it was ingested."""
    file: Path | None
    """The path of its file; None where the dataset's folder is not known."""
    state: FileState
    """Whether the file is unchanged since it was ingested."""
    similarity: float
    """The cosine similarity to the kept image, 1 where the bytes are the same."""
    match: Match
    """How it matches the kept image."""
    is_redundant: bool
    """Whether the file could be deleted."""
    frees: int
    """Bytes of disk that deleting all redundant files would free of this one; 0 for a link."""
    reference: Path | None = None
    """The folder to keep that holds it."""

    @property
    def is_identical(self) -> bool:
        """Whether its bytes equal those of the kept image."""
        return self.match is Match.IDENTICAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Duplicates of one image; where none is proven, images that are only similar to the first."""

    kept: Member
    """The file to keep."""
    because: KeptBecause
    """Why that one is kept."""
    others: Sequence[Member]
    """The other images, most similar first."""

    @property
    def members(self) -> Sequence[Member]:
        """The kept image, then the others."""
        return (self.kept, *self.others)

    @property
    def redundant(self) -> list[Member]:
        """The other images whose files could be deleted."""
        return [member for member in self.others if member.is_redundant]

    @property
    def is_proven(self) -> bool:
        """Whether any of the others is a proven duplicate."""
        return any(member.match is not Match.SIMILAR for member in self.others)

    @property
    def frees(self) -> int:
        """How many bytes deleting the redundant files would free."""
        return sum(member.frees for member in self.others)


def find_duplicates(
    collection: Collection,
    *,
    above: float | None = None,
    where: PointFilter = EVERYTHING,
    keep_in: Sequence[Path] = (),
) -> list[Group]:
    """Returns groups of exact duplicates, proven near-duplicates and similar images; proven groups first.

    Images whose cosine similarity is over 0.95, or over 0.85 where they could be one image in two sizes, are
    compared on their pixels; those over 0.99 are shown as similar where that proves nothing. `above` replaces
    all three thresholds. With 1 only exact duplicates are found.

    The file to keep is the first by: unchanged since it was ingested, in a folder of `keep_in`, most pixels,
    most bytes, oldest modification time, dataset and path. Every other file of a group was compared with that
    file itself and ranks behind it, so that a chain of near-duplicates is not one group, and for every
    redundant file one that shows the same at no smaller size is kept. An image that is only similar but has
    duplicates of its own has a group of its own.

    Similarity is cosine similarity, also in a Euclidean collection.

    Raises:
        UsageError: the distance is Euclidean and the collection too large for brute force, a folder to keep
            holds no file of the collection, or it has no such dataset.
    """
    neighbourhood = find_near(collection, above=above, where=where, keep_in=keep_in)
    return prove_groups(neighbourhood)


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """The images of a collection and the near ones of each: all that `prove_groups` needs of it.

    `contents` are files with the same bytes, in order of preference. `star_of` and `similarity` give, by the
    embedding alone, the centre that each content belongs to.
    """

    contents: Sequence[Sequence[ImageFile]]
    star_of: IntVector
    similarity: FloatVector
    candidates: Candidates
    reference: ReferenceFolders


def find_near(
    collection: Collection,
    *,
    above: float | None = None,
    where: PointFilter = EVERYTHING,
    keep_in: Sequence[Path] = (),
    limits: ComparisonLimits = COMPARISON_LIMITS,
) -> Neighbourhood:
    """Returns what `prove_groups` needs of a collection: the first half of `find_duplicates`."""
    manifest = collection.manifest
    where = resolve_dataset(where, manifest)
    reference = ReferenceFolders(keep_in, manifest)
    order = partial(_preference, reference)
    contents: dict[str, list[ImageFile]] = {}
    for image in sorted((check_file(p, manifest) for p in collection.scan(where)), key=order):
        contents.setdefault(image.payload.sha256, []).append(image)
    candidates = Candidates(len(contents))
    if above is None:
        compared_above, resized_above, similar_above = COMPARED_ABOVE, COMPARED_RESIZED_ABOVE, SIMILAR_ABOVE
    else:
        compared_above = resized_above = similar_above = above
    with progress.bar(collection.name, unit="images", total=len(contents)) as bar:
        payloads, blocks, near = _nearness(collection, contents, resized_above, where, limits)
        sizes = np.array([(each.width, each.height) for each in payloads], dtype=np.int64).reshape(-1, 2)

        def note(found: Nearest) -> None:
            likely = (found.scores > compared_above) | is_resized(found.row, found.rows, sizes)
            candidates.add(replace(found, rows=found.rows[likely], scores=found.scores[likely]))

        star_of, similarity = find_stars(
            len(payloads), blocks, near, bar.advance, above=similar_above, on_found=note
        )
    return Neighbourhood(
        contents=[contents[payload.sha256] for payload in payloads],
        star_of=star_of,
        similarity=similarity,
        candidates=candidates,
        reference=reference,
    )


def prove_groups(near: Neighbourhood) -> list[Group]:
    """Returns the groups, comparing image files: the second half of `find_duplicates`."""
    clusters = list(near.candidates.clusters())
    with progress.bar("pixels", unit="images", total=sum(map(len, clusters))) as bar:
        files = [same[0] for same in near.contents]
        copy_of = prove_copies(files, near.candidates, clusters, on_done=bar.advance)
    together = (found for found in _group_contents(near, copy_of) if len(found) > 1)
    several = [sorted(found, key=lambda one: _preference(near.reference, one.image)) for found in together]
    offers = Offers((members[0].image for members in several), near.reference)
    groups = [_group(members, near, offers) for members in several]
    return sorted(groups, key=_rank)


def _rank(group: Group) -> tuple[bool, int, int, tuple[str, str]]:
    return not group.is_proven, -len(group.others), -group.frees, group.kept.payload.sort_key


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    image: ImageFile
    similarity: float
    is_proven: bool


def _preference(
    reference: ReferenceFolders, image: ImageFile
) -> tuple[bool, bool, int, int, int, tuple[str, str]]:
    """Returns a sort key: files to keep come first, by the rules of `KeptBecause`."""
    payload = image.payload
    return (
        image.state is not FileState.PRESENT,
        image not in reference,
        -payload.width * payload.height,
        -payload.bytes,
        payload.mtime_ns,
        payload.sort_key,
    )


Near = Callable[[IntVector], Iterable[Nearest]]


def _nearness(
    collection: Collection,
    contents: Mapping[str, Sequence[ImageFile]],
    above: float,
    where: PointFilter,
    limits: ComparisonLimits,
) -> tuple[Sequence[Payload], Iterable[IntVector], Near]:
    """Returns a payload for each content, and a search for near ones among them, exact or by the store."""
    payloads = [images[0].payload for images in contents.values()]
    if is_small(collection, where, limits=limits):
        payloads, vectors = read_vectors(collection, payloads, at_once=limits.at_once)
        search = ExactSearch(vectors, cosine=True)
        return payloads, search.blocks(), partial(search.above, threshold=above)
    if collection.manifest.distance.higher_is_nearer:
        rows = {each.payload.id: row for row, same in enumerate(contents.values()) for each in same}
        asked = StoreNearness(collection, payloads, rows, above=above, where=where, at_once=limits.at_once)
        return payloads, asked.blocks(), asked.near
    raise UsageError(
        f"{collection.name} holds too many images to compare all with all, and Euclidean "
        "distances do not say which are similar; take a cosine collection",
        hint=Hint(Action.USE, {Argument.DISTANCE: "cosine"}),
    )


def _group_contents(near: Neighbourhood, copy_of: IntVector) -> Iterable[list[_Found]]:
    """Yields each content with its proven duplicates, or else with those it is similar to."""
    originals = copy_of.tolist()
    has_copies = {original for row, original in enumerate(originals) if row != original}
    together: dict[int, list[_Found]] = {}
    for row, original in enumerate(originals):
        files, is_proven, head, similarity = near.contents[row], True, original, 1.0
        if row != original:
            similarity = near.candidates.similarity(row, original)
        elif row not in has_copies and len(files) == 1:
            head, similarity = originals[near.star_of[row]], float(near.similarity[row])
            is_proven = head == row
        found = (_Found(image=each, similarity=similarity, is_proven=is_proven) for each in files)
        together.setdefault(head, []).extend(found)
    return together.values()


def _group(members: Sequence[_Found], near: Neighbourhood, offers: Offers) -> Group:
    """Returns a group of `members`, which are in order of preference."""
    order = partial(_preference, near.reference)
    pairs = zip(order(members[0].image), order(members[1].image), KeptBecause, strict=True)
    because = next((why for one, other, why in pairs if one != other), KeptBecause.PATH)
    kept = verify_file(members[0].image)
    others = [_member(each, kept, near, offers) for each in members[1:]]
    itself = _Found(image=kept, similarity=1, is_proven=False)
    return Group(
        kept=_member(itself, kept, near, offers),
        because=because,
        others=sorted(others, key=lambda each: (list(Match).index(each.match), -each.similarity)),
    )


def _member(found: _Found, kept: ImageFile, near: Neighbourhood, offers: Offers) -> Member:
    is_kept = found.image is kept
    image = kept if is_kept else verify_file(found.image)
    match = Match.SIMILAR
    if image.payload.sha256 == kept.payload.sha256:
        match = Match.IDENTICAL
    elif found.is_proven:
        match = Match.NEAR_DUPLICATE
    is_offered = match is not Match.SIMILAR and not is_kept
    is_redundant, frees = offers.offer(image, kept) if is_offered else (False, 0)
    return Member(
        payload=image.payload,
        file=image.file,
        state=image.state,
        similarity=found.similarity,
        match=match,
        is_redundant=is_redundant,
        frees=frees,
        reference=near.reference.holding(image.payload),
    )
