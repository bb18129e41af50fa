"""Reads which images the heads of evaluated collections were fitted to, whose figures are too good."""

from collections.abc import Mapping, Sequence

from lookalike_core.errors import LookalikeError
from lookalike_core.logs import get_logger
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_exporter.heads.head_file import read_collection_head

from lookalike_search.evaluation.head_splits import HeadTraining

_logger = get_logger("search")


def read_head_training(
    manifests: Mapping[str, CollectionManifest], *, settings: Settings
) -> HeadTraining | None:
    """Returns the images and classes that heads of the collections were fitted to; None without a head.

    It also returns None, and logs a warning, where the file of a head is missing.
    """
    trained: set[str] = set()
    classes: list[Sequence[str]] = []
    for name, manifest in manifests.items():
        identity = manifest.identity
        if identity.head is None:
            continue
        try:
            head = read_collection_head(identity, settings, collection=name)
        except LookalikeError as error:
            _logger.warning(
                "warning: figures are not split by the training images of the head: %s",
                error,
                extra={"hint": error.hint},
            )
            return None
        trained |= head.trained
        classes.append(head.classes)
    if not classes:
        return None
    return HeadTraining(
        trained=frozenset(trained), classes=frozenset().union(*classes) if all(classes) else None
    )
