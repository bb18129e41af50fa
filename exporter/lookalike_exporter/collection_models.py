"""The model that a collection was made with, head included: found here, or made again.

A query needs no more than this, and mostly finds it; so what makes models is imported where one is missing.
"""

from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest

from lookalike_exporter.compatibility import require_current
from lookalike_exporter.model_cache import ModelFile, model_at_hand


def get_collection_model(wanted: CollectionManifest, *, settings: Settings) -> ModelFile:
    """Returns the model that embeds queries of a collection; exports it where it is not here.

    Raises:
        WeightsError: the weights cannot be had or do not fit.
        ManifestError: the weights or the head are not what they were when the collection was made, the head
            is not here, or another version made the collection.
        StoreLockedError: another process has been making a model all the while.
    """
    require_current(wanted)
    if (model := model_at_hand(wanted.identity, settings)) is not None:
        return model
    if wanted.identity.head is None:
        from lookalike_exporter.recorded_models import get_recorded_model

        return get_recorded_model(wanted, settings=settings)
    from lookalike_exporter.heads.head_file import head_of
    from lookalike_exporter.heads.head_graph import get_headed_model

    head = head_of(wanted.identity, settings, collection=wanted.collection)
    return get_headed_model(head, settings=settings)
