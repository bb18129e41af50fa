"""Valid combinations of backbone, layer, pooling and weights."""

import pytest
from lookalike_core.errors import UsageError
from lookalike_core.models.backbones import RESNET101V2, VGG16, Pooling
from lookalike_exporter.spec import ModelSpec
from refusals import refuses


def test_defaults_are_the_last_features_averaged() -> None:
    """ResNet101V2 has 2048 values, VGG16 has 512."""
    resnet, vgg = ModelSpec.of("resnet"), ModelSpec.of("vgg")
    assert (resnet.backbone, resnet.layer, resnet.pooling) == (RESNET101V2, "post_relu", Pooling.AVG)
    assert (vgg.backbone, vgg.layer, vgg.pooling) == (VGG16, "block5_pool", Pooling.AVG)
    assert (resnet.dimension, vgg.dimension) == (2048, 512)
    assert resnet.weights == vgg.weights == "imagenet"


@pytest.mark.parametrize(
    ("backbone", "layer", "pooling", "dimension"),
    [
        ("vgg", "block5_pool", Pooling.FLATTEN, 25_088),
        ("vgg", "block5_pool", Pooling.MAX, 512),
        ("vgg", "fc1", None, 4096),
        ("vgg", "fc2", Pooling.NONE, 4096),
        ("resnet", "conv5_block3_2_relu", Pooling.FLATTEN, 25_088),
        ("resnet", "conv2_block1_1_relu", Pooling.AVG, 64),
    ],
)
def test_dimension_follows_from_layer_and_pooling(
    backbone: str, layer: str, pooling: Pooling | None, dimension: int
) -> None:
    """It is the number of channels with a pooling, and of all values when flattened."""
    assert ModelSpec.of(backbone, layer=layer, pooling=pooling).dimension == dimension


@pytest.mark.parametrize("pooling", [Pooling.AVG, Pooling.MAX, Pooling.FLATTEN])
def test_dense_layers_take_no_pooling(pooling: Pooling) -> None:
    """Their output is a vector already."""
    with pytest.raises(UsageError, match="fc1 returns vectors, to which pooling does not apply"):
        ModelSpec.of("vgg", layer="fc1", pooling=pooling)


def test_feature_maps_need_a_pooling() -> None:
    """Their output is not a vector."""
    with pytest.raises(UsageError, match="block5_pool returns feature maps"):
        ModelSpec.of("vgg", pooling=Pooling.NONE)


def test_vectors_too_long_for_qdrant_are_refused() -> None:
    """ResNet101V2's last features have 100,352 values flattened; the message has the remedy."""
    with refuses(UsageError, match=r"100,352 values and Qdrant allows 65,536; .*, or use --pooling avg"):
        ModelSpec.of("resnet", pooling=Pooling.FLATTEN)


def test_an_unpooled_model_may_have_more_values_than_a_collection() -> None:
    """Qdrant's limit applies to stored vectors only."""
    unpooled = ModelSpec.of("resnet").unpooled
    assert (unpooled.pooling, unpooled.dimension) == (Pooling.FLATTEN, 100_352)


def test_flatten_as_a_layer_is_refused_for_the_pooling_of_that_name() -> None:
    """A vector space has one name: Keras' `flatten` layer is `block5_pool` with `--pooling flatten`."""
    with refuses(UsageError, match="use --layer block5_pool --pooling flatten"):
        ModelSpec.of("vgg", layer="flatten")


def test_an_unknown_layer_is_refused() -> None:
    """It is refused before weights are read."""
    with pytest.raises(UsageError, match=r"VGG16 has no layer 'block5_pol'; did you mean block5_pool"):
        ModelSpec.of("vgg", layer="block5_pol")
