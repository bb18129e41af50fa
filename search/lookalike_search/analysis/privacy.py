"""Measures what the stored vectors of a collection give away about its images, by attacking them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from operator import attrgetter
from pathlib import Path

import numpy as np
from lookalike_core import progress
from lookalike_core.arrays import IMAGE_SIZE
from lookalike_core.errors import ImageError, SkipReason, UsageError
from lookalike_core.hints import Action, Hint
from lookalike_core.images.decoding import MAX_PIXELS, decode
from lookalike_core.images.open_image import hash_stream, open_file
from lookalike_core.images.resizing import Resampling, resize
from lookalike_core.logs import get_logger
from lookalike_core.models.embedder import Embedder
from lookalike_core.neighbours.brute_force import row_blocks, top_k
from lookalike_core.neighbours.cosine import normalise_rows
from lookalike_core.neighbours.vote import VoteRule, vote
from lookalike_core.prefetch import map_ahead
from lookalike_core.settings import Settings
from lookalike_core.stores.bulk_reads import read_vectors
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.overlapping_roots import file_of, first_of_each_file
from lookalike_core.stores.points import EVERYTHING, Payload, PointFilter, usable_rows
from lookalike_core.stores.protocol import Collection
from lookalike_core.text import format_count
from lookalike_exporter.model_resolver import get_model

from lookalike_search.analysis.inversion import SIDE, FloatMatrix, ImageArray
from lookalike_search.analysis.inversion_attack import (
    FEWEST,
    RECOGNISED,
    AttackedImages,
    AttackResult,
    IntVector,
    attack,
)
from lookalike_search.analysis.projection import draw_sample
from lookalike_search.collection_choice import resolve_dataset

_logger = get_logger("search")

LIMIT = 2_500
"""Images that are attacked by default: a minute on two cores, beside reading and embedding."""

MOST = 5_000
"""The most images: time grows with the third power of their number."""

VOTERS = 10
"""Neighbours that vote on the class of a reconstruction."""

_AHEAD = 32
"""Images that are read ahead."""

_EMBEDDED_AT_ONCE = 4
"""Reconstructions in a batch: larger ones take hundreds of MB, and on a CPU gain nothing."""


class LeftOut(StrEnum):
    """Why an image of the sample is not attacked."""

    GONE = "gone"
    """Its file is not there, or the folder of its dataset is not known."""
    CHANGED = "changed"
    """Its file has other bytes than those that were ingested."""
    UNREADABLE = "unreadable"
    """Its file cannot be read any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledVectors:
    """Images of a collection with different bytes: payloads and their vectors, float32 `[N, D]`.

    `total` is the number of such images, `duplicates` that of further images with the same bytes.
    """

    manifest: CollectionManifest
    payloads: Sequence[Payload]
    vectors: FloatMatrix
    total: int
    duplicates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyReport:
    """The result of attacking a collection."""

    collection: str
    """The name of the collection."""
    manifest: CollectionManifest
    """Its manifest."""
    payloads: Sequence[Payload]
    """The images that were attacked."""
    images: ImageArray
    """What the network sees of them, reduced: uint8 `[N, 32, 32, 3]`."""
    total: int
    """Images of different bytes in the collection, of which a sample was drawn."""
    duplicates: int
    """Further images, with the same bytes as others."""
    left_out: Mapping[LeftOut, int]
    """Images of the sample whose file could not be used -> how many."""
    provider: str | None
    """The execution provider that embedded reconstructions; None if none were."""
    result: AttackResult
    """The figures."""


def sample_vectors(
    collection: Collection, *, limit: int, seed: int, where: PointFilter = EVERYTHING
) -> SampledVectors:
    """Reads the vectors of at most `limit` images, a random sample stratified by class.

    Of images with the same bytes the first is read, so that none is on both sides of a split.

    Raises:
        UsageError: there are fewer than `FEWEST` images, or there is no such dataset.
    """
    where = resolve_dataset(where, collection.manifest)
    found = sorted(collection.scan(where), key=attrgetter("sort_key"))
    files = first_of_each_file(found, collection.manifest)
    different = _first_of_same_bytes(files)
    if len(different) < FEWEST:
        raise UsageError(
            f"{collection.name} holds {format_count(len(different), 'different image')}, too few to attack; "
            f"{FEWEST} are needed",
            hint=Hint(Action.FILL),
        )
    rows = draw_sample([payload.class_name for payload in different], limit, seed=seed)
    payloads, vectors = read_vectors(collection, [different[row] for row in rows.tolist()])
    return SampledVectors(
        manifest=collection.manifest,
        payloads=payloads,
        vectors=vectors,
        total=len(different),
        duplicates=len(files) - len(different),
    )


