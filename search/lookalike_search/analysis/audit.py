"""Audits a collection: wrong labels, outliers, leaks and overlapping classes by vectors, faults by files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import numpy as np
from lookalike_core import progress
from lookalike_core.cpu_count import count_cores
from lookalike_core.errors import SkipReason, UsageError
from lookalike_core.hints import Action, Hint
from lookalike_core.neighbours.cosine import normalise_rows
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.prefetch import map_ahead
from lookalike_core.stores.bulk_reads import read_vectors
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.overlapping_roots import file_of, first_of_each_file
from lookalike_core.stores.points import EVERYTHING, Payload, PointFilter
from lookalike_core.stores.protocol import Collection

from lookalike_search.analysis import class_overlap, label_noise
from lookalike_search.analysis.all_neighbours import COMPARISON_LIMITS, ComparisonLimits, is_small
from lookalike_search.analysis.audited_neighbours import (
    ComparedImages,
    NearImages,
    compare_by_index,
    compare_exactly,
)
from lookalike_search.analysis.false_discoveries import rates_by_chances, rates_by_p_values
from lookalike_search.analysis.image_faults import Fault, find_fault, measure_faults
from lookalike_search.analysis.label_noise import BoolVector, LabelChances
from lookalike_search.analysis.outliers import Measure, measure_outlyingness
from lookalike_search.collection_choice import resolve_dataset
from lookalike_search.evaluation.labelled_vectors import FloatMatrix, IntVector, LabelledVectors
from lookalike_search.unchanged_files import read_unchanged

FALSE_DISCOVERIES = 0.05
"""The share of false ones among wrong labels, outliers and overlapping classes, unless told otherwise."""

FARTHEST = 0.01
"""The share of images with a class that are listed as the least like any class."""

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class Across(StrEnum):
    """What lies between two images that are the same or nearly so."""

    CLASSES = "classes"
    DATASETS = "datasets"
    SPLITS = "splits"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongLabel:
    """An image whose class is probably wrong."""

    payload: Payload
    """The image with its present class."""
    file: Path | None
    """The path of its file; None where the dataset's folder is not known."""
    chance: float
    """The chance that its class is wrong."""
    suggested: str
    """The class that it should have."""
    suggested_chance: float
    """The chance that this class is right."""
    false_discovery_rate: float
    """The expected share of right labels among this one and all that are likelier to be wrong."""
    example: Payload | None
    """The nearest image of the suggested class, without exact duplicates."""
    example_file: Path | None
    """The path of its file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """An image that is unlike the images that have a class."""

    payload: Payload
    """The image."""
    file: Path | None
    """The path of its file; None where the dataset's folder is not known."""
    score: float
    """How unlike it is; comparable within one audit only."""
    p_value: float
    """The share of the images with a class that are at least as unlike the others."""
    false_discovery_rate: float | None
    """For an image without a class: the expected share of images that are like those with one among this one
    and all that are less like them. None for an image with a class, which is one of the farthest 1 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPair:
    """Two images that are the same or nearly so, and should not be where they are."""

    payload: Payload
    """The first image by dataset and path."""
    file: Path | None
    """The path of its file."""
    other: Payload
    """The second image."""
    other_file: Path | None
    """The path of its file."""
    similarity: float
    """The cosine similarity of their vectors, 1 where the bytes are the same."""
    is_identical: bool
    """Whether the bytes are the same."""
    across: Sequence[Across]
    """What lies between them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassOverlap:
    """A class many of whose images the neighbours take for another class."""

    class_name: str
    """The class of the images."""
    other: str
    """The class for which they are taken."""
    taken: int
    """The number of images that have more votes for the other class than for their own."""
    images: int
    """The number of images of the class that were voted on."""
    false_discovery_rate: float
    """The expected share of classes that are taken for another by at most a quarter among this pair and all
    that are likelier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultyImage:
    """An image that is blank, dark or blurred."""

    payload: Payload
    """The image."""
    file: Path | None
    """The path of its file."""
    fault: Fault
    """What is wrong with it."""
    value: float
    """The measure that says so."""
    lower: float
    """The share of the images that were read whose measure is at most that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What an audit of a collection found; nothing was written."""

    collection: str
    """The name of the collection."""
    images: int
    """The number of images, each file once."""
    unlabelled: int
    """Those of them without a class."""
    judged: int
    """Those whose label was judged: others have no class, or are the only image of theirs."""
    noise: float | None
    """The estimated share of wrong labels among the judged; None where none were judged."""
    wrong_labels: Sequence[WrongLabel]
    """The images whose class is probably wrong, the likeliest first."""
    outliers: Sequence[Outlier]
    """The images that are unlike the others: first those without a class, then those with one."""
    outlier_measure: Measure
    """How outliers were measured."""
    near_pairs: Sequence[NearPair]
    """Images that are the same or nearly so, but of other classes, datasets or splits."""
    overlaps: Sequence[ClassOverlap]
    """Classes that neighbours cannot tell apart."""
    faults: Sequence[FaultyImage] | None
    """Blank, dark and blurred images; None where no files were read."""
    unread: Mapping[SkipReason, int]
    """Why files could not be read -> how many."""
    notes: Sequence[str]
    """Why something was not audited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Images:
    """The images of a collection; `classes` are -1 without one, `copies` equal for the same bytes."""

    payloads: Sequence[Payload]
    vectors: FloatMatrix
    classes: IntVector
    copies: IntVector
    names: Sequence[str]
    manifest: CollectionManifest

    def file(self, payload: Payload) -> Path | None:
        return file_of(self.manifest, payload.dataset, payload.path)


