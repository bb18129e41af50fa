"""Makes pages of query, evaluate and duplicates over a drawn collection, with every section on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.models.model_manifest import WeightsKind, WeightsSource
from lookalike_core.neighbours.vote import Verdict, VoteRule
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.points import Payload
from lookalike_search.analysis.duplicates import Group, KeptBecause, Match, Member
from lookalike_search.analysis.file_state import FileState
from lookalike_search.asking.answers import Answer, Neighbour, QueryOptions, Unanswered
from lookalike_search.evaluation.comparisons import Contest, compare_settings
from lookalike_search.evaluation.head_splits import HeadTraining, PartFigures, split_figures
from lookalike_search.evaluation.labelled_vectors import LabelledImages, LabelledVectors
from lookalike_search.evaluation.leave_one_out import leave_one_out
from lookalike_search.evaluation.runs import Setting
from lookalike_search.evaluation.summary import Evaluation, best_values_of, summarise
from lookalike_search.reports.duplicates import duplicates_page
from lookalike_search.reports.evaluation import SECTION_LIMITS, SectionLimits, evaluation_page
from lookalike_search.reports.query import query_page as page_of_queries
from made_collections import manifest_of, payload_of
from page_rules import ReadPage, read_page

Draw = Callable[..., list[Path]]

HOSTILE = """<b>"cat's"</b> & co"""

"""The name of a class and of its folder."""

PER_CLASS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Drawn images of three classes in a folder, one without its file, with vectors that overlap."""

    root: Path
    manifest: CollectionManifest
    payloads: Sequence[Payload]
    evaluation: Evaluation

    def file(self, row: int) -> Path:
        """Returns the path of an image."""
        return self.root / self.payloads[row].path

    def neighbour(self, rank: int, row: int, score: float) -> Neighbour:
        """Returns a hit as a search returns it."""
        return Neighbour(rank=rank, score=score, payload=self.payloads[row], file=self.file(row))

    def answer(self, row: int, **changes: object) -> Answer:
        """Returns the evaluation's result for an image, as an answer."""
        found = self.evaluation.results
        pairs = zip(found.neighbours[row].tolist(), found.scores[row].tolist(), strict=True)
        verdict = self.evaluation.images.vectors.names[found.verdicts[VoteRule.NEARER_TIES][row]]
        answer = Answer(
            query=self.payloads[row].path,
            file=self.file(row),
            indexed=self.payloads[row],
            hits=[self.neighbour(rank, *pair) for rank, pair in enumerate(pairs, start=1)],
            verdict=Verdict(class_name=verdict, share=0.7, voters=10),
            provider=None,
            load_ms=0,
            embed_ms=0,
            search_ms=0,
        )
        return replace(answer, **changes)  # type: ignore[arg-type]


def make_collection(root: Path, draw: Draw) -> Collection:
    """Draws the images of a `Collection` into a folder and evaluates it."""
    names = sorted([HOSTILE, "dog", "\u05d0\u05d1"])
    folders = {HOSTILE: "<b>", "dog": "dog", "\u05d0\u05d1": "\u05d0\u05d1"}
    labels = [name for name in names for _ in range(PER_CLASS)]
    paths = [f"{folders[name]}/{number}'.png" for number, name in enumerate(labels)]
    draw(root, *paths)
    (root / paths[3]).unlink()
    classes = np.repeat(np.arange(len(names)), PER_CLASS)
    random = np.random.default_rng(0)
    vectors = np.eye(8)[classes] + random.normal(0, 0.75, (len(labels), 8))
    payloads = [payload(path, name) for path, name in zip(paths, labels, strict=True)]
    images = LabelledImages(
        vectors=LabelledVectors(
            vectors=vectors.astype(np.float32),
            classes=classes,
            copies=np.arange(len(labels)),
            names=names,
            higher_is_nearer=True,
        ),
        payloads=payloads,
        unlabelled=2,
    )
    evaluation = summarise("vgg16-cosine", images, leave_one_out(images.vectors))
    return Collection(root=root, manifest=manifest(root), payloads=payloads, evaluation=evaluation)


