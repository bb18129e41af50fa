"""Networks as records: shapes, names, and which layers a tap needs."""

import pytest
from lookalike_core.errors import UsageError
from lookalike_exporter.network import BatchNorm, Conv, Dense, Network
from lookalike_exporter.resnet101v2 import resnet101v2
from lookalike_exporter.vgg16 import vgg16


@pytest.mark.parametrize(
    ("network", "tap", "shape"),
    [
        (resnet101v2(), "conv1_conv", (112, 112, 64)),
        (resnet101v2(), "conv2_block3_out", (28, 28, 256)),
        (resnet101v2(), "conv4_block23_out", (7, 7, 1024)),
        (resnet101v2(), "post_relu", (7, 7, 2048)),
        (vgg16(), "block1_conv2", (224, 224, 64)),
        (vgg16(), "block5_pool", (7, 7, 512)),
        (vgg16(), "fc2", (4096,)),
    ],
)
def test_a_tap_has_the_shape_that_keras_gives_it(network: Network, tap: str, shape: tuple[int, ...]) -> None:
    """The shapes are those of `model.summary()`."""
    assert network.up_to(tap).shape == shape


@pytest.mark.parametrize(
    ("network", "parameters"), [(resnet101v2(), 42_626_560), (vgg16(), 138_357_544 - 1000 * 4097)]
)
def test_networks_have_as_many_parameters_as_in_keras(network: Network, parameters: int) -> None:
    """The totals are those of `keras.applications`, without VGG16's classifier."""
    total = 0
    for layer in network.layers.values():
        for shape in layer.variables.values():
            size = 1
            for edge in shape:
                size *= edge
            total += size
    assert total == parameters


def test_resnet_is_101_layers_deep() -> None:
    """The name counts convolutions along the main path, and the classifier, which is left out."""
    layers = resnet101v2().layers.values()
    shortcuts = [layer for layer in layers if layer.name.endswith("_0_conv")]
    assert sum(isinstance(layer, Conv) for layer in layers) - len(shortcuts) + 1 == 101


def test_vgg_is_16_layers_deep() -> None:
    """Thirteen convolutions and three dense layers, of which the classifier is left out."""
    assert sum(isinstance(layer, Conv | Dense) for layer in vgg16().layers.values()) + 1 == 16


def test_a_subnetwork_holds_the_ancestors_of_its_tap_only() -> None:
    """The shortcut's convolution is before the tap in Keras' order, but not needed for it."""
    network = resnet101v2()
    assert "conv2_block1_0_conv" in network.layers
    assert [layer.name for layer in network.up_to("conv2_block1_1_relu").layers] == [
        "conv1_pad",
        "conv1_conv",
        "pool1_pad",
        "pool1_pool",
        "conv2_block1_preact_bn",
        "conv2_block1_preact_relu",
        "conv2_block1_1_conv",
        "conv2_block1_1_bn",
        "conv2_block1_1_relu",
    ]


def test_variables_come_in_the_order_in_which_keras_saves_them() -> None:
    """Names of variables differ between files, so the order identifies them."""
    network = resnet101v2()
    assert list(network.layers["conv1_conv"].variables) == ["kernel", "bias"]
    assert list(network.layers["conv2_block1_1_conv"].variables) == ["kernel"]
    norm = network.layers["post_bn"]
    assert isinstance(norm, BatchNorm)
    assert list(norm.variables) == ["gamma", "beta", "moving_mean", "moving_variance"]


def test_an_unknown_layer_is_refused_with_similar_names() -> None:
    """The message suggests a correction for a typing error."""
    with pytest.raises(UsageError, match=r"ResNet101V2 has no layer 'post_rellu'; did you mean post_relu"):
        resnet101v2().up_to("post_rellu")


def test_a_layer_without_similar_names_is_refused_with_the_usual_taps() -> None:
    """The message names the last layers."""
    with pytest.raises(UsageError, match=r"did you mean block5_pool, fc1, fc2\?"):
        vgg16().up_to("42")


@pytest.mark.parametrize("layer", ["flaten", "flatten_", "Flatten"])
def test_flatten_is_not_suggested_for_an_unknown_layer(layer: str) -> None:
    """`flatten` is a pooling here, and not a layer to tap."""
    with pytest.raises(UsageError) as refused:
        vgg16().up_to(layer)
    assert "flatten" not in str(refused.value).partition("did you mean")[2]


def test_the_tap_counts_as_one_more_consumer() -> None:
    """A tapped convolution must not be fused with the layers after it."""
    network = resnet101v2()
    assert network.up_to("conv2_block1_1_conv").consumers["conv2_block1_1_conv"] == 1
    assert network.up_to("conv2_block1_1_bn").consumers["conv2_block1_1_conv"] == 1
    assert network.up_to("conv2_block1_out").consumers["conv2_block1_preact_relu"] == 2
