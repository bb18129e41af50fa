"""Calibrates a collection: reads it, learns from it, and records the calibration in its manifest."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from lookalike_core import progress
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.hints import Action, Hint
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.neighbours.rank_fusion import CANDIDATES
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.overlapping_roots import first_of_each_file
from lookalike_core.stores.protocol import Collection, Store, require_writable

from lookalike_search.evaluation.calibration import describe_shortage, learn_calibration
from lookalike_search.evaluation.labelled_vectors import LabelledImages, load_labelled
from lookalike_search.evaluation.leave_one_out import leave_one_out


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRun:
    """The calibration of a collection; `unlabelled` images have no class and were left out."""

    collection: str
    calibration: Calibration
    unlabelled: int
    distance: Distance

    def score(self, nearness: float) -> float:
        """Returns a nearness as Qdrant's own score: cosine similarity, or Euclidean distance."""
        return float(nearness if self.distance.higher_is_nearer else -nearness)


def calibrate_collection(store: Store, name: str, *, seed: int = 0) -> CalibrationRun:
    """Learns how often neighbours and verdicts are right, and stores that as the collection's calibration.

    The collection is closed while it is learned from. `seed` draws the halves that are held out.

    Raises:
        CollectionMissingError: there is no such collection.
        StoreError: the collection may only be read.
        UsageError: too few images have a class, or there are too few classes.
        LookalikeError: the collection changed during the calibration; nothing was stored.
    """
    require_writable(store, name)
    with store.open(name) as source:
        revision = source.mark_revision()
        manifest, points, images = source.manifest, source.count(), load_labelled(source)
    calibration = replace(_learn(name, manifest, images, points=points, seed=seed), revision=revision)
    with store.open(name) as source:
        if not _is_as_read(source, points, images):  # a write may have been on its way when it was marked
            raise LookalikeError(f"{name} changed while it was being calibrated", hint=Hint(Action.REPEAT))
        source.record_calibration(calibration)
    return CalibrationRun(
        collection=name,
        calibration=calibration,
        unlabelled=images.unlabelled,
        distance=manifest.distance,
    )


def _learn(
    name: str,
    manifest: CollectionManifest,
    images: LabelledImages,
    *,
    points: int,
    seed: int,
) -> Calibration:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with progress.bar(name, unit="images", total=len(images.payloads)) as bar:
        results = leave_one_out(images.vectors, depth=CANDIDATES, on_done=bar.advance)
    found = learn_calibration(images.vectors, results, manifest, points=points, created_at=now, seed=seed)
    if found is not None:
        return found
    missing = describe_shortage(images.vectors, results) or "its images have too few neighbours to calibrate"
    raise UsageError(
        f"{name}: {missing}; put more images into folders named after their classes, and ingest them"
    )


def _is_as_read(source: Collection, points: int, images: LabelledImages) -> bool:
    found = list(source.scan())
    read = {payload.id: payload for payload in images.payloads}
    unique = first_of_each_file(found, source.manifest)
    same = {payload.id: payload for payload in unique if payload.class_name} == read
    return same and len(found) == points
