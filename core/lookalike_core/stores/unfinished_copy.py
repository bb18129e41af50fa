"""A collection that points are being copied to; until it is complete, nothing but the copy may use it."""

from dataclasses import dataclass

from lookalike_core.errors import ManifestError
from lookalike_core.hints import Action, Hint
from lookalike_core.stores.collection_manifest import CollectionManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedCopy:
    """An unfinished copy of the collection `source`; `manifest` is the one that it was begun with."""

    source: str
    manifest: CollectionManifest

    def error(self, name: str, *, place: str) -> ManifestError:
        """Returns the error for any other use of the collection."""
        return ManifestError(
            f"{name} in {place} is an unfinished copy of {self.source}: it is being copied, or that was "
            "interrupted; wait for the copy to end",
            collection=name,
            hint=Hint(Action.CONTINUE_COPY),
        )
