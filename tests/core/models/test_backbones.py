"""The two backbones by name, and the poolings that each layer allows."""

import pytest
from lookalike_core.errors import UsageError
from lookalike_core.models.backbones import (
    BACKBONES,
    RESNET101V2,
    VGG16,
    Backbone,
    Pooling,
    check_pooling,
    get_backbone,
)


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("resnet", RESNET101V2),
        ("resnet101v2", RESNET101V2),
        ("ResNet101V2", RESNET101V2),
        ("vgg", VGG16),
        ("VGG16", VGG16),
    ],
)
def test_a_backbone_goes_by_its_short_and_its_full_name(name: str, backbone: Backbone) -> None:
    """Case is ignored."""
    assert get_backbone(name) is backbone


def test_an_unknown_backbone_is_refused_with_the_known_ones() -> None:
    """The message has both names of both networks."""
    with pytest.raises(UsageError, match=r"'alexnet'.*resnet \(resnet101v2\), vgg \(vgg16\)"):
        get_backbone("alexnet")


def test_resnet_is_preferred_to_vgg() -> None:
    """A query prefers collections in this order."""
    assert BACKBONES == (RESNET101V2, VGG16)


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.name)
def test_the_official_weights_are_told_apart_by_their_top(backbone: Backbone) -> None:
    """Only the larger file has the dense layers; Keras marks the smaller one in its name."""
    small, large = backbone.official(with_top=False), backbone.official(with_top=True)
    assert small.file_name.endswith("_notop.h5")
    assert large.file_name == small.file_name.replace("_notop", "")
    assert small.md5 != large.md5


@pytest.mark.parametrize("pooling", [Pooling.AVG, Pooling.MAX, Pooling.FLATTEN])
def test_a_feature_map_accepts_each_pooling(pooling: Pooling) -> None:
    """These are the choices of `--pooling`."""
    assert check_pooling(VGG16, "block5_pool", pooling) is pooling


def test_a_feature_map_is_averaged_unless_told_otherwise() -> None:
    """The default of both backbones."""
    assert check_pooling(RESNET101V2, "post_relu", None) is Pooling.AVG


def test_a_feature_map_is_never_left_unpooled() -> None:
    """A collection stores one vector per image."""
    with pytest.raises(UsageError, match="avg, max or flatten"):
        check_pooling(VGG16, "block5_pool", Pooling.NONE)


@pytest.mark.parametrize("layer", ["fc1", "fc2"])
@pytest.mark.parametrize("pooling", [None, Pooling.NONE])
def test_a_dense_layer_needs_no_pooling(layer: str, pooling: Pooling | None) -> None:
    """It returns one vector per image already."""
    assert check_pooling(VGG16, layer, pooling) is Pooling.NONE


@pytest.mark.parametrize("pooling", [Pooling.AVG, Pooling.MAX, Pooling.FLATTEN])
def test_pooling_a_dense_layer_is_refused(pooling: Pooling) -> None:
    """The option is not silently ignored."""
    with pytest.raises(UsageError, match="fc1 returns vectors, to which pooling does not apply"):
        check_pooling(VGG16, "fc1", pooling)
