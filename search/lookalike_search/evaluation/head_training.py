"""What the heads of evaluated collections were learned from, which flatters their figures."""

from collections.abc import Mapping
from dataclasses import dataclass

from lookalike_core.errors import LookalikeError
from lookalike_core.logs import logger_of
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_exporter.heads.head_file import head_of

_logger = logger_of("search")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadTraining:
    """What heads were learned from: the SHA-256 of the `trained` images, and the names of the `classes`."""

    trained: frozenset[str]
    classes: frozenset[str]


def head_training(manifests: Mapping[str, CollectionManifest], *, settings: Settings) -> HeadTraining | None:
    """Returns what any head of collections was learned from; None where none has one.

    None as well, and said in a line, where the file of a head is not here to tell.
    """
    trained: set[str] = set()
    classes: set[str] = set()
    for name, manifest in manifests.items():
        identity = manifest.identity
        if identity.head is None:
            continue
        try:
            head = head_of(identity, settings, collection=name)
        except LookalikeError as error:
            _logger.warning(
                "warning: what the head was learned from cannot be told: %s",
                error,
                extra={"hint": error.hint},
            )
            return None
        trained |= head.trained
        classes |= set(head.classes)
    return HeadTraining(trained=frozenset(trained), classes=frozenset(classes)) if classes else None
