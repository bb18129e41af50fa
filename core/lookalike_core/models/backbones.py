"""The two backbones, each as one literal record.

The records hold what all stages must agree on: names, default layer, pixel normalization, and the URLs of
official weights. Building the networks is up to the exporter.
"""

from dataclasses import dataclass
from enum import StrEnum

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint

_KERAS_APPLICATIONS = "https://storage.googleapis.com/tensorflow/keras-applications"


class Pooling(StrEnum):
    """How a feature map `[N, H, W, C]` becomes one vector an image."""

    AVG = "avg"
    MAX = "max"
    FLATTEN = "flatten"
    NONE = "none"
    """The layer already returns vectors (VGG16's `fc1` and `fc2`)."""


class Normalization(StrEnum):
    """Keras' `imagenet_utils.preprocess_input` modes that the two networks were trained with."""

    TF = "tf"
    """RGB scaled to -1..1."""
    CAFFE = "caffe"
    """BGR minus ImageNet's mean colour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialWeights:
    """A weights file that Keras publishes; `md5` is the checksum in Keras' source."""

    file_name: str
    url: str
    md5: str
    with_top: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """The description of a network that all stages share."""

    name: str
    short_name: str
    title: str
    default_layer: str
    normalization: Normalization
    top_layers: tuple[str, ...]
    """Layers after the convolutions, which only the weights file with the top contains."""
    weights: tuple[OfficialWeights, ...]

    def official(self, *, with_top: bool) -> OfficialWeights:
        """Returns the published file that contains the given layer."""
        return next(file for file in self.weights if file.with_top == with_top)


def _published(path: str, *, md5: str, with_top: bool) -> OfficialWeights:
    name = path.rpartition("/")[2]
    return OfficialWeights(file_name=name, url=f"{_KERAS_APPLICATIONS}/{path}", md5=md5, with_top=with_top)


RESNET101V2 = Backbone(
    name="resnet101v2",
    short_name="resnet",
    title="ResNet101V2",
    default_layer="post_relu",
    normalization=Normalization.TF,
    top_layers=(),
    weights=(
        _published(
            "resnet/resnet101v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
            md5="c0ed64b8031c3730f411d2eb4eea35b5",
            with_top=False,
        ),
        _published(
            "resnet/resnet101v2_weights_tf_dim_ordering_tf_kernels.h5",
            md5="6343647c601c52e1368623803854d971",
            with_top=True,
        ),
    ),
)

VGG16 = Backbone(
    name="vgg16",
    short_name="vgg",
    title="VGG16",
    default_layer="block5_pool",
    normalization=Normalization.CAFFE,
    top_layers=("fc1", "fc2"),
    weights=(
        _published(
            "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
            md5="6d6bbae143d832006294945121d1f1fc",
            with_top=False,
        ),
        _published(
            "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5",
            md5="64373286793e3c8b2b4e3219cbf3544b",
            with_top=True,
        ),
    ),
)

BACKBONES = (RESNET101V2, VGG16)
"""The backbones in the order in which `search query` prefers them."""


def get_backbone(name: str) -> Backbone:
    """Returns the record for a full or short name, in any case.

    Raises:
        UsageError: no backbone has this name.
    """
    for backbone in BACKBONES:
        if name.lower() in (backbone.name, backbone.short_name):
            return backbone
    known = ", ".join(f"{b.short_name} ({b.name})" for b in BACKBONES)
    raise UsageError(
        f"there is no backbone {name!r}; use one of {known}",
        argument=Argument.BACKBONE,
        choices=[backbone.name for backbone in BACKBONES],
    )


def check_pooling(backbone: Backbone, layer: str, pooling: Pooling | None) -> Pooling:
    """Returns the pooling to use at a layer: by default `avg`, or `none` if the layer returns vectors.

    Raises:
        UsageError: a pooling was named for a layer that returns vectors, or `none` for one that does not.
    """
    if layer in backbone.top_layers:
        if pooling in (None, Pooling.NONE):
            return Pooling.NONE
        raise UsageError(
            f"{backbone.title}'s {layer} returns vectors, to which pooling does not apply",
            hint=Hint(Action.LEAVE_OUT, {Argument.POOLING: None}),
        )
    if pooling is Pooling.NONE:
        raise UsageError(f"{backbone.title}'s {layer} returns feature maps; use pooling avg, max or flatten")
    return pooling or Pooling.AVG