def audit_collection(
    collection: Collection,
    *,
    where: PointFilter = EVERYTHING,
    false_discoveries: float = FALSE_DISCOVERIES,
    near_above: float = NEAR_ABOVE,
    read_files: bool = False,
    seed: int = 0,
    limits: ComparisonLimits = COMPARISON_LIMITS,
) -> Audit:
    """Audits a collection from its stored vectors; `read_files` reads files, for blank and blurred images.

    Of wrong labels, outliers without a class and overlapping classes as many are returned as make the
    expected share of false ones at most `false_discoveries`. `seed` draws the folds of the outliers. Up
    to `limits` all images are compared with all; more are searched for by the store's index.

    Raises:
        UsageError: the collection has no such dataset, or holds no image.
    """
    where = resolve_dataset(where, collection.manifest)
    images = _load(collection, where)
    near = _find_near(collection, images, near_above, where, limits)
    judged = label_noise.find_judged(images.classes, images.copies)
    missing = label_noise.describe_shortage(images.classes, images.copies)
    chances, overlaps = None, []
    if missing is None:
        chances = label_noise.judge_labels(images.classes, judged, near.neighbours, near.nearness)
        overlaps = _find_overlaps(images, judged, near, false_discoveries)
    outliers, measure = _find_outliers(images, near, false_discoveries, seed)
    faults, unread = _find_faults(images) if read_files else (None, {})
    return Audit(
        collection=collection.name,
        images=len(images.payloads),
        unlabelled=int((images.classes < 0).sum()),
        judged=int(judged.sum()) if chances else 0,
        noise=chances.noise if chances else None,
        wrong_labels=_find_wrong_labels(images, near, chances, false_discoveries) if chances else [],
        outliers=outliers,
        outlier_measure=measure,
        near_pairs=_describe_pairs(images, near.pairs),
        overlaps=overlaps,
        faults=faults,
        unread=unread,
        notes=[missing] if missing else [],
    )


