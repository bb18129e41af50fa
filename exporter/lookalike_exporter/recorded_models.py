"""Exports models again from the weights that a collection records, with and without pooling.

This is only for collections without a head: the base of a head is exported from the spec in the head's file.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from lookalike_core.errors import ManifestError, UsageError, WeightsError
from lookalike_core.logs import get_logger
from lookalike_core.models.backbones import Pooling
from lookalike_core.models.model_manifest import ModelIdentity, Precision, WeightsKind
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest

from lookalike_exporter.compatibility import require_current
from lookalike_exporter.model_cache import (
    ModelFile,
    describe_mismatch,
    find_by_identity,
    list_models,
    new_model,
    require_writable,
)
from lookalike_exporter.spec import ModelSpec

_logger = get_logger("exporter")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureModel(ModelFile):
    """A model with the output `[N, H * W * C]`, a feature map in this order; `shape` is `(H, W, C)`."""

    shape: tuple[int, int, int]


def get_base_model(wanted: CollectionManifest, *, settings: Settings) -> ModelFile:
    """Returns the model that a collection without a head was made with; exports it if it is not in the cache.

    Raises:
        WeightsError: the weights cannot be obtained or do not fit.
        ManifestError: the weights have changed since the collection was made, or another version made it.
        StoreLockedError: another process has held the lock for too long.
    """
    require_current(wanted)
    return _find_or_export(wanted, _get_query_spec(wanted), wanted.identity, settings)


def get_feature_model(wanted: CollectionManifest, *, settings: Settings) -> FeatureModel:
    """Returns the model of a collection without its pooling; exports it if it is not in the cache.

    Raises:
        UsageError: the collection's layer has no pooling.
        WeightsError, ManifestError, StoreLockedError: as `get_base_model`.
    """
    require_current(wanted)
    spec = _get_query_spec(wanted)
    if spec.pooling is Pooling.NONE:
        raise UsageError(f"{spec.backbone.title}'s {spec.layer} gives vectors; it has no pooling to undo")
    spec = spec.unpooled
    identity = replace(wanted.identity, pooling=spec.pooling, dimension=spec.dimension)
    model = _find_or_export(wanted, spec, identity, settings)
    height, width, channels = spec.network.shape
    return FeatureModel(path=model.path, manifest=model.manifest, shape=(height, width, channels))


def _find_or_export(
    wanted: CollectionManifest, spec: ModelSpec, identity: ModelIdentity, settings: Settings
) -> ModelFile:
    """Returns the model with this identity, exported from a collection's weights if it is missing."""
    if (model := find_by_identity(list_models(settings), identity, precision=spec.precision)) is not None:
        return model
    if wanted.weights.kind is WeightsKind.FILE and not Path(spec.weights).is_file():
        expected = new_model(identity, wanted.weights, spec.precision, spec.activation_ranges, settings)
        other = describe_mismatch(expected) if expected.path.exists() else ""
        instead = other and f" ({expected.path} is another: {other})"
        raise WeightsError(
            f"the model of {wanted.collection} is missing{instead}, and so are its weights {spec.weights}; "
            "restore that file, or ingest again"
        )
    require_writable(settings.models_dir, settings)
    again = "again from" if identity == wanted.identity else "without its pooling from"
    _logger.info("exporting the model of %s %s %s", wanted.collection, again, spec.weights)
    from lookalike_exporter.export import ensure_exported  # most models are in the cache

    model = ensure_exported(spec, settings=settings)
    if model.manifest.identity != identity:
        raise ManifestError(
            f"{spec.weights} gives another vector space than {wanted.collection} was made with: "
            f"{_describe_difference(identity, model.manifest.identity)}. "
            "Restore the old weights, or ingest again"
        )
    return model


def _get_query_spec(manifest: CollectionManifest) -> ModelSpec:
    """Returns the spec to embed one query with: fp32 instead of fp16, which has the same vector space."""
    spec = ModelSpec.from_manifest(manifest)
    return replace(spec, precision=Precision.FP32) if spec.precision is Precision.FP16 else spec


def _describe_difference(old: ModelIdentity, new: ModelIdentity) -> str:
    names = [name for name in old.__dataclass_fields__ if getattr(old, name) != getattr(new, name)]
    return "; ".join(f"{name} was {getattr(old, name)} and is {getattr(new, name)}" for name in names)
