"""ResNet101V2, to be read beside `keras/src/applications/resnet.py` and `resnet_v2.py`.

He, Zhang, Ren, Sun: Identity Mappings in Deep Residual Networks, 2016.
"""

from lookalike_core.arrays import IMAGE_SIZE
from lookalike_core.models.backbones import RESNET101V2

from lookalike_exporter.network import INPUT, Network

EPSILON = 1.001e-5


def resnet101v2() -> Network:
    """Returns the network without its classifier: pre-activated bottlenecks, 3 + 4 + 23 + 3 of them."""
    net = Network(title=RESNET101V2.title, input_shape=(IMAGE_SIZE, IMAGE_SIZE, 3))
    x = net.zero_padding(INPUT, 3, name="conv1_pad")
    x = net.conv(x, 64, 7, stride=2, name="conv1_conv")
    x = net.zero_padding(x, 1, name="pool1_pad")
    x = net.max_pool(x, 3, stride=2, name="pool1_pool")
    x = _stack(net, x, 64, 3, name="conv2")
    x = _stack(net, x, 128, 4, name="conv3")
    x = _stack(net, x, 256, 23, name="conv4")
    x = _stack(net, x, 512, 3, stride=1, name="conv5")
    x = net.batch_norm(x, epsilon=EPSILON, name="post_bn")
    net.relu(x, name="post_relu")
    return net


def _stack(net: Network, x: str, filters: int, blocks: int, *, name: str, stride: int = 2) -> str:
    x = _block(net, x, filters, conv_shortcut=True, name=f"{name}_block1")
    for i in range(2, blocks):
        x = _block(net, x, filters, name=f"{name}_block{i}")
    return _block(net, x, filters, stride=stride, name=f"{name}_block{blocks}")


def _block(
    net: Network, x: str, filters: int, *, name: str, stride: int = 1, conv_shortcut: bool = False
) -> str:
    preact = net.batch_norm(x, epsilon=EPSILON, name=f"{name}_preact_bn")
    preact = net.relu(preact, name=f"{name}_preact_relu")

    if conv_shortcut:
        shortcut = net.conv(preact, 4 * filters, 1, stride=stride, name=f"{name}_0_conv")
    elif stride > 1:
        shortcut = net.max_pool(x, 1, stride=stride, name=_next_max_pooling(net))
    else:
        shortcut = x

    x = net.conv(preact, filters, 1, use_bias=False, name=f"{name}_1_conv")
    x = net.batch_norm(x, epsilon=EPSILON, name=f"{name}_1_bn")
    x = net.relu(x, name=f"{name}_1_relu")

    x = net.zero_padding(x, 1, name=f"{name}_2_pad")
    x = net.conv(x, filters, 3, stride=stride, use_bias=False, name=f"{name}_2_conv")
    x = net.batch_norm(x, epsilon=EPSILON, name=f"{name}_2_bn")
    x = net.relu(x, name=f"{name}_2_relu")

    x = net.conv(x, 4 * filters, 1, name=f"{name}_3_conv")
    return net.add(shortcut, x, name=f"{name}_out")


def _next_max_pooling(net: Network) -> str:
    """Returns the name that Keras gives by counting: `max_pooling2d`, `max_pooling2d_1`, and so on."""
    count = sum(name.startswith("max_pooling2d") for name in net.layers)
    return f"max_pooling2d_{count}" if count else "max_pooling2d"
