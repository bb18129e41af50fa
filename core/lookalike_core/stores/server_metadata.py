"""The metadata of a collection on a server, whose keys are replaced one by one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lookalike_core.errors import CollectionMissingError, ManifestError
from lookalike_core.hints import Action, Hint
from lookalike_core.models.model_manifest import METADATA_KEY
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.faults import FaultKind, fault_of

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

UNFINISHED = "lookalike-unfinished"
"""In an unfinished copy, or one that an older version made of a rebuilt collection: a token."""

COPIED_FROM = "lookalike-copied-from"
"""In an unfinished copy of a collection of another store: that collection, as a text for messages.

Beside it is `UNFINISHED`, by which versions that do not know of copies refuse it, too."""

REBUILDER = "lookalike-rebuilder"
"""In a collection that is being rebuilt or copied to: the record of its `Lease`."""

ALIASES = "lookalike-aliases"
"""In a rebuilt collection that is to replace another, and in one that an older version was copying a rebuilt
one to: the aliases that it is to have, which are deleted with the replaced one."""

GENERATION = "lookalike-generation"
"""In a rebuilt collection: the number of rebuilds up to it. One of a lower generation was replaced."""

WHOLE = "lookalike-whole"
"""In a rebuilt collection that is complete, and replaces another or has replaced it: true."""

CALIBRATION = "lookalike-calibration"
"""In a calibrated collection: its calibration."""

REVISION = "lookalike-revision"
"""In a collection whose points have a revision, until the next write: the revision."""


def find_info(client: "QdrantClient", name: str) -> "models.CollectionInfo | None":
    """Returns a collection's description in one request; None if the server does not find it."""
    try:
        return client.get_collection(name)
    except Exception as error:
        if fault_of(error).kind is not FaultKind.MISSING:
            raise
    return None


def require_same(
    info: "models.CollectionInfo | None", opened: CollectionManifest, what: str
) -> CollectionManifest:
    """Returns the manifest in `info`, after checking that it is of the collection that was `opened`."""
    if info is None:
        raise CollectionMissingError(
            f"{what} was deleted in the meantime", collection=opened.collection, hint=Hint(Action.INGEST)
        )
    size, dimension = getattr(info.config.params.vectors, "size", "other"), opened.identity.dimension
    if manifest_data(info) is None or size != dimension:
        raise ManifestError(
            f"{what} was replaced in the meantime by another: it has {size} values a vector "
            f"and {'a' if manifest_data(info) else 'no'} manifest, not {dimension} values and the manifest "
            f"of {opened.identity.backbone}, {opened.distance}; it was not changed",
            collection=opened.collection,
        )
    manifest = read_manifest(info, opened.collection, what.rpartition(" on ")[2])
    if (manifest.identity, manifest.distance) != (opened.identity, opened.distance):
        manifest.require(opened.identity, opened.distance, name=opened.collection)
    if manifest.created_at != opened.created_at:
        raise CollectionMissingError(
            f"{what} was deleted and created again in the meantime (at "
            f"{manifest.created_at}; the one that was opened "
            f"is of {opened.created_at})",
            collection=opened.collection,
            hint=Hint(Action.FILL),
        )
    return manifest


def manifest_data(info: "models.CollectionInfo") -> Mapping[str, Any] | None:
    """Returns the JSON of our manifest; None if there is none."""
    data = (info.config.metadata or {}).get(METADATA_KEY)
    return data if isinstance(data, Mapping) else None


def manifest_json(manifest: CollectionManifest) -> dict[str, Any]:
    """Returns the manifest's own JSON, without what is stored under other keys."""
    return manifest.with_revision(None).to_json()


def is_ours(info: "models.CollectionInfo | None") -> bool:
    """Returns whether a collection exists and has our manifest, and no rebuild is unfinished.

    An unfinished copy is ours, so that opening it reports it.
    """
    if info is None or manifest_data(info) is None:
        return False
    return not copier_of(info) or bool(source_of_copy(info))


def copier_of(info: "models.CollectionInfo") -> str:
    """Returns the token of the process that copies points to this collection; "" if none does."""
    return str((info.config.metadata or {}).get(UNFINISHED) or "")


def source_of_copy(info: "models.CollectionInfo") -> str:
    """Returns what an unfinished copy is copied from; "" if it is none."""
    return str((info.config.metadata or {}).get(COPIED_FROM) or "") if copier_of(info) else ""


def generation_of(info: "models.CollectionInfo") -> int:
    """Returns how many rebuilds there were up to a collection."""
    said = (info.config.metadata or {}).get(GENERATION)
    return said if isinstance(said, int) else 0


def is_whole(info: "models.CollectionInfo") -> bool:
    """Returns whether a rebuilt collection is complete."""
    return (info.config.metadata or {}).get(WHOLE) is True and manifest_data(info) is not None


def noted_aliases(info: "models.CollectionInfo") -> list[str]:
    """Returns the aliases that a collection was to have when a rebuild was interrupted."""
    return [str(alias) for alias in (info.config.metadata or {}).get(ALIASES) or ()]


def read_manifest(info: "models.CollectionInfo", name: str, label: str) -> CollectionManifest:
    """Returns the manifest, with calibration and revision.

    Raises:
        ManifestError: it is malformed, or a newer version wrote it.
    """
    metadata = info.config.metadata or {}
    learned = {"calibration": metadata.get(CALIBRATION), "revision": metadata.get(REVISION)}
    try:
        return CollectionManifest.from_json({**(manifest_data(info) or {}), **learned})
    except ManifestError as error:
        raise ManifestError(
            f"collection {name} on {label}: {error}", collection=name, hint=error.hint
        ) from error
