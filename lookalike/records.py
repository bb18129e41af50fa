"""What an index answers: records of plain values and arrays, of which some show themselves in a notebook."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from lookalike_core.errors import ImageError
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.images.scan import Skipped
from lookalike_core.neighbours.vote import Verdict, VoteRule
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.overlapping_roots import file_of
from lookalike_core.stores.points import Payload, SearchHit
from lookalike_ingest.changes import Change
from lookalike_ingest.report import GoneDataset, IngestReport, OverlappingDataset
from lookalike_search.analysis.all_neighbours import SceneList
from lookalike_search.analysis.attribution import Pair, strongest_pairs
from lookalike_search.analysis.collection_map import CollectionMap
from lookalike_search.analysis.duplicates import Group
from lookalike_search.analysis.explanation import Explained, SeenImage
from lookalike_search.asking.answers import Answer as FoundAnswer
from lookalike_search.asking.answers import NearDuplicate as FoundNearDuplicate
from lookalike_search.asking.answers import Neighbour, Placing, QueryOptions, Unanswered
from lookalike_search.evaluation.bootstrap import Estimate
from lookalike_search.evaluation.comparisons import Comparison
from lookalike_search.evaluation.runs import Setting
from lookalike_search.evaluation.summary import ClassFigures
from lookalike_search.evaluation.summary import Evaluation as FoundEvaluation
from numpy.typing import NDArray

from lookalike.arguments import whole
from lookalike.notebook import ShownAsPage


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which images to look at; None leaves a field open. `class_name=""` means those without a class."""

    class_name: str | None = None
    dataset: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """An image of an index, without its vector.

    `path` is POSIX and relative to the dataset's folder; `file` is where it lies, None where the folder is
    not known. `sha256` is that of the file's bytes; `width` and `height` are pixels as shown; `bytes` is the
    size of the file, `mtime_ns` when it was changed, in nanoseconds since 1970; `ingested_at` is ISO 8601 in
    UTC.
    """

    id: str
    dataset: str
    path: str
    class_name: str | None
    file: Path | None
    sha256: str
    width: int
    height: int
    bytes: int
    mtime_ns: int
    ingested_at: str

    @classmethod
    def _of(cls, payload: Payload, manifest: CollectionManifest) -> "Point":
        """Returns the record of a stored payload."""
        return cls(
            id=payload.id,
            dataset=payload.dataset,
            path=payload.path,
            class_name=payload.class_name,
            file=file_of(manifest, payload.dataset, payload.path),
            sha256=payload.sha256,
            width=payload.width,
            height=payload.height,
            bytes=payload.bytes,
            mtime_ns=payload.mtime_ns,
            ingested_at=payload.ingested_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """A hit that is folded into a better ranked one; `score` is its own, as that and `also_in` of a `Hit`."""

    score: float
    class_name: str | None
    path: str
    dataset: str
    file: Path | None
    id: str
    also_in: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    @classmethod
    def _of(cls, found: FoundNearDuplicate) -> "NearDuplicate":
        """Returns the record of what a search folded."""
        payload = found.payload
        return cls(
            score=found.score,
            class_name=payload.class_name,
            path=payload.path,
            dataset=payload.dataset,
            file=found.file,
            id=payload.id,
            also_in={each.dataset: each.path for each in found.also_in},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A neighbour: `rank` counts from 1.

    `score` is Qdrant's own: cosine similarity, of which the higher is nearer, or Euclidean distance, of which
    the lower is; of a fused index it is the fused one, of which the higher is nearer, and `placings` says for
    each collection where the neighbour stands there. `chance` is the estimated chance that it has the query's
    class, 0 to 1, None where the index is not calibrated. `also_in` names other datasets that hold the same
    file, since their folders overlap, each with the path that it has there. `near` are the near-duplicates
    that `without_near` folds into it, best first.
    """

    rank: int
    score: float
    class_name: str | None
    path: str
    dataset: str
    file: Path | None
    id: str
    chance: float | None = None
    placings: Mapping[str, Placing | None] = field(default_factory=dict, repr=False, hash=False)
    also_in: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    near: Sequence[NearDuplicate] = field(default=(), repr=False, hash=False)

    @classmethod
    def _of(cls, neighbour: Neighbour) -> "Hit":
        """Returns the record of what a search found."""
        payload = neighbour.payload
        return cls(
            rank=neighbour.rank,
            score=neighbour.score,
            class_name=payload.class_name,
            path=payload.path,
            dataset=payload.dataset,
            file=neighbour.file,
            id=payload.id,
            chance=neighbour.chance,
            placings=neighbour.placings,
            also_in={each.dataset: each.path for each in neighbour.also_in},
            near=tuple(NearDuplicate._of(near) for near in neighbour.near),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer(ShownAsPage, Sequence[Hit]):
    """The nearest neighbours of one image, best first: a sequence of `Hit`.

    `query` is what the image was given as. `verdict` is the class that the neighbours vote for, None where
    none of them has one, or where the index is calibrated and the image is `unlike_anything` in it;
    `verdict_chance` is the estimated chance that it is right, 0 to 1. `provider` is the execution provider
    that embedded the image, None where its vector was known. `took_ms` says what `load`, `embed` and `search`
    took. `error` says why there is no answer, of what could not be read among several images.

    `left_out_total` says how many other images have the same bytes as the image or an example, which are no
    hits unless `include_self` keeps them; `left_out` holds the first of them, at most `limit`. `passed_over`
    says how many neighbours `offset` passed over, and `cut_off` how many of the next ones, at most `limit`,
    `min_score` or `max_distance` left out.
    """

    query: str
    """What the image was given as: its path, or a word for what has none."""
    hits: Sequence[Hit]
    """The neighbours, best first."""
    verdict: Verdict | None = None
    """The class that the neighbours vote for, if any."""
    verdict_chance: float | None = None
    """The estimated chance, 0 to 1, that the verdict is right; None where no calibration says."""
    unlike_anything: bool | None = None
    """Whether nothing in the index is near the image; None where no calibration says."""
    provider: str | None = None
    """The execution provider that embedded the image; None where its vector was known."""
    took_ms: Mapping[str, float] = field(default_factory=dict)
    """What `load`, `embed` and `search` took, in milliseconds."""
    collections: Sequence[str] = ()
    """The names of the collections that were asked."""
    error: ImageError | None = None
    """Why there is no answer."""
    left_out: Sequence[Point] = ()
    """Other images with the same bytes as the image or an example, at most `limit`."""
    left_out_total: int = 0
    """How many of those there are."""
    passed_over: int = 0
    cut_off: int = 0
    _outcome: FoundAnswer | Unanswered = field(repr=False)
    _manifests: Sequence[CollectionManifest] = field(repr=False)
    _options: QueryOptions = field(repr=False)

    @classmethod
    def _of(
        cls,
        outcome: FoundAnswer | Unanswered,
        manifests: Sequence[CollectionManifest],
        options: QueryOptions,
    ) -> "Answer":
        """Returns the record of what a search found in collections of these manifests."""
        shared: dict[str, Any] = {
            "query": outcome.query,
            "collections": [manifest.name or manifest.collection for manifest in manifests],
            "_outcome": outcome,
            "_manifests": manifests,
            "_options": options,
        }
        if isinstance(outcome, Unanswered):
            return cls(hits=(), error=outcome.error, **shared)
        return cls(
            hits=[Hit._of(neighbour) for neighbour in outcome.hits],
            verdict=outcome.verdict,
            verdict_chance=outcome.verdict_chance,
            unlike_anything=outcome.unlike_anything,
            provider=outcome.provider,
            took_ms={"load": outcome.load_ms, "embed": outcome.embed_ms, "search": outcome.search_ms},
            left_out=[
                replace(Point._of(each.payload, manifests[0]), file=each.file) for each in outcome.left_out
            ],
            left_out_total=outcome.left_out_total,
            passed_over=outcome.passed_over,
            cut_off=outcome.cut_off,
            **shared,
        )

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Hit]: ...

    def __getitem__(self, index: int | slice) -> Hit | Sequence[Hit]:
        return self.hits[index]

    def to_html(self) -> str:
        """Returns the page of `search query --html` for this answer."""
        from lookalike_search.reports.query import query_page, query_report

        report = query_report([self._outcome], self._manifests, self._options)
        return query_page(report, max_pixels=self._options.max_pixels).html()


@dataclass(frozen=True, slots=True, kw_only=True)
class AddReport:
    """What became of a folder's images, counted.

    `found` were there; `added` are new in the index, `updated` have other bytes or another class, `moved` lie
    elsewhere, `unchanged` needed nothing and `removed` went, of which `excluded` are left out by rules now;
    `away` are the paths of those that pruning left, for their folders are empty, as where a disk is not
    mounted, without pruning only of those found elsewhere, too, and `removed_paths` those of what went.
    `skipped` could not be read, each with its `path` and `reason`. `linked_folders` are links that were not
    followed, `split_classes` the classes where all are parts of a split, as train and val. `rules` are those
    that the folder was walked by. `gone_datasets` are other datasets of the index whose folder is gone and
    whose images are here, too, `overlapping_datasets` those whose folder is this one, lies in it or around
    it. `provider` is the execution provider, None where nothing was embedded.
    """

    collection: str
    dataset: str
    root: Path
    found: int
    added: int
    updated: int
    moved: int
    unchanged: int
    removed: int
    excluded: int
    away: Sequence[str]
    removed_paths: Sequence[str]
    linked_folders: int
    split_classes: Sequence[str]
    rules: FolderRules
    gone_datasets: Sequence[GoneDataset]
    overlapping_datasets: Sequence[OverlappingDataset]
    skipped: Sequence[Skipped]
    provider: str | None
    took_s: float
    images_per_second: float
    calibration_dropped: bool

    @classmethod
    def _of(cls, report: IngestReport) -> "AddReport":
        """Returns the record of an ingest into one collection."""
        [collection] = report.collections
        counts = {change.value: collection.counts[change] for change in Change}
        return cls(
            collection=collection.name,
            dataset=report.dataset.name,
            root=report.dataset.root,
            found=report.found,
            added=counts["added"],
            updated=counts["updated"],
            moved=counts["moved"],
            unchanged=counts["unchanged"],
            removed=collection.counts["removed"],
            excluded=collection.counts["excluded"],
            away=tuple(collection.away),
            removed_paths=tuple(collection.removed),
            linked_folders=report.others.linked_folders,
            split_classes=tuple(report.split_classes),
            rules=report.dataset.rules,
            gone_datasets=tuple(report.gone_datasets),
            overlapping_datasets=tuple(report.overlapping),
            skipped=tuple(report.skipped),
            provider=collection.provider,
            took_s=report.took_s,
            images_per_second=report.images_per_second,
            calibration_dropped=collection.calibration_dropped,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation(ShownAsPage):
    """How good an index's neighbours are: every labelled image asked for the others, and the classes told.

    Each figure is an `Estimate`: `value`, and `low` and `high`, a 95 % bootstrap interval over the queries,
    NaN where those are too few. `best_possible` are the figures that a perfect ranking would have, below 1
    where classes are small. `alone` is how many images have no other of their class to find: nothing can be
    right for them, and no figure counts them. `in_small_classes` is how many have fewer than ten others.
    `values` are those of single queries, float64 `[N]` by figure, NaN where no figure counts them, in the
    order of `points`; `confusion` int64 `[C, C]` counts the neighbours of each class (column) that queries of
    each class (row) have, in the order of `class_names`. `classes` are the figures of each class alone.
    `differences` of fused indexes compare it with each index alone, over the images that both hold.
    """

    collection: str
    precision_at_1: Estimate
    precision_at_5: Estimate
    precision_at_10: Estimate
    mean_average_precision: Estimate
    at_least_5_of_10: Estimate
    best_possible: Mapping[str, float]
    alone: int
    in_small_classes: int
    accuracy: Mapping[VoteRule, Estimate]
    classes: Sequence[ClassFigures]
    class_names: Sequence[str]
    confusion: NDArray[np.int64]
    points: Sequence[Point]
    values: Mapping[str, NDArray[np.float64]]
    differences: Sequence[Comparison]
    details: FoundEvaluation = field(repr=False)
    _setting: Setting = field(repr=False)
    _manifest: CollectionManifest = field(repr=False)
    _k: int = field(repr=False)

    @classmethod
    def _of(cls, setting: Setting, manifest: CollectionManifest, *, k: int) -> "Evaluation":
        """Returns the record of an evaluation by the votes of `k` neighbours."""
        found = setting.evaluation
        return cls(
            collection=found.collection,
            **found.figures,
            best_possible=found.best_possible,
            alone=int(found.alone.sum()),
            in_small_classes=int(found.in_small_classes.sum()),
            accuracy=found.accuracy,
            classes=found.classes,
            class_names=found.images.vectors.names,
            confusion=found.confusion,
            points=[Point._of(payload, manifest) for payload in found.images.payloads],
            values=found.values,
            differences=setting.differences,
            details=found,
            _setting=setting,
            _manifest=manifest,
            _k=k,
        )

    def to_html(self) -> str:
        """Returns the page of `search evaluate --html` for this evaluation."""
        from lookalike_search.reports.evaluation import evaluation_page, evaluation_report

        report = evaluation_report([self._setting], [self._manifest], k=self._k)
        return evaluation_page(report).html()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Duplicates(ShownAsPage, Sequence[Group]):
    """Groups of the same image, those that are proven first: a sequence of `Group`.

    Of a group, `kept` is the file to keep and `others` are the rest; `redundant` could be deleted. Nothing is
    deleted by looking.
    """

    collection: str
    groups: Sequence[Group]
    above: float

    def __len__(self) -> int:
        return len(self.groups)

    @overload
    def __getitem__(self, index: int) -> Group: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Group]: ...

    def __getitem__(self, index: int | slice) -> Group | Sequence[Group]:
        return self.groups[index]

    @property
    def redundant(self) -> list[Path]:
        """The files that could be deleted: each has one that stays, proven to be the same and as large."""
        return [member.file for group in self.groups for member in group.redundant if member.file is not None]

    @property
    def frees(self) -> int:
        """How many bytes deleting them would free."""
        return sum(group.frees for group in self.groups)

    def to_html(self) -> str:
        """Returns the page of `search duplicates --html` for these groups."""
        from lookalike_search.reports.duplicates import duplicates_page, duplicates_report

        report = duplicates_report(self.groups, collection=self.collection, above=self.above)
        return duplicates_page(report).html()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neighbours:
    """The nearest neighbours of each of N images, as arrays.

    `rows` int64 `[N, k]` are places in `points`, best first, -1 where there are no more; `scores` float64
    `[N, k]` are Qdrant's own, NaN there. `near` holds, by the row and column of a hit, the near-duplicates
    that `without_near` folds into it, each by its place in `points` and its score. Iterating gives each point
    with its hits.
    """

    points: Sequence[Point]
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    near: Mapping[tuple[int, int], Sequence[tuple[int, float]]] = field(default_factory=dict, repr=False)

    @classmethod
    def _of(cls, found: Sequence[SceneList], manifest: CollectionManifest, *, k: int) -> "Neighbours":
        """Returns the record of what every image found."""
        places = {payload.id: row for row, (payload, _) in enumerate(found)}
        rows = np.full((len(found), k), -1, dtype=np.int64)
        scores = np.full((len(found), k), np.nan)
        near: dict[tuple[int, int], Sequence[tuple[int, float]]] = {}

        def there(hits: Iterable[SearchHit]) -> list[tuple[int, float]]:
            return [(places[hit.payload.id], hit.score) for hit in hits if hit.payload.id in places]

        for row, (_, scenes) in enumerate(found):
            known = [scene for scene in scenes if scene.hit.payload.id in places]
            for column, scene in enumerate(known):
                [(rows[row, column], scores[row, column])] = there([scene.hit])
                if folded := there(scene.near):
                    near[row, column] = folded
        points = [Point._of(payload, manifest) for payload, _ in found]
        return cls(points=points, rows=rows, scores=scores, near=near)

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[tuple[Point, list[Hit]]]:
        for row, point in enumerate(self.points):
            found = zip(self.rows[row].tolist(), self.scores[row].tolist(), strict=True)
            yield (
                point,
                [
                    Hit(
                        rank=column + 1,
                        score=score,
                        near=tuple(
                            NearDuplicate(score=near_score, **self._image(near))
                            for near, near_score in self.near.get((row, column), ())
                        ),
                        **self._image(place),
                    )
                    for column, (place, score) in enumerate(found)
                    if place >= 0
                ],
            )

    def _image(self, place: int) -> dict[str, Any]:
        point = self.points[place]
        return {
            "class_name": point.class_name,
            "path": point.path,
            "dataset": point.dataset,
            "file": point.file,
            "id": point.id,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Map(ShownAsPage):
    """An index in two dimensions: `places` float64 `[N, 2]` are those of `points`, near ones near.

    `total` is how many images the index holds, of which at most so many were drawn as were asked for.
    `trustworthiness` is 1 where nobody is a neighbour on the map who is none in the index, about 0.5 where
    places are random, and None for a handful of images.
    """

    collection: str
    points: Sequence[Point]
    places: NDArray[np.float64]
    total: int
    trustworthiness: float | None
    details: CollectionMap = field(repr=False)
    _seed: int = field(repr=False)

    @classmethod
    def _of(cls, drawn: CollectionMap, *, seed: int) -> "Map":
        """Returns the record of a map that was drawn with a seed."""
        sampled = drawn.sampled
        return cls(
            collection=sampled.collection,
            points=[Point._of(payload, sampled.manifest) for payload in sampled.payloads],
            places=drawn.projection.places,
            total=sampled.total,
            trustworthiness=drawn.trust.trustworthiness if drawn.trust else None,
            details=drawn,
            _seed=seed,
        )

    def to_html(self) -> str:
        """Returns the page of `search map`."""
        from lookalike_search.reports.map import map_page

        page, _ = map_page(self.details, seed=self._seed)
        return page.html()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation(ShownAsPage):
    """Where in two images their similarity comes from.

    `query_shares` and `neighbour_shares` float64 `[H, W]` are what each cell of the image's centre square
    adds to `cosine`, the cosine similarity: each sums up to it. `score` is what a search shows for the
    neighbour.
    """

    collection: str
    score: float
    cosine: float
    query_shares: NDArray[np.float64]
    neighbour_shares: NDArray[np.float64]
    provider: str
    details: Explained = field(repr=False)
    _images: tuple[SeenImage, SeenImage] = field(repr=False)

    @classmethod
    def _of(cls, explained: Explained, images: tuple[SeenImage, SeenImage]) -> "Explanation":
        """Returns the record of what a network makes of two images."""
        return cls(
            collection=explained.collection,
            score=explained.score,
            cosine=explained.explanation.cosine,
            query_shares=explained.explanation.query,
            neighbour_shares=explained.explanation.neighbour,
            provider=explained.provider,
            details=explained,
            _images=images,
        )

    def strongest_pairs(self, count: int = 5) -> list[Pair]:
        """Returns the pairs of cells that add most, each with its `query`, `neighbour` and `part`."""
        return strongest_pairs(self.details.explanation, whole(count, "count"))

    def to_html(self) -> str:
        """Returns the page of `search explain --html` for these images."""
        from lookalike_search.reports.explanation import explanations_page

        return explanations_page(self._images, [self.details]).html()