def _load(collection: Collection, where: PointFilter) -> _Images:
    found = sorted(collection.scan(where), key=lambda payload: payload.sort_key)
    payloads, vectors = read_vectors(collection, list(first_of_each_file(found, collection.manifest)))
    if not payloads:
        raise UsageError(f"{collection.name} holds no image", hint=Hint(Action.FILL))
    names = sorted({payload.class_name for payload in payloads if payload.class_name})
    numbers = {name: number for number, name in enumerate(names)}
    copies = {sha256: number for number, sha256 in enumerate(dict.fromkeys(p.sha256 for p in payloads))}
    return _Images(
        payloads=payloads,
        vectors=vectors,
        classes=np.array([numbers.get(payload.class_name or "", -1) for payload in payloads]),
        copies=np.array([copies[payload.sha256] for payload in payloads]),
        names=names,
        manifest=collection.manifest,
    )


def _find_near(
    collection: Collection, images: _Images, near_above: float, where: PointFilter, limits: ComparisonLimits
) -> NearImages:
    """Finds neighbours and near-duplicates: by brute force, or of many images by the store's index."""
    places = [_place(payload) for payload in images.payloads]
    numbers = {place: number for number, place in enumerate(dict.fromkeys(places))}
    compared = ComparedImages(
        vectors=LabelledVectors(
            vectors=images.vectors,
            classes=images.classes,
            copies=images.copies,
            names=images.names,
            higher_is_nearer=images.manifest.distance.higher_is_nearer,
        ),
        places=np.array([numbers[place] for place in places]),
        near_above=near_above,
    )
    with progress.bar(collection.name, unit="images", total=len(places)) as bar:
        if is_small(collection, where, limits=limits):
            return compare_exactly(compared, bar.advance)
        return compare_by_index(
            compared, images.payloads, collection, where, at_once=limits.at_once, on_done=bar.advance
        )


def _place(payload: Payload) -> tuple[str | None, str, str]:
    return payload.class_name or None, payload.dataset, find_split(payload)


def find_split(payload: Payload) -> str:
    """Returns the split that the first folder of the path with such a name says, else the dataset; or ""."""
    *folders, _ = payload.path.split("/")
    named = (_SPLITS.get(name.casefold(), "") for name in (*folders, payload.dataset))
    return next(filter(None, named), "")


def _describe_pairs(images: _Images, pairs: IntVector) -> list[NearPair]:
    found = []
    for a, b in pairs.tolist():
        one, other = images.payloads[a], images.payloads[b]
        if not (across := _between(one, other)):
            continue
        is_identical = one.sha256 == other.sha256
        units = normalise_rows(images.vectors[[a, b]].astype(np.float64))
        found.append(
            NearPair(
                payload=one,
                file=images.file(one),
                other=other,
                other_file=images.file(other),
                similarity=1.0 if is_identical else min(1.0, float(units[0] @ units[1])),
                is_identical=is_identical,
                across=across,
            )
        )
    return sorted(found, key=lambda pair: (not pair.is_identical, -pair.similarity))


def _between(one: Payload, other: Payload) -> list[Across]:
    classes = {one.class_name or None, other.class_name or None}
    splits = {find_split(one), find_split(other)}
    differ = {
        Across.CLASSES: len(classes - {None}) > 1,
        Across.DATASETS: one.dataset != other.dataset,
        Across.SPLITS: len(splits - {""}) > 1,
    }
    return [each for each in Across if differ[each]]


def _find_wrong_labels(
    images: _Images, near: NearImages, chances: LabelChances, false_discoveries: float
) -> list[WrongLabel]:
    rows = np.flatnonzero(np.isfinite(chances.wrong))
    rates = rates_by_chances(chances.wrong[rows])
    listed = (rates <= false_discoveries) & (chances.suggested[rows] >= 0)
    order = np.lexsort((rows[listed], -chances.wrong[rows][listed]))
    found = []
    for row, rate in zip(rows[listed][order].tolist(), rates[listed][order].tolist(), strict=True):
        neighbours = near.neighbours[row]
        [same] = np.nonzero((neighbours >= 0) & (images.classes[neighbours] == chances.suggested[row]))
        example = images.payloads[neighbours[same[0]]] if len(same) else None
        found.append(
            WrongLabel(
                payload=images.payloads[row],
                file=images.file(images.payloads[row]),
                chance=float(chances.wrong[row]),
                suggested=images.names[chances.suggested[row]],
                suggested_chance=float(chances.suggested_chance[row]),
                false_discovery_rate=rate,
                example=example,
                example_file=images.file(example) if example else None,
            )
        )
    return found


