"""Records that an index returns, of plain values and arrays; some are shown as pages in a notebook."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, overload

import numpy as np
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.images.region import Part
from lookalike_core.images.scan import Skipped
from lookalike_core.neighbours.vote import Verdict, VoteRule
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.overlapping_roots import file_of
from lookalike_core.stores.points import Payload, SearchHit
from lookalike_ingest.changes import Change
from lookalike_ingest.report import GoneDataset, IngestReport, OverlappingDataset
from lookalike_search.analysis.all_neighbours import ChosenScenes
from lookalike_search.analysis.attribution import Pair, strongest_pairs
from lookalike_search.analysis.audit import Audit as FoundAudit
from lookalike_search.analysis.audit import ClassOverlap, FaultyImage, NearPair, Outlier, WrongLabel
from lookalike_search.analysis.collection_map import CollectionMap
from lookalike_search.analysis.duplicates import Group
from lookalike_search.analysis.explanation import Explained, SeenImage
from lookalike_search.analysis.inversion_attack import Asymmetry, Row
from lookalike_search.analysis.privacy import LeftOut, PrivacyReport
from lookalike_search.asking.answers import Answer as FoundAnswer
from lookalike_search.asking.answers import (
    Located,
    Neighbour,
    Placing,
    PredictionSet,
    QueryOptions,
    Unanswered,
)
from lookalike_search.asking.answers import NearDuplicate as FoundNearDuplicate
from lookalike_search.evaluation.bootstrap import Estimate
from lookalike_search.evaluation.comparisons import Comparison
from lookalike_search.evaluation.runs import Setting
from lookalike_search.evaluation.summary import ClassFigures
from lookalike_search.evaluation.summary import Evaluation as FoundEvaluation
from lookalike_search.evaluation.vote_study import VoteStudy
from numpy.typing import NDArray

from lookalike.arguments import check_whole
from lookalike.notebook import ShownAsPage


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A filter for images: those that meet all of its conditions."""

    class_name: str | Sequence[str] | None = None
    """Only images of this class, or of one of several; "" for those without a class, None for all."""
    dataset: str | None = None
    """Only images of this dataset; None for all."""
    not_class: str | Sequence[str] | None = None
    """No images of this class, or of any of several; "" for those without a class."""
    path: str | Sequence[str] | None = None
    """Only images in this folder or below it, or in one of several; relative to their dataset's folder."""
    since: str | date | None = None
    """Only images taken then or later: a date, a time, or one of them as text in ISO 8601. A time without a
    zone is in UTC."""
    until: str | date | None = None
    """Only images taken then or earlier; a date without a time is its whole day."""
    min_width: int | None = None
    """Only images that are at least so many pixels wide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """An image of an index, without its vector."""

    id: str
    """A UUID, computed from the dataset and the path."""
    dataset: str
    """The name of its dataset."""
    path: str
    """Its path below the dataset's folder, with `/` between folders."""
    class_name: str | None
    """Its class; None where it has none."""
    file: Path | None
    """The path of its file; None where the dataset's folder is not known."""
    sha256: str
    """The SHA-256 of the file's bytes, in hex."""
    width: int
    """Pixels, as the image is shown."""
    height: int
    """Pixels, as the image is shown."""
    bytes: int
    """The size of the file."""
    mtime_ns: int
    """When the file was last changed, in nanoseconds since 1970."""
    ingested_at: str
    """When it was indexed, ISO 8601 in UTC."""
    taken_at: str | None = None
    """When it was taken by EXIF, else when its file was last changed, ISO 8601 in UTC; None if an older
    version indexed it."""

    @classmethod
    def _of(cls, payload: Payload, manifest: CollectionManifest) -> "Point":
        """Returns the record of a stored payload."""
        return cls(
            **_identify(payload),
            file=file_of(manifest, payload.dataset, payload.path),
            sha256=payload.sha256,
            width=payload.width,
            height=payload.height,
            bytes=payload.bytes,
            mtime_ns=payload.mtime_ns,
            ingested_at=payload.ingested_at,
            taken_at=payload.taken_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """A hit that is folded into a better ranked one."""

    score: float
    """Its own score, as that of a `Hit`."""
    class_name: str | None
    """Its class; None where it has none."""
    path: str
    """Its path below the dataset's folder."""
    dataset: str
    """The name of its dataset."""
    file: Path | None
    """The path of its file; None where the dataset's folder is not known."""
    id: str
    """The id of its point."""
    also_in: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    """Other datasets that hold the same file, since their folders overlap -> its path there."""

    @classmethod
    def _of(cls, found: FoundNearDuplicate) -> "NearDuplicate":
        """Returns the record of a folded hit."""
        return cls(**_describe(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A nearest neighbour of a query."""

    rank: int
    """Its place, from 1."""
    score: float
    """Cosine similarity (higher is nearer) or Euclidean distance (lower is nearer), as Qdrant computes it; of
    a fused index the fused score (higher is nearer)."""
    class_name: str | None
    """Its class; None where it has none."""
    path: str
    """Its path below the dataset's folder."""
    dataset: str
    """The name of its dataset."""
    file: Path | None
    """The path of its file; None where the dataset's folder is not known."""
    id: str
    """The id of its point."""
    chance: float | None = None
    """The estimated probability that it has the query's class; None where the index is not calibrated."""
    placings: Mapping[str, Placing | None] = field(default_factory=dict, repr=False, hash=False)
    """For a fused index: collection -> rank and score there, None where the image is not in it."""
    also_in: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    """Other datasets that hold the same file, since their folders overlap -> its path there."""
    near: Sequence[NearDuplicate] = field(default=(), repr=False, hash=False)
    """The near-duplicates that `without_near` folds into it, best first."""
    located: Located | SkipReason | None = field(default=None, repr=False, hash=False)
    """With `locate`: where in it the similarity comes from, or why its file could not be read."""

    @classmethod
    def _of(cls, neighbour: Neighbour) -> "Hit":
        """Returns the record of a hit."""
        return cls(
            **_describe(neighbour),
            rank=neighbour.rank,
            chance=neighbour.chance,
            placings=neighbour.placings,
            near=tuple(NearDuplicate._of(near) for near in neighbour.near),
            located=neighbour.located,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer(ShownAsPage, Sequence[Hit]):
    """The nearest neighbours of one image, best first: a sequence of `Hit`."""

    query: str
    """The path of the image, or a description of one without a path."""
    hits: Sequence[Hit]
    """The neighbours, best first."""
    verdict: Verdict | None = None
    """The class that the neighbours vote for; None where none has one, or `unlike_anything`."""
    verdict_chance: float | None = None
    """The estimated probability that the verdict is right; None where the index is not calibrated."""
    unlike_anything: bool | None = None
    """Whether the image is out-of-distribution; None where the index is not calibrated."""
    prediction_set: PredictionSet | None = None
    """The classes among which the image's own is, with the `confidence` that was asked for; None without
    one. An image `unlike_anything` has a set, too, for images of the same kind as the index's."""
    provider: str | None = None
    """The execution provider that embedded the image; None where its vector was stored."""
    took_ms: Mapping[str, float] = field(default_factory=dict)
    """The times of `load`, `embed` and `search`, in milliseconds."""
    collections: Sequence[str] = ()
    """The names of the collections that were searched."""
    error: ImageError | None = None
    """Why the image could not be read; None where it could."""
    left_out: Sequence[Point] = ()
    """The first other images with the same bytes as the query or an example, at most `limit`; `include_self`
    makes them hits."""
    left_out_total: int = 0
    """The number of all such images."""
    passed_over: int = 0
    """The number of neighbours that `offset` passed over."""
    cut_off: int = 0
    """The number of the next neighbours, at most `limit`, that `min_score`, `max_distance` or `min_chance`
    left out."""
    part: Part | None = None
    """The part of the image that was searched with; None without a region."""
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
        """Returns the record of a search's answer from collections with these manifests."""
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
            prediction_set=outcome.prediction_set,
            provider=outcome.provider,
            took_ms={"load": outcome.load_ms, "embed": outcome.embed_ms, "search": outcome.search_ms},
            left_out=[
                replace(Point._of(each.payload, manifests[0]), file=each.file) for each in outcome.left_out
            ],
            left_out_total=outcome.left_out_total,
            passed_over=outcome.passed_over,
            cut_off=outcome.cut_off,
            part=outcome.part,
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
        from lookalike_search.reports.query import query_page

        return query_page([self._outcome], self._manifests, self._options).html()


@dataclass(frozen=True, slots=True, kw_only=True)
class AddReport:
    """What `Index.add` did with a folder."""

    collection: str
    """The name of the collection."""
    dataset: str
    """The name of the dataset."""
    root: Path
    """The folder."""
    found: int
    """Image files in the folder."""
    added: int
    """Images that are new in the index."""
    updated: int
    """Images with other bytes or another class than before."""
    moved: int
    """Images that have another path than before."""
    unchanged: int
    """Images that are as before."""
    removed: int
    """Images that were taken out of the index."""
    excluded: int
    """Removed images that the rules now exclude."""
    away: Sequence[str]
    """Paths that `prune` kept since their folders are empty, as of an unmounted disk; without `prune` only
    those whose images were found elsewhere."""
    removed_paths: Sequence[str]
    """The paths of the removed images."""
    waiting: int
    """Images whose files are gone, and that stay until they have been for the time of `prune_after`."""
    linked_folders: int
    """Links to folders that were not followed."""
    split_classes: Sequence[str]
    """The classes, if all are named like parts of a split, such as train and val; else none."""
    rules: FolderRules
    """The rules by which the folder was searched for images."""
    gone_datasets: Sequence[GoneDataset]
    """Datasets of the index whose folder is gone, and whose images are in this folder."""
    overlapping_datasets: Sequence[OverlappingDataset]
    """Datasets whose folder is this one, lies in it or contains it."""
    skipped: Sequence[Skipped]
    """Files that could not be read, each with its `path` and `reason`."""
    provider: str | None
    """The execution provider; None where nothing was embedded."""
    took_s: float
    """Duration in seconds."""
    images_per_second: float
    """Images that were read, divided by the duration."""
    calibration_dropped: bool
    """Whether a calibration was dropped because the images changed."""

    @property
    def has_changes(self) -> bool:
        """Whether images were added, updated, moved or removed."""
        return bool(self.added or self.updated or self.moved or self.removed)

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
            waiting=collection.waiting,
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
    """How good an index's neighbours are, by leave-one-out over all images with a class.

    Each figure is an `Estimate`: a `value` with `low` and `high`, a 95 % bootstrap interval over the queries,
    NaN where those are too few.
    """

    collection: str
    """The name of the collection, or of several fused."""
    precision_at_1: Estimate
    """The share of nearest neighbours that have the query's class."""
    precision_at_5: Estimate
    """The share of the 5 nearest that have the query's class."""
    precision_at_10: Estimate
    """The share of the 10 nearest that have the query's class."""
    mean_average_precision: Estimate
    """The mean of the queries' average precision over the whole ranking."""
    at_least_5_of_10: Estimate
    """The share of queries with at least 5 of their class among their 10 nearest."""
    best_possible: Mapping[str, float]
    """Figure -> its value for a perfect ranking, below 1 where classes are small."""
    alone: int
    """Images that are the only one of their class, which no figure counts."""
    in_small_classes: int
    """Images with fewer than ten others of their class."""
    accuracy: Mapping[VoteRule, Estimate]
    """Rule -> the share of queries whose verdict is right."""
    classes: Sequence[ClassFigures]
    """The figures of each class."""
    class_names: Sequence[str]
    """The classes, in the order of `confusion`."""
    confusion: NDArray[np.int64]
    """Int64 `[C, C]`: how many neighbours of each class (column) the queries of each class (row) have."""
    points: Sequence[Point]
    """The images, in the order of `values`."""
    values: Mapping[str, NDArray[np.float64]]
    """Figure -> the values of single queries, float64 `[N]`, NaN where the figure does not count them."""
    differences: Sequence[Comparison]
    """For fused indexes: the differences from each index alone, over the images that both hold."""
    vote_study: VoteStudy | None
    """How votes depend on their number and on noise; None for one `k` and no `noise`."""
    details: FoundEvaluation = field(repr=False)
    """The evaluation with all its figures."""
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
            vote_study=found.vote_study,
            details=found,
            _setting=setting,
            _manifest=manifest,
            _k=k,
        )

    def to_html(self) -> str:
        """Returns the page of `search evaluate --html` for this evaluation."""
        from lookalike_search.reports.evaluation import evaluation_page

        return evaluation_page([self._setting], [self._manifest], k=self._k).html()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Duplicates(ShownAsPage, Sequence[Group]):
    """Groups of duplicates, those that are proven first: a sequence of `Group`. Nothing is deleted."""

    collection: str
    """The name of the collection."""
    groups: Sequence[Group]
    """The groups: `kept` is the file to keep of each, and its `redundant` others could be deleted."""
    above: float
    """The cosine similarity over which images are shown as similar."""

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
        """The files that could be deleted; of each a proven duplicate of at least its size is kept."""
        return [member.file for group in self.groups for member in group.redundant if member.file is not None]

    @property
    def frees(self) -> int:
        """How many bytes deleting the redundant files would free."""
        return sum(group.frees for group in self.groups)

    def to_html(self) -> str:
        """Returns the page of `search duplicates --html` for these groups."""
        from lookalike_search.reports.duplicates import duplicates_page

        return duplicates_page(self.groups, collection=self.collection, above=self.above).html()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audit(ShownAsPage):
    """What an audit of an index found; nothing was changed."""

    collection: str
    """The name of the collection."""
    noise: float | None
    """The estimated share of wrong labels; None where none could be judged."""
    wrong_labels: Sequence[WrongLabel]
    """The images whose class is probably wrong, the likeliest first."""
    outliers: Sequence[Outlier]
    """The images that are unlike any class: first those without a class, then those with one."""
    near_pairs: Sequence[NearPair]
    """Images that are the same or nearly so, but of other classes, datasets or splits."""
    overlaps: Sequence[ClassOverlap]
    """Classes that neighbours cannot tell apart."""
    faults: Sequence[FaultyImage] | None
    """Blank, dark and blurred images; None where no files were read."""
    notes: Sequence[str]
    """Why something was not audited."""
    details: FoundAudit = field(repr=False)
    """The audit with its counts."""
    _false_discoveries: float = field(repr=False)

    @classmethod
    def _of(cls, found: FoundAudit, *, false_discoveries: float) -> "Audit":
        """Returns the record of an audit."""
        return cls(
            collection=found.collection,
            noise=found.noise,
            wrong_labels=found.wrong_labels,
            outliers=found.outliers,
            near_pairs=found.near_pairs,
            overlaps=found.overlaps,
            faults=found.faults,
            notes=found.notes,
            details=found,
            _false_discoveries=false_discoveries,
        )

    def to_html(self) -> str:
        """Returns the page of `search audit --html` with at most 100 findings of each kind."""
        from lookalike_search.reports.audit import audit_page

        return audit_page(self.details, limit=100, false_discoveries=self._false_discoveries).html()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neighbours:
    """The nearest neighbours of each of N images, as arrays; iteration yields each point with its hits."""

    points: Sequence[Point]
    """The N images."""
    rows: NDArray[np.int64]
    """Int64 `[N, k]`: rows of `points`, best first, -1 where there are no more."""
    scores: NDArray[np.float64]
    """Float64 `[N, k]`: their scores, as that of a `Hit`, NaN where there are no more."""
    near: Mapping[tuple[int, int], Sequence[tuple[int, float]]] = field(default_factory=dict, repr=False)
    """Row and column of a hit -> the near-duplicates that `without_near` folds into it, each as its row of
    `points` and its score."""
    cut_off: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64), repr=False)
    """Int64 `[N]`: how many of the next neighbours, at most `k`, `min_chance` left out."""

    @classmethod
    def _of(cls, found: Sequence[ChosenScenes], manifest: CollectionManifest, *, k: int) -> "Neighbours":
        """Returns the record of every image's neighbours."""
        places = {each.payload.id: row for row, each in enumerate(found)}
        rows = np.full((len(found), k), -1, dtype=np.int64)
        scores = np.full((len(found), k), np.nan)
        near: dict[tuple[int, int], Sequence[tuple[int, float]]] = {}

        def there(hits: Iterable[SearchHit]) -> list[tuple[int, float]]:
            return [(places[hit.payload.id], hit.score) for hit in hits if hit.payload.id in places]

        for row, each in enumerate(found):
            known = [scene for scene in each.scenes if scene.hit.payload.id in places]
            for column, scene in enumerate(known):
                [(rows[row, column], scores[row, column])] = there([scene.hit])
                if folded := there(scene.near):
                    near[row, column] = folded
        points = [Point._of(each.payload, manifest) for each in found]
        cut_off = np.array([each.cut_off for each in found], dtype=np.int64)
        return cls(points=points, rows=rows, scores=scores, near=near, cut_off=cut_off)

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
        return {**_identify(point), "file": point.file}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Map(ShownAsPage):
    """A random sample of an index in two dimensions, where similar images are near each other."""

    collection: str
    """The name of the collection."""
    points: Sequence[Point]
    """The N images of the sample."""
    places: NDArray[np.float64]
    """Float64 `[N, 2]`: their places."""
    total: int
    """The number of images that the sample is drawn from."""
    trustworthiness: float | None
    """1 where all neighbours on the map are neighbours in the index, about 0.5 where places are random; None
    for fewer than 21 images."""
    details: CollectionMap = field(repr=False)
    """The map with its projection and measurements."""
    _seed: int = field(repr=False)

    @classmethod
    def _of(cls, drawn: CollectionMap, *, seed: int) -> "Map":
        """Returns the record of a map with its seed."""
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
    """The shares of cells of two images' centre squares in their similarity."""

    collection: str
    """The name of the collection."""
    score: float
    """The score of the neighbour in a search with the query."""
    cosine: float
    """The cosine similarity of the two vectors."""
    query_shares: NDArray[np.float64]
    """Float64 `[H, W]`: what each cell of the query adds to `cosine`; they sum up to it."""
    neighbour_shares: NDArray[np.float64]
    """Float64 `[H, W]`: what each cell of the neighbour adds to `cosine`."""
    provider: str
    """The execution provider that computed the cells."""
    details: Explained = field(repr=False)
    """The explanation with its images and vectors."""
    _images: tuple[SeenImage, SeenImage] = field(repr=False)

    @classmethod
    def _of(cls, explained: Explained, images: tuple[SeenImage, SeenImage]) -> "Explanation":
        """Returns the record of an explanation by one network."""
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
        return strongest_pairs(self.details.explanation, check_whole(count, "count"))

    def to_html(self) -> str:
        """Returns the page of `search explain --html` for these images."""
        from lookalike_search.reports.explanation import explanations_page

        return explanations_page(self._images, [self.details]).html()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Privacy(ShownAsPage):
    """What an attacker reconstructs from the vectors of an index, who has four fifths of the images as well.

    The figures are those of this attacker: a stronger one may see more.
    """

    collection: str
    """The name of the collection."""
    rows: Sequence[Row]
    """The figures of each group of images, and of what is shown in their place."""
    asymmetries: Sequence[Asymmetry]
    """How much more often an image is identified by a decoder that was trained on it, for each attacker."""
    images: int
    """The number of images that were attacked."""
    total: int
    """The number of images of different bytes, of which a sample was drawn."""
    left_out: Mapping[LeftOut, int]
    """Images of the sample whose file could not be used -> how many."""
    missing: Sequence[str]
    """Why groups or figures are left out."""
    details: PrivacyReport = field(repr=False)
    """The attack with its images."""
    _seed: int = field(repr=False)

    @classmethod
    def _of(cls, report: PrivacyReport, *, seed: int) -> "Privacy":
        """Returns the record of an attack with its seed."""
        return cls(
            collection=report.collection,
            rows=report.result.rows,
            asymmetries=report.result.asymmetries,
            images=len(report.payloads),
            total=report.total,
            left_out=report.left_out,
            missing=report.result.missing,
            details=report,
            _seed=seed,
        )

    def to_html(self) -> str:
        """Returns the page of `search privacy --html`."""
        from lookalike_search.reports.privacy import privacy_page

        return privacy_page(self.details, seed=self._seed).html()


def _describe(found: Neighbour | FoundNearDuplicate) -> dict[str, Any]:
    """Returns the fields that a hit and a near-duplicate share."""
    also_in = {each.dataset: each.path for each in found.also_in}
    return {**_identify(found.payload), "score": found.score, "file": found.file, "also_in": also_in}


def _identify(image: Payload | Point) -> dict[str, Any]:
    """Returns the fields that identify the image."""
    return {"id": image.id, "dataset": image.dataset, "path": image.path, "class_name": image.class_name}