def _first_of_same_bytes(payloads: Sequence[Payload]) -> list[Payload]:
    """Returns one payload for each hash, one with a class before one without, in the order of the first."""
    first: dict[str, Payload] = {}
    for payload in payloads:
        known = first.setdefault(payload.sha256, payload)
        if payload.class_name and not known.class_name:
            first[payload.sha256] = payload
    return list(first.values())


def measure_privacy(
    sampled: SampledVectors,
    *,
    settings: Settings,
    seed: int = 0,
    recognised: int = RECOGNISED,
    max_pixels: int = MAX_PIXELS,
) -> PrivacyReport:
    """Reads the images' files, attacks the vectors, and returns what the attack finds.

    At most `recognised` reconstructions of each kind are embedded by the collection's model, to find whether
    it recognises their classes; for 0 it is not loaded.

    Raises:
        UsageError: too few of the files can be read.
        WeightsError, ManifestError: the collection's model is not available.
    """
    images, rows, left_out = _read_images(sampled, max_pixels)
    payloads = [sampled.payloads[row] for row in rows.tolist()]
    if len(payloads) < FEWEST:
        raise _describe_shortage(sampled, len(payloads), left_out)
    attacked = AttackedImages(
        vectors=sampled.vectors[rows],
        images=images,
        classes=[payload.class_name or None for payload in payloads],
    )
    recogniser = Recogniser(sampled.manifest, attacked, settings=settings) if recognised else None
    result = attack(attacked, seed=seed, recognise=recogniser, recognised=recognised)
    return PrivacyReport(
        collection=sampled.manifest.collection,
        manifest=sampled.manifest,
        payloads=payloads,
        images=images,
        total=sampled.total,
        duplicates=sampled.duplicates,
        left_out=left_out,
        provider=recogniser.provider if recogniser else None,
        result=result,
    )


def _read_images(
    sampled: SampledVectors, max_pixels: int
) -> tuple[ImageArray, IntVector, Mapping[LeftOut, int]]:
    """Returns images uint8 `[N, 32, 32, 3]`, their rows int64 `[N]`, and the others by why there is none."""
    images: list[ImageArray] = []
    rows: list[int] = []
    left_out: Counter[LeftOut] = Counter()
    read = partial(_read_image, sampled.manifest, max_pixels)
    with progress.bar("images", unit="images", total=len(sampled.payloads)) as bar:
        for row, image in enumerate(map_ahead(read, iter(sampled.payloads), ahead=_AHEAD)):
            if isinstance(image, LeftOut):
                left_out[image] += 1
            else:
                images.append(image)
                rows.append(row)
            bar.advance(1, skipped=left_out.total())
    return np.array(images, np.uint8).reshape(-1, SIDE, SIDE, 3), np.array(rows, np.int64), left_out


def _read_image(manifest: CollectionManifest, max_pixels: int, payload: Payload) -> ImageArray | LeftOut:
    """Returns what the network sees of an image, reduced to uint8 `[32, 32, 3]`, or why there is none."""
    file = file_of(manifest, payload.dataset, payload.path)
    if file is None:
        return LeftOut.GONE
    try:
        return _reduce_file(file, payload, max_pixels)
    except ImageError as error:
        return LeftOut.GONE if error.reason is SkipReason.VANISHED else LeftOut.UNREADABLE


def _reduce_file(file: Path, payload: Payload, max_pixels: int) -> ImageArray | LeftOut:
    with open_file(file) as stream:
        if hash_stream(stream) != payload.sha256:
            return LeftOut.CHANGED
        seen = decode(stream, str(file), max_pixels=max_pixels).pixels
    return resize(seen, SIDE, SIDE, Resampling.BOX)