def payload(path: str, class_name: str | None) -> Payload:
    """Returns the payload of an image whose bytes are its path."""
    return payload_of(path, class_name=class_name, sha256=path, width=64, height=48, bytes=2_000)


def manifest(root: Path, distance: Distance = Distance.COSINE) -> CollectionManifest:
    """Returns the manifest of a collection of the dataset `data`, with official weights."""
    official = WeightsSource(kind=WeightsKind.IMAGENET, official=True)
    return replace(manifest_of(distance, 8, {"data": str(root)}), weights=official)


def query_page(
    collection: Collection,
    path: Path,
    *outcomes: Answer | Unanswered,
    options: QueryOptions = QueryOptions(),  # noqa: B008 - frozen
) -> ReadPage:
    """Writes and parses the page of these outcomes."""
    page_of_queries(outcomes, [collection.manifest], options).write(path)
    return read_page(path)


def evaluated_page(
    collection: Collection,
    path: Path,
    *evaluations: Evaluation,
    limits: SectionLimits = SECTION_LIMITS,
) -> ReadPage:
    """Writes and parses the page of these evaluations; each is compared with the first, and has a head."""
    first, *_ = evaluations
    settings = []
    for number, each in enumerate(evaluations):
        contest = Contest(
            one=first.collection,
            other=each.collection,
            one_values=first.values,
            other_values=each.values,
            is_partial=True,
        )
        gains = compare_settings([contest] if number else [])
        settings.append(Setting(evaluation=each, differences=gains, parts=head_parts(each)))
    evaluation_page(settings, [collection.manifest] * len(settings), k=10, limits=limits).write(path)
    return read_page(path)


def unanswered(query: str, problem: str) -> Unanswered:
    """Returns the outcome of a query that could not be read."""
    error = ImageError(problem, reason=SkipReason.VANISHED)
    return Unanswered(query=query, file=None, error=error)


def head_parts(evaluation: Evaluation) -> list[PartFigures]:
    """Returns the figures of a head that was trained on every other image of the first two classes."""
    payloads = evaluation.images.payloads
    classes = evaluation.images.vectors.names[:2]
    trained = {each.sha256 for each in payloads[::2] if each.class_name in classes}
    best = best_values_of(evaluation.results)
    training = HeadTraining(trained=frozenset(trained), classes=frozenset(classes))
    return list(split_figures(evaluation.values, best, payloads, training=training))


def group(collection: Collection, kept: int, *others: int) -> Group:
    """Returns a group of images: the first other has the same bytes, the last is not offered."""

    def member(row: int, *, identical: bool, redundant: bool) -> Member:
        there = collection.file(row).exists()
        return Member(
            payload=collection.payloads[row],
            file=collection.file(row),
            state=FileState.PRESENT if there else FileState.GONE,
            similarity=1.0 if identical else 0.9931,
            match=Match.IDENTICAL if identical else Match.NEAR_DUPLICATE,
            is_redundant=redundant,
            frees=2_000 if redundant else 0,
        )

    return Group(
        kept=member(kept, identical=True, redundant=False),
        because=KeptBecause.PIXELS,
        others=[
            member(row, identical=place == 0, redundant=row != others[-1]) for place, row in enumerate(others)
        ],
    )


Kind = Literal["query", "evaluation", "duplicates"]


def write_page(kind: Kind, collection: Collection, path: Path) -> ReadPage:
    """Writes one page of each kind with every section on it."""
    if kind == "query":
        gone = unanswered(f"{HOSTILE}\0\u202e", "it is <not> there\u202e")
        return query_page(collection, path, *(collection.answer(row) for row in range(0, 36, 5)), gone)
    if kind == "evaluation":
        second = replace(collection.evaluation, collection="vgg16-euclid")
        return evaluated_page(collection, path, collection.evaluation, second)
    groups = [group(collection, 0, 1, 2, 3), group(collection, 12, 13)]
    duplicates_page(groups, collection="vgg16-cosine", above=0.99).write(path)
    return read_page(path)


KINDS: tuple[Kind, ...] = ("query", "evaluation", "duplicates")
