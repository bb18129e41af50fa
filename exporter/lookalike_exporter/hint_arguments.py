"""Lists the arguments that make a model or a collection again, for hints."""

from collections.abc import Iterable, Mapping

from lookalike_core.hints import Argument, Value
from lookalike_core.models.backbones import Pooling
from lookalike_core.models.model_manifest import Precision, WeightsKind
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance

from lookalike_exporter.heads.head_file import Head, name_of_head
from lookalike_exporter.spec import ModelSpec


def list_arguments(
    specs: Iterable[ModelSpec | Head], distances: Iterable[Distance] = ()
) -> dict[Argument, Value]:
    """Returns the arguments that select all of these models and distances; leaves out defaults."""
    found: dict[Argument, Value] = {}
    for spec in specs:
        for argument, value in _of_one(spec).items():
            before = found.get(argument)
            found[argument] = (before, value) if isinstance(before, str) else value
    metrics = tuple(map(str, distances))
    return found if metrics in ((), (Distance.COSINE,)) else found | {Argument.DISTANCE: metrics}


def list_collection_arguments(manifest: CollectionManifest) -> dict[Argument, Value]:
    """Returns the arguments of an ingest into a collection."""
    if manifest.identity.head is not None:
        return {Argument.HEAD: name_of_head(manifest.identity)} | list_arguments([], [manifest.distance])
    return list_arguments([ModelSpec.from_manifest(manifest)], [manifest.distance])


def _of_one(spec: ModelSpec | Head) -> Mapping[Argument, str]:
    if isinstance(spec, Head):
        return {Argument.HEAD: spec.name}
    found = {Argument.BACKBONE: spec.backbone.short_name}
    if spec.layer != spec.backbone.default_layer:
        found[Argument.LAYER] = spec.layer
    if spec.pooling not in (Pooling.AVG, Pooling.NONE):
        found[Argument.POOLING] = spec.pooling
    if spec.weights != WeightsKind.IMAGENET:
        found[Argument.WEIGHTS] = spec.weights
    if spec.precision is not Precision.FP32:
        found[Argument.PRECISION] = spec.precision
    return found
