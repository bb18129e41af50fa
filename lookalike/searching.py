"""Searches by one image or by many, for an index and a fused index."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import TypeAlias

from lookalike_core import progress
from lookalike_core.errors import UsageError
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.stores.point_filters import make_filter
from lookalike_core.stores.points import EVERYTHING, PointFilter
from lookalike_search.analysis.locating import locate_neighbours, require_locatable
from lookalike_search.asking.answers import Answer as FoundAnswer
from lookalike_search.asking.answers import QueryOptions
from lookalike_search.asking.query import Searcher
from lookalike_search.asking.query_batch import answer_all
from lookalike_search.asking.query_sources import QueryInput
from lookalike_search.asking.searched_collection import SearchedCollection

from lookalike.arguments import (
    check_choice,
    check_hit_choice,
    check_number,
    check_share,
    check_text,
    check_whole,
    list_texts,
    parse_region,
)
from lookalike.notebook import shows_progress
from lookalike.records import Answer, Hit, Point, Where

ImageInput: TypeAlias = "QueryInput | Hit | Point"
"""An image: the path of a file, a file's bytes, a file opened in binary, an image of Pillow, uint8
`[H, W, 3]` in sRGB, or its feature vector, float `[D]`. Of an index also what it holds: an id, a path below
a dataset's folder (`dataset/path` where several datasets hold it), a hit or a point. URLs are not fetched."""


RegionInput: TypeAlias = str | Sequence[float]
"""A part of an image: left, top, width and height, as four numbers in pixels of the upright image or as text,
`40,30,200,150` in pixels or `10%,20%,50%,50%` of its sides."""


