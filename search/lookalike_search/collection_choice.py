"""Which collection a query is asked of."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lookalike_core.cli.console import Reporter
from lookalike_core.errors import CollectionMissingError, UsageError
from lookalike_core.models.backbones import BACKBONES, VGG16, Pooling, backbone_named
from lookalike_core.models.manifest import CollectionManifest, Distance, Precision, WeightsKind
from lookalike_core.settings import Settings
from lookalike_core.stores.bulk_reads import readable_manifests
from lookalike_core.stores.open_store import where_else
from lookalike_core.stores.protocol import Store, unheard
from lookalike_exporter import head_name, head_path
from lookalike_exporter.heads.head_file import NAME

BOTH = "both"
"""What `--backbone` may say instead of one backbone's name."""


def is_both(backbone: str | None) -> bool:
    """Whether `--backbone` asks for both networks, in whatever case."""
    return backbone is not None and backbone.lower() == BOTH


def choose_collection(
    store: Store,
    *,
    settings: Settings,
    reporter: Reporter,
    name: str | None,
    backbone: str | None,
    distance: Distance | None,
    head: str | None = None,
) -> str:
    """The collection that was named, or the one that the options leave.

    Of several, those without a head go first, then those with default weights, layer and pooling, then
    ResNet101V2 before VGG16, then cosine before Euclid.

    Raises:
        CollectionMissingError: none fits; the message names those there are and how to make one, or the
            other store where one is.
        UsageError: several fit equally well, or options contradict each other.
    """
    if name is not None:
        if backbone or distance or head:
            raise UsageError("--collection names one collection; leave --backbone, --distance and --head out")
        if name not in store:
            raise CollectionMissingError(missing_message(store, settings=settings, name=name))
        return name
    return _preferred(_fitting(store, settings, reporter, backbone, distance, head))


def choose_both(
    store: Store, *, settings: Settings, reporter: Reporter, distance: Distance | None
) -> list[str]:
    """The preferred collection of each backbone, of one distance: cosine where all have it, unless told.

    Raises:
        CollectionMissingError: a backbone has none; the message names the command that would make it.
        UsageError: several of a backbone fit equally well.
    """
    manifests = dict(readable_manifests(store, reporter.say))
    found = {
        metric: {record.name: _of(manifests, record.name, metric) for record in BACKBONES}
        for metric in ([distance] if distance else Distance)
    }
    for fitting in found.values():
        if all(fitting.values()):
            return [_preferred(each) for each in fitting.values()]
    metric, fitting = max(found.items(), key=lambda item: sum(map(bool, item[1].values())))
    missing = next(name for name, each in fitting.items() if not each)
    message = missing_message(store, settings=settings, backbone=missing, distance=metric)
    raise CollectionMissingError(f"--backbone both takes a collection of each network: {message}")


def _of(
    manifests: Mapping[str, CollectionManifest], backbone: str, distance: Distance
) -> dict[str, CollectionManifest]:
    return {
        name: manifest
        for name, manifest in manifests.items()
        if (manifest.identity.backbone, manifest.distance) == (backbone, distance)
    }


def fitting_collections(
    store: Store,
    *,
    settings: Settings,
    reporter: Reporter,
    backbone: str | None = None,
    distance: Distance | None = None,
) -> list[str]:
    """Every collection that the options leave, sorted.

    Raises:
        CollectionMissingError: none fits.
    """
    return sorted(_fitting(store, settings, reporter, backbone, distance))


def _fitting(
    store: Store,
    settings: Settings,
    reporter: Reporter,
    backbone: str | None,
    distance: Distance | None,
    head: str | None = None,
) -> dict[str, CollectionManifest]:
    if head is not None:
        return _with_head(store, settings, reporter, backbone, distance, head)
    wanted = backbone_named(backbone).name if backbone else None
    fitting = {
        found: manifest
        for found, manifest in readable_manifests(store, reporter.say)
        if wanted in (None, manifest.identity.backbone) and distance in (None, manifest.distance)
    }
    if not fitting:
        raise CollectionMissingError(
            missing_message(store, settings=settings, backbone=wanted, distance=distance)
        )
    return fitting


def _with_head(
    store: Store,
    settings: Settings,
    reporter: Reporter,
    backbone: str | None,
    distance: Distance | None,
    head: str,
) -> dict[str, CollectionManifest]:
    """Those with a head of this name."""
    fitting = {
        found: manifest
        for found, manifest in _fitting(store, settings, reporter, backbone, distance).items()
        if manifest.identity.head is not None and head_name(manifest.identity) == head
    }
    if not fitting:
        raise CollectionMissingError(
            f"there is no collection with the head {head!a} in the store {store.label}. "
            f"Make it with: ingest run DIR --head {head if head.isidentifier() else 'HEAD'}"
        )
    return fitting


