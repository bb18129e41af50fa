"""Making a collection anew from its own datasets, as this version makes them.

The new one is staged beside the old one, which stays as it is until the new one is whole and takes its
place. Interrupted, the same call goes on with what is staged.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter import ModelFile, ModelSpec, ready_model
from ingest.run import IngestRequest, StopRequest, run_ingest
from ingest.target import Dataset, new_manifest
from lookalike.console import Reporter
from lookalike.embedder import BATCH_SIZE
from lookalike.errors import CollectionMissingError, ManifestError, UsageError
from lookalike.manifest import CollectionManifest, collection_name
from lookalike.pictures.decoding import MAX_PIXELS
from lookalike.settings import Settings
from lookalike.stores.points import PointFilter
from lookalike.stores.protocol import Store, staged_name


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildReport:
    """What a rebuild did: `points` are in the new collection, `gone` were only in the old one.

    `embedded` counts pictures, those of earlier calls that were interrupted left out.
    """

    name: str
    store: str
    points: int = 0
    gone: int = 0
    embedded: int = 0
    interrupted: bool = False
    took_s: float = 0.0


def rebuild(
    name: str,
    *,
    batch_size: int = BATCH_SIZE,
    max_pixels: int = MAX_PIXELS,
    store: Store,
    settings: Settings,
    reporter: Reporter,
    stop: StopRequest,
) -> RebuildReport:
    """Embeds every dataset of a collection again; each picture keeps the class that it has.

    Raises:
        CollectionMissingError: there is no such collection.
        ManifestError: it is not ours, or its weights are others now.
        UsageError: the folder of one of its datasets is not there.
        LookalikeError: whatever an ingest raises.
    """
    started = time.monotonic()
    old = _manifest(name, store)
    _require_folders(name, old.datasets)
    spec = ModelSpec.of_collection(old)
    model = ready_model(spec, settings=settings, reporter=reporter)
    _stage(name, old, model, store)
    embedded = 0
    for dataset, root in old.datasets.items():
        request = IngestRequest(
            dataset=Dataset(name=dataset, root=Path(root)),
            specs=[spec],
            distances=[old.distance],
            labels=_classes(name, dataset, store),
            batch_size=batch_size,
            max_pixels=max_pixels,
            prune=True,
            into=staged_name(name),
        )
        report = run_ingest(request, store=store, settings=settings, reporter=reporter, stop=stop)
        embedded += report.embedded
        if report.interrupted:
            took_s = time.monotonic() - started
            return RebuildReport(
                name=name, store=store.label, embedded=embedded, interrupted=True, took_s=took_s
            )
    before, after = _points(name, store), _points(staged_name(name), store)
    store.replace(name)
    return RebuildReport(
        name=name,
        store=store.label,
        points=after.total(),
        gone=(before - after).total(),
        embedded=embedded,
        took_s=time.monotonic() - started,
    )


def _manifest(name: str, store: Store) -> CollectionManifest:
    """The old collection's, or where a rebuild was cut off while it was replaced, the new one's."""
    try:
        return store.manifest(name)
    except (CollectionMissingError, ManifestError):
        if staged_name(name) in store:
            return store.manifest(staged_name(name))
        raise


def _require_folders(name: str, datasets: Mapping[str, str]) -> None:
    missing = {dataset: root for dataset, root in datasets.items() if not Path(root).is_dir()}
    for dataset, root in missing.items():
        raise UsageError(
            f"dataset {dataset} of {name} lies in {root}, which is not there; mount it, name its new place "
            f"with ingest run --new-root, or take it out with ingest remove --dataset {dataset}"
        )


def _stage(name: str, old: CollectionManifest, model: ModelFile, store: Store) -> None:
    """What an earlier call staged, unless it is another space by now; else an empty collection."""
    identity, official = model.manifest.identity, model.manifest.weights.official
    if collection_name(identity, old.distance, official=official) != name:
        raise ManifestError(
            f"the weights that {name} was made with are others now; make a new collection with ingest run"
        )
    staged = staged_name(name)
    if staged in store:
        try:
            store.manifest(staged).require(identity, old.distance, name=staged)
        except ManifestError:
            store.delete(staged)
    if staged not in store:
        manifest = new_manifest(model, old.distance, provider="", datasets=old.datasets)
        store.create(manifest, name=staged)


def _classes(name: str, dataset: str, store: Store) -> dict[str, str | None]:
    """Path -> class of what the old collection holds: some may come from a table and not from folders."""
    if name not in store:
        return {}
    with store.open(name) as collection:
        return {payload.path: payload.class_name for payload in collection.scan(PointFilter(dataset=dataset))}


def _points(name: str, store: Store) -> Counter[str]:
    """How many points each dataset has."""
    if name not in store:
        return Counter()
    with store.open(name) as collection:
        return Counter(collection.tally("dataset"))