class Searchable(ABC):
    """A base class: searches the networks of one index or of several."""

    def search(
        self,
        image: ImageInput,
        *,
        limit: int = 10,
        offset: int = 0,
        min_score: float | None = None,
        max_distance: float | None = None,
        where: Where | None = None,
        exact: bool = False,
        include_self: bool = False,
        positives: Iterable[ImageInput] | str | os.PathLike[str] = (),
        negatives: Iterable[ImageInput] | str | os.PathLike[str] = (),
        rule: str | None = None,
        vote: str = VoteRule.NEARER_TIES,
        k: int = 10,
        without_near: bool = False,
        near_above: float = NEAR_ABOVE,
        max_pixels: int = MAX_PIXELS,
        confidence: float | None = None,
        region: RegionInput | None = None,
        locate: bool = False,
        min_chance: float | None = None,
        one_per: str | None = None,
        diverse: float = 0.0,
    ) -> Answer:
        """Returns the nearest neighbours of an image, best first.

        Args:
            image: The path of a file, a file's bytes, a file opened in binary, an image of Pillow, uint8
                `[H, W, 3]` in sRGB, or, for a single index, a feature vector, float `[D]`; or an indexed
                image: an id, a path below a dataset's folder, a hit or a point.
            limit: How many neighbours, 1 to 10,000.
            offset: How many of the nearest to skip, up to 100,000; pages of the same `limit` have each
                neighbour once.
            min_score: Only neighbours of at least this cosine similarity, -1 to 1; others do not vote either.
            max_distance: Only neighbours within this Euclidean distance, for a Euclidean index.
            where: Search only these images.
            exact: Search by brute force instead of the store's index.
            include_self: Keep images with the same bytes as the query, which are left out otherwise.
                Pixels and vectors have no bytes, so that an indexed image finds itself.
            positives: More examples of what is wanted: an image, or several.
            negatives: Examples of what is not wanted.
            rule: For a fused index, how rankings become one: `rrf` (the default), `zscore` or `calibrated`.
            vote: How the neighbours' classes become a verdict: `nearer-ties`, `majority`, `weighted` or
                `nearest-class`.
            k: How many neighbours vote.
            without_near: Show each scene once: fold near-duplicates into the nearest of them, as `Hit.near`.
            near_above: The cosine similarity over which two images count as near-duplicates, 0 to 1.
            max_pixels: Images of more pixels are refused.
            confidence: Also find the `prediction_set`, the smallest set of classes that holds the right one
                in at least this share of cases, such as 0.95. That holds for images of the same kind as the
                index's. Their class must be among the indexed ones. For a calibrated index, one image and
                all neighbours.
            region: Search with this part of the image only: left, top, width and height, as four numbers in
                pixels of the upright image, or as text, `"40,30,200,150"` or `"10%,20%,50%,50%"`. It is no
                part of the other examples.
            locate: Find where in each neighbour the similarity comes from: `Hit.located`. Each neighbour's
                file is embedded again.
            min_chance: Only neighbours whose `chance` is at least this, above 0 and below 1. Only the nearest
                have one, as many as the calibration has `k`. For a calibrated index, one image and all
                neighbours; the same ones vote.
            one_per: Only the nearest of each `class` or `folder`; an image without a class counts as a class
                of its own. All vote.
            diverse: Prefer neighbours that are unlike those before them (maximal marginal relevance): from 0,
                nearest first, to 1, as unlike as can be. Scores stay as they are, and the nearest vote.

        Raises:
            ImageError: the image cannot be read, or the region reaches beyond it; `.reason` says why.
            CollectionMissingError: no images were added yet.
            UsageError: the image is a folder or of another type, an argument is out of its range, or there
                is no prediction set for such a search.
        """
        if _is_folder(image):
            raise UsageError(f"{image!s} is a folder; name one image, or use search_many")
        [answer] = self.search_many(
            [image],
            limit=limit,
            offset=offset,
            min_score=min_score,
            max_distance=max_distance,
            where=where,
            exact=exact,
            include_self=include_self,
            positives=positives,
            negatives=negatives,
            rule=rule,
            vote=vote,
            k=k,
            without_near=without_near,
            near_above=near_above,
            max_pixels=max_pixels,
            confidence=confidence,
            region=region,
            locate=locate,
            min_chance=min_chance,
            one_per=one_per,
            diverse=diverse,
        )
        return answer

    @shows_progress
    def search_many(
        self,
        images: Iterable[ImageInput] | str | os.PathLike[str],
        *,
        limit: int = 10,
        offset: int = 0,
        min_score: float | None = None,
        max_distance: float | None = None,
        where: Where | None = None,
        exact: bool = False,
        include_self: bool = False,
        positives: Iterable[ImageInput] | str | os.PathLike[str] = (),
        negatives: Iterable[ImageInput] | str | os.PathLike[str] = (),
        rule: str | None = None,
        vote: str = VoteRule.NEARER_TIES,
        k: int = 10,
        without_near: bool = False,
        near_above: float = NEAR_ABOVE,
        max_pixels: int = MAX_PIXELS,
        confidence: float | None = None,
        raise_errors: bool = True,
        region: RegionInput | None = None,
        locate: bool = False,
        min_chance: float | None = None,
        one_per: str | None = None,
        diverse: float = 0.0,
    ) -> list[Answer]:
        """Returns what `search` finds for each image, in their order; they are embedded in batches.

        Args:
            images: Images, as for `search`; folders among them, or the path of one alone, stand for all
                images below them, by name.
            limit: As for `search`, and so are all other arguments.
            offset: How many of the nearest to skip.
            min_score: Only neighbours of at least this cosine similarity.
            max_distance: Only neighbours of at most this Euclidean distance.
            where: Search only these images.
            exact: Search by brute force.
            include_self: Keep images with the same bytes as the query.
            positives: More examples of what is wanted, which go with every image.
            negatives: Examples of what is not wanted, which go with every image.
            rule: For a fused index, how rankings become one.
            vote: How the neighbours' classes become a verdict.
            k: How many neighbours vote.
            without_near: Show each scene once: fold near-duplicates into the nearest of them.
            near_above: The cosine similarity over which two images count as near-duplicates.
            max_pixels: Images of more pixels are refused.
            confidence: Also find each image's `prediction_set` of this confidence.
            raise_errors: Raise for an unreadable image; otherwise its answer has no hits, and an `error` with
                the reason.
            region: Search with this part of each image only.
            locate: Find where in each neighbour the similarity comes from.
            min_chance: Only neighbours whose `chance` is at least this.
            one_per: Only the nearest of each `class` or `folder`.
            diverse: Prefer neighbours that are unlike those before them, 0 to 1.

        Raises:
            ImageError: an image cannot be read, with `raise_errors`; an example cannot be read.
            CollectionMissingError, UsageError: as for `search`.
        """
        meant, networks = points_where(where), self._networks()
        if rule is not None and len(networks) == 1:
            raise UsageError("a rule is for a fused index; one index has one ranking", argument="rule")
        near = check_number(near_above, "near_above")
        options = QueryOptions(
            limit=check_whole(limit, "limit"),
            offset=check_whole(offset, "offset"),
            min_score=None if min_score is None else check_number(min_score, "min_score"),
            max_distance=None if max_distance is None else check_number(max_distance, "max_distance"),
            where=meant,
            exact=exact,
            include_self=include_self,
            max_pixels=check_whole(max_pixels, "max_pixels"),
            vote=check_choice(VoteRule, vote, "vote"),
            k=check_whole(k, "k"),
            fusion=check_choice(FusionRule, FusionRule.RRF if rule is None else rule, "rule"),
            without_near_above=near if without_near else None,
            confidence=None if confidence is None else check_share(confidence, "confidence", example=0.95),
            region=None if region is None else parse_region(region),
            locate=locate,
            choice=check_hit_choice(min_chance, one_per, diverse),
        )
        if locate:
            require_locatable(networks)
        listed = several(images)
        answers = []
        for answer in _count_answers(_answers(networks, listed, options, positives, negatives), listed):
            if answer.error is not None and raise_errors:
                raise answer.error
            answers.append(answer)
        return answers

    @abstractmethod
    def _networks(self) -> Sequence[SearchedCollection]:
        """Returns the collections that are searched, with their models.

        Raises:
            CollectionMissingError: no images were added to one of the indexes yet.
        """


