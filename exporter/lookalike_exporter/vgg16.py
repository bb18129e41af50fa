"""VGG16, to be read beside `keras/src/applications/vgg16.py`.

Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, 2015.
"""

from lookalike_core.arrays import IMAGE_SIZE
from lookalike_core.models.backbones import VGG16

from lookalike_exporter.network import INPUT, Network

FILTERS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16() -> Network:
    """Returns the network with its two hidden dense layers and without its classifier."""
    net = Network(title=VGG16.title, input_shape=(IMAGE_SIZE, IMAGE_SIZE, 3))
    x = INPUT
    for i, block in enumerate(FILTERS, start=1):
        for j, filters in enumerate(block, start=1):
            x = net.conv(x, filters, 3, same=True, relu=True, name=f"block{i}_conv{j}")
        x = net.max_pool(x, 2, stride=2, name=f"block{i}_pool")
    x = net.flatten(x, name="flatten")
    x = net.dense(x, 4096, name="fc1")
    net.dense(x, 4096, name="fc2")
    return net
