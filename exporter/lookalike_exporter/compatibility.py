"""Checks whether this version can use a collection, or it has to be rebuilt."""

from lookalike_core.errors import ManifestError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.models.backbones import get_backbone
from lookalike_core.models.model_manifest import FLOAT32
from lookalike_core.models.preprocessing import preprocessing_id
from lookalike_core.stores.collection_manifest import SCHEMA_VERSION, CollectionManifest


def require_current(wanted: CollectionManifest) -> None:
    """Refuses a collection of another version, since this version would prepare images differently.

    Raises:
        ManifestError: another version made the collection; the message says how to rebuild it.
    """
    if differing := describe_outdated(wanted):
        name = wanted.collection
        raise ManifestError(
            f"collection {name} was made by another version, with which it can still be searched: "
            f"{'; '.join(differing)}",
            collection=name,
            hint=Hint(Action.REBUILD, {Argument.COLLECTION: name}),
        )


def describe_outdated(manifest: CollectionManifest) -> list[str]:
    """Returns how a collection differs from those that this version makes; empty if it can be used."""
    identity = manifest.identity
    sides = {
        "preprocessing": (identity.preprocessing, preprocessing_id(get_backbone(identity.backbone))),
        "precision_class": (identity.precision_class, _precision_class_of(manifest)),
        "schema": (manifest.schema, SCHEMA_VERSION),
    }
    return [f"{key} is {old} there and {new} here" for key, (old, new) in sides.items() if old != new]


def _precision_class_of(manifest: CollectionManifest) -> str:
    return manifest.activation_ranges.precision_class if manifest.activation_ranges else FLOAT32