def _find_overlaps(
    images: _Images, judged: BoolVector, near: NearImages, false_discoveries: float
) -> list[ClassOverlap]:
    rows = np.flatnonzero(judged & (near.neighbours[:, 0] >= 0))
    votes = label_noise.count_votes(
        images.classes,
        near.neighbours[rows],
        near.nearness[rows],
        of=images.classes[rows],
        width=label_noise.find_width(near.nearness[rows]),
    )
    return [
        ClassOverlap(
            class_name=images.names[each.class_number],
            other=images.names[each.other_number],
            taken=each.taken,
            images=each.images,
            false_discovery_rate=each.false_discovery_rate,
        )
        for each in class_overlap.find_overlaps(images.classes[rows], votes)
        if each.false_discovery_rate <= false_discoveries
    ]


def _find_outliers(
    images: _Images, near: NearImages, false_discoveries: float, seed: int
) -> tuple[list[Outlier], Measure]:
    """Returns the images without a class that are discoveries, and the farthest of those with one."""
    labelled = images.classes >= 0
    known = labelled if labelled.any() else np.ones(len(labelled), dtype=bool)
    found = measure_outlyingness(
        images.vectors, images.classes, images.copies, near.nearness, known=known, seed=seed
    )
    rates = np.full(len(known), np.nan)
    strange = ~known & np.isfinite(found.p_values)
    rates[strange] = rates_by_p_values(found.p_values[strange])
    farthest = known & (found.p_values <= FARTHEST)
    rows = np.flatnonzero((rates <= false_discoveries) | farthest)
    order = np.lexsort((rows, -found.scores[rows], known[rows]))
    return [
        Outlier(
            payload=images.payloads[row],
            file=images.file(images.payloads[row]),
            score=float(found.scores[row]),
            p_value=float(found.p_values[row]),
            false_discovery_rate=None if known[row] else float(rates[row]),
        )
        for row in rows[order].tolist()
    ], found.measure


def _find_faults(images: _Images) -> tuple[list[FaultyImage], Mapping[SkipReason, int]]:
    """Reads every file whose bytes are those that were ingested, and measures it."""
    measured: list[tuple[Payload, Mapping[Fault, float]]] = []
    unread: Counter[SkipReason] = Counter()
    with progress.bar("files", unit="images", total=len(images.payloads)) as bar:
        read = partial(_measure_file, images)
        made = map_ahead(read, iter(images.payloads), ahead=64, workers=min(8, count_cores() + 1))
        for payload, values in zip(images.payloads, made, strict=True):
            if isinstance(values, SkipReason):
                unread[values] += 1
            else:
                measured.append((payload, values))
            bar.advance(1)
    every = {fault: np.sort([values[fault] for _, values in measured]) for fault in Fault}
    found = []
    for payload, values in measured:
        fault = find_fault(values)
        if fault is not None:
            lower = np.searchsorted(every[fault], values[fault], side="right") / len(measured)
            found.append(
                FaultyImage(
                    payload=payload,
                    file=images.file(payload),
                    fault=fault,
                    value=values[fault],
                    lower=float(lower),
                )
            )
    return sorted(found, key=lambda each: (list(Fault).index(each.fault), each.value)), dict(unread)


def _measure_file(images: _Images, payload: Payload) -> Mapping[Fault, float] | SkipReason:
    pixels = read_unchanged(images.file(payload), payload)
    return pixels if isinstance(pixels, SkipReason) else measure_faults(pixels)