def points_where(where: Where | None) -> PointFilter:
    """Returns the filter for a `Where`, or for all points.

    Raises:
        UsageError: the value is no `Where`, or what is in it is malformed, or no image can meet all of it.
    """
    if where is None:
        return EVERYTHING
    if not isinstance(where, Where):
        raise UsageError(
            f"where is {where!r}; give a lookalike.Where, as Where(class_name='cat')", argument="where"
        )
    return make_filter(
        classes=_alternatives(where.class_name, "class_name"),
        not_classes=_texts(where.not_class),
        dataset=None if where.dataset is None else check_text(where.dataset, "where"),
        folders=_alternatives(where.path, "path"),
        since=_date_text(where.since),
        until=_date_text(where.until),
        min_width=None if where.min_width is None else check_whole(where.min_width, "min_width"),
    )


def _alternatives(named: object, name: str) -> list[str]:
    """Returns texts of which an image has one; of none it has none, and no condition would select all."""
    texts = _texts(named)
    if named is not None and not texts:
        raise UsageError(f"where.{name} is empty, so no image fits; None is for all images", argument="where")
    return texts


def _texts(named: object) -> list[str]:
    return [] if named is None else list_texts(named, "where")


def _date_text(value: object) -> str | None:
    """Returns a date or a time as text, and text as it is."""
    if value is None or isinstance(value, date):
        return None if value is None else value.isoformat()
    return check_text(value, "where")


def plain_query(image: ImageInput) -> QueryInput:
    """Returns an image as the search stage expects it: the id for a hit or a point."""
    return image.id if isinstance(image, Hit | Point) else image


def several(images: Iterable[ImageInput] | str | os.PathLike[str], name: str = "images") -> list[ImageInput]:
    """Returns images as a list; a single path, hit, point or file's bytes becomes a list of one.

    Raises:
        UsageError: the value is neither an image nor a list of them.
    """
    if isinstance(images, str | os.PathLike | bytes | Hit | Point):
        return [images]
    if not isinstance(images, Iterable):
        raise UsageError(f"{name} is {images!r}; give an image, or several", argument=name)
    return list(images)


def _count_answers(answers: Iterator[Answer], images: Sequence[ImageInput]) -> Iterator[Answer]:
    """Yields the answers with a progress bar for several images; a folder among them leaves out its total."""
    if len(images) == 1 and not _is_folder(images[0]):
        yield from answers
        return
    total = None if any(map(_is_folder, images)) else len(images)
    with progress.bar("images", unit="images", total=total) as bar:
        for answer in answers:
            yield answer
            bar.advance(1)


def _is_folder(image: ImageInput) -> bool:
    return isinstance(image, str | os.PathLike) and os.path.isdir(os.path.expanduser(image))  # noqa: PTH111, PTH112


def _answers(
    networks: Sequence[SearchedCollection],
    images: Sequence[ImageInput],
    options: QueryOptions,
    positives: Iterable[ImageInput] | str | os.PathLike[str],
    negatives: Iterable[ImageInput] | str | os.PathLike[str],
) -> Iterator[Answer]:
    manifests = [network.manifest for network in networks]
    outcomes = answer_all(
        Searcher(networks),
        [plain_query(image) for image in images],
        options,
        positives=[plain_query(image) for image in several(positives, "positives")],
        negatives=[plain_query(image) for image in several(negatives, "negatives")],
    )
    for outcome in outcomes:
        found = outcome
        if options.locate and isinstance(outcome, FoundAnswer):
            found = locate_neighbours(outcome, networks[0], max_pixels=options.max_pixels)
        yield Answer._of(found, manifests, options)