def _describe_shortage(sampled: SampledVectors, readable: int, left_out: Mapping[LeftOut, int]) -> UsageError:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()))
    return UsageError(
        f"{readable:,} of {len(sampled.payloads):,} images of {sampled.manifest.collection} can be read from "
        f"their files ({reasons or 'none is left out'}), too few to attack: this attacker trains on the "
        f"images themselves, and {FEWEST} are needed",
        hint=Hint(Action.UPDATE),
    )


class Recogniser:
    """Finds the class of small images by the collection's model: the vote of the nearest other images.

    `provider` is that of the model, None before it was used. A model that is missing is exported when the
    recogniser is made.
    """

    def __init__(self, manifest: CollectionManifest, attacked: AttackedImages, *, settings: Settings) -> None:
        self._model = get_model(manifest, settings=settings)  # at once, not after the attack
        self._settings = settings
        self.provider: str | None = None
        self._vote = ClassVote(attacked, distance=manifest.distance)

    def __call__(self, images: ImageArray, rows: IntVector) -> list[str | None]:
        """Returns the class that is recognised in each of uint8 `[M, 32, 32, 3]`; None for none.

        The vectors of `rows`, int64 `[M]`, are no neighbours of the images in the same places.
        """
        different, places = np.unique(images, axis=0, return_inverse=True)
        vectors = np.concatenate(list(self._embed(different)))
        return self._vote.classify(vectors[places.reshape(-1)], rows)

    def _embed(self, images: ImageArray) -> Iterator[FloatMatrix]:
        embedder = Embedder.from_settings(
            self._model.path, self._settings, expected=self._model.manifest, images=len(images)
        )
        embedder.log_provider(_logger)
        self.provider = embedder.provider
        with progress.bar("embedding", unit="images", total=len(images)) as bar:
            for rows in row_blocks(len(images), _EMBEDDED_AT_ONCE):
                yield embedder.embed([resize(images[row], IMAGE_SIZE, IMAGE_SIZE) for row in rows.tolist()])
                bar.advance(len(rows))


class ClassVote:
    """Classifies vectors by the vote of the nearest of the attacked images, by the rule `nearer-ties`."""

    def __init__(self, attacked: AttackedImages, *, distance: Distance) -> None:
        self._labelled = np.array([row for row, name in enumerate(attacked.classes) if name], np.int64)
        self._classes = [attacked.classes[row] or "" for row in self._labelled.tolist()]
        self._distance = distance
        self._known = self._prepare(attacked.vectors[self._labelled])

    def classify(self, vectors: FloatMatrix, rows: IntVector) -> list[str | None]:
        """Returns the class of each vector float `[M, D]`; None where it is zero or not finite.

        The vectors of `rows` do not vote on the vectors in the same places.
        """
        usable = usable_rows(np.asarray(vectors, dtype=np.float32)).tolist()
        return [
            self._classify_one(vector, row) if is_usable else None
            for vector, row, is_usable in zip(self._prepare(vectors), rows.tolist(), usable, strict=True)
        ]

    def _classify_one(self, vector: FloatMatrix, row: int) -> str | None:
        scores = self._score(vector)
        sign = 1 if self._distance.higher_is_nearer else -1
        nearness = np.where(self._labelled == row, -np.inf, sign * scores)
        nearest = top_k(nearness[np.newaxis], min(VOTERS, len(scores) - 1))[0][0]
        verdict = vote(
            [self._classes[place] for place in nearest.tolist()],
            scores[nearest],
            rule=VoteRule.NEARER_TIES,
            k=VOTERS,
            higher_is_nearer=self._distance.higher_is_nearer,
        )
        return verdict.class_name if verdict else None

    def _prepare(self, vectors: FloatMatrix) -> FloatMatrix:
        exact = vectors.astype(np.float64)
        return normalise_rows(exact) if self._distance is Distance.COSINE else exact

    def _score(self, vector: FloatMatrix) -> FloatMatrix:
        if self._distance is Distance.COSINE:
            return np.asarray(self._known @ vector)
        return np.asarray(np.linalg.norm(self._known - vector, axis=1))
