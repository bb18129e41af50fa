"""Returns a model for a spec, a head, or the manifest of a collection; found in the cache, or exported."""

from typing import TYPE_CHECKING

from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest

from lookalike_exporter.compatibility import require_current
from lookalike_exporter.heads.head_file import Head, read_collection_head
from lookalike_exporter.model_cache import ModelFile, find_by_identity, list_models

if TYPE_CHECKING:
    from lookalike_exporter.spec import ModelSpec


def get_model(wanted: "ModelSpec | Head | CollectionManifest", *, settings: Settings) -> ModelFile:
    """Returns the model of a spec or a head, or the one that embeds queries of a collection.

    Exports it if it is not in the cache. What exports is imported only then, since most models are there.

    Raises:
        UsageError: the spec is of an int8 model without activation ranges.
        WeightsError: the weights cannot be obtained or do not fit.
        ManifestError: the weights or the head have changed since the head or the collection was made, the
            collection's head is missing, or another version made the collection.
        StoreLockedError: another process has held the lock for too long.
    """
    match wanted:
        case CollectionManifest():
            return _get_model_of_collection(wanted, settings)
        case Head():
            from lookalike_exporter.heads.head_graph import get_headed_model

            return get_headed_model(wanted, settings=settings)
        case _:
            from lookalike_exporter.export import ensure_exported

            return ensure_exported(wanted, settings=settings)


def _get_model_of_collection(wanted: CollectionManifest, settings: Settings) -> ModelFile:
    require_current(wanted)
    if (model := find_by_identity(list_models(settings), wanted.identity)) is not None:
        return model
    if wanted.identity.head is None:
        from lookalike_exporter.recorded_models import get_base_model

        return get_base_model(wanted, settings=settings)
    from lookalike_exporter.heads.head_graph import get_headed_model

    return get_headed_model(
        read_collection_head(wanted.identity, settings, collection=wanted.collection), settings=settings
    )