def missing_message(
    store: Store,
    *,
    settings: Settings,
    name: str | None = None,
    backbone: str | None = None,
    distance: Distance | None = None,
) -> str:
    """What is not there, what is, and what to do: name the other store that has it, or make it."""
    if name is None and (unread := _unreadable(store)):
        return (
            f"no collection in the store {store.label} can be read: {', '.join(unread)}; "
            "what is wrong with each, and what to do, stands above"
        )
    asked = name or " ".join(filter(None, [backbone, distance])) or "to search"
    there = ", ".join(store.names()) or "none"
    missing = f"there is no collection {asked} in the store {store.label}; there: {there}."
    for candidate in [name] if name else _default_names(backbone, distance):
        if said := where_else(candidate, store, settings):
            return f"{missing} {candidate} is in another store; search it with: --store {said}"
    making = _making_with_head(name, settings) or _making(name, backbone, distance)
    return f"{missing} Make it with: {making}"


def _unreadable(store: Store) -> list[str]:
    """The names of all collections, where not one of them can be read."""
    names = store.names()
    return [] if any(True for _ in readable_manifests(store, unheard)) else names


def require_dataset(manifests: Sequence[CollectionManifest], dataset: str | None) -> None:
    """Refuses to look for pictures of a dataset that none of the collections has.

    Raises:
        UsageError: there is none of that name; the message names those there are.
    """
    there = sorted({name for manifest in manifests for name in manifest.datasets})
    if dataset is not None and dataset not in there:
        names = " or ".join(manifest.collection for manifest in manifests)
        raise UsageError(f"there is no dataset {dataset} in {names}; there: {', '.join(there) or 'none'}")


def file_of(manifest: CollectionManifest, dataset: str, path: str) -> Path | None:
    """Where a picture lies, as far as the manifest knows."""
    root = manifest.datasets.get(dataset)
    return Path(root) / path if root else None


def _preferred(manifests: Mapping[str, CollectionManifest]) -> str:
    backbones, distances = [backbone.name for backbone in BACKBONES], list(Distance)

    def rank(name: str) -> tuple[bool, bool, int, int]:
        identity, distance = manifests[name].identity, manifests[name].distance
        is_default = name == f"{identity.backbone}-{distance}"
        has_head = identity.head is not None
        return (has_head, not is_default, backbones.index(identity.backbone), distances.index(distance))

    best, *others = sorted(manifests, key=rank)
    if others and rank(others[0]) == rank(best):
        raise UsageError(f"several collections fit: {', '.join(manifests)}; choose one with --collection")
    return best


def _default_names(backbone: str | None, distance: Distance | None) -> Iterator[str]:
    """What collections of default weights, layer and pooling would be called, the preferred first."""
    for network in [backbone] if backbone else [record.name for record in BACKBONES]:
        for metric in [distance] if distance else Distance:
            yield f"{network}-{metric}"


def _making_with_head(name: str | None, settings: Settings) -> str | None:
    """The command behind the name of a collection with a head that is here."""
    *middle, metric = (name or "").split("-")
    heads = [part for part in middle[1:] if NAME.fullmatch(part) and head_path(part, settings).is_file()]
    if len(heads) != 1 or metric not in list(Distance):
        return None
    return f"ingest run DIR --head {heads[0]} --distance {metric}"


def _making(name: str | None, backbone: str | None, distance: str | None) -> str:
    """The command behind a collection's name, as far as the name tells."""
    parts = (name or "").split("-")
    network = next((record for record in BACKBONES if record.name in (backbone, parts[0])), None)
    metric = next((d for d in Distance if d in (distance, parts[-1])), None)
    options = [f"--backbone {network.short_name}"] if network else []
    options += [f"--distance {metric}"] if metric else []
    if network and metric:
        options += [_option(part, wheel=network is VGG16) for part in parts[1:-1]]
    return " ".join(["ingest run DIR", *options])


def _option(part: str, *, wheel: bool) -> str:
    """The option behind one part of a collection's name."""
    if re.fullmatch("w[0-9a-f]{8}", part):
        return f"--weights {f'FILE|{WeightsKind.IMAGENET_WHEEL}' if wheel else 'FILE'}"
    if part == Precision.INT8:
        return f"--precision {part}"
    return f"--pooling {part}" if part in list(Pooling) else f"--layer {part}"
