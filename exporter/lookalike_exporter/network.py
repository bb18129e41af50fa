"""Networks as plain records: Keras' layers with their names, shapes and inputs.

The builders in `resnet101v2` and `vgg16` call `Network` the way Keras' own source calls its layers, so that
the two can be read side by side. This module knows neither weights nor ONNX.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument

INPUT = "images"
"""The name of the network's input; not a layer that can be tapped."""

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One Keras layer: `inputs` are names of layers, `shape` is that of one output, `(H, W, C)` or `(D,)`."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape

    @property
    def variables(self) -> Mapping[str, Shape]:
        """The shapes of the variables in Keras' order."""
        return {}


@dataclass(frozen=True, kw_only=True)
class ZeroPadding(Layer):
    """`ZeroPadding2D`, the same on all four sides."""

    pad: int


@dataclass(frozen=True, kw_only=True)
class Conv(Layer):
    """`Conv2D` with a square kernel; `same_pad` is what `padding="same"` adds on each side (stride 1)."""

    channels: int
    kernel: int
    stride: int
    same_pad: int
    use_bias: bool
    relu: bool

    @property
    def variables(self) -> Mapping[str, Shape]:
        """The shapes of the kernel, `[height, width, in, out]`, and of the bias, if there is one."""
        filters = self.shape[-1]
        kernel = {"kernel": (self.kernel, self.kernel, self.channels, filters)}
        return kernel | ({"bias": (filters,)} if self.use_bias else {})


@dataclass(frozen=True, kw_only=True)
class BatchNorm(Layer):
    """`BatchNormalization` over channels, in inference."""

    epsilon: float

    @property
    def variables(self) -> Mapping[str, Shape]:
        """The shapes of the four vectors in Keras' order."""
        channels = (self.shape[-1],)
        return dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), channels)


@dataclass(frozen=True, kw_only=True)
class Relu(Layer):
    """`Activation("relu")`."""


@dataclass(frozen=True, kw_only=True)
class MaxPool(Layer):
    """`MaxPooling2D` with `padding="valid"`."""

    size: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class Add(Layer):
    """`Add` of two inputs."""


@dataclass(frozen=True, kw_only=True)
class Flatten(Layer):
    """`Flatten` in Keras' order: height, width, channels."""


@dataclass(frozen=True, kw_only=True)
class Dense(Layer):
    """`Dense` with a ReLU."""

    features: int

    @property
    def variables(self) -> Mapping[str, Shape]:
        """The shapes of the kernel `[in, out]` and the bias."""
        return {"kernel": (self.features, self.shape[0]), "bias": self.shape}


class Network:
    """Layers in the order in which they were added; every method returns the new layer's name."""

    def __init__(self, *, title: str, input_shape: Shape) -> None:
        self.title = title
        self.layers: dict[str, Layer] = {}
        self._input_shape = input_shape

    def zero_padding(self, x: str, pad: int, *, name: str) -> str:
        """Adds `ZeroPadding2D(padding=((pad, pad), (pad, pad)))`."""
        height, width, channels = self._shape(x)
        shape = (height + 2 * pad, width + 2 * pad, channels)
        return self._add(ZeroPadding(name=name, inputs=(x,), shape=shape, pad=pad))

    def conv(
        self,
        x: str,
        filters: int,
        kernel: int,
        *,
        name: str,
        stride: int = 1,
        same: bool = False,
        use_bias: bool = True,
        relu: bool = False,
    ) -> str:
        """Adds `Conv2D`; `same` is `padding="same"`, supported for stride 1 and odd kernels only."""
        height, width, channels = self._shape(x)
        pad = kernel // 2 if same else 0
        size = ((edge + 2 * pad - kernel) // stride + 1 for edge in (height, width))
        return self._add(
            Conv(
                name=name,
                inputs=(x,),
                shape=(*size, filters),
                channels=channels,
                kernel=kernel,
                stride=stride,
                same_pad=pad,
                use_bias=use_bias,
                relu=relu,
            )
        )

    def batch_norm(self, x: str, *, name: str, epsilon: float) -> str:
        """Adds `BatchNormalization(epsilon=epsilon)`."""
        return self._add(BatchNorm(name=name, inputs=(x,), shape=self._shape(x), epsilon=epsilon))

    def relu(self, x: str, *, name: str) -> str:
        """Adds `Activation("relu")`."""
        return self._add(Relu(name=name, inputs=(x,), shape=self._shape(x)))

    def max_pool(self, x: str, size: int, *, stride: int, name: str) -> str:
        """Adds `MaxPooling2D(size, strides=stride)`."""
        height, width, channels = self._shape(x)
        shape = ((height - size) // stride + 1, (width - size) // stride + 1, channels)
        return self._add(MaxPool(name=name, inputs=(x,), shape=shape, size=size, stride=stride))

    def add(self, x: str, y: str, *, name: str) -> str:
        """Adds `Add()([x, y])`."""
        return self._add(Add(name=name, inputs=(x, y), shape=self._shape(x)))

    def flatten(self, x: str, *, name: str) -> str:
        """Adds `Flatten()`."""
        height, width, channels = self._shape(x)
        return self._add(Flatten(name=name, inputs=(x,), shape=(height * width * channels,)))

    def dense(self, x: str, units: int, *, name: str) -> str:
        """Adds `Dense(units, activation="relu")`."""
        (features,) = self._shape(x)
        return self._add(Dense(name=name, inputs=(x,), shape=(units,), features=features))

    def up_to(self, tap: str) -> "SubNetwork":
        """Returns the layers that the tap depends on, itself included, in order.

        Raises:
            UsageError: there is no such layer.
        """
        if tap not in self.layers:
            known = [name for name, layer in self.layers.items() if not isinstance(layer, Flatten)]
            near = difflib.get_close_matches(tap, known, n=3) or known[-3:]  # Flatten is a pooling here
            raise UsageError(
                f"{self.title} has no layer {tap!r}; did you mean {', '.join(near)}?",
                argument=Argument.LAYER,
                choices=[*near, *(name for name in known if name not in near)],
            )
        needed = {tap}
        for layer in reversed(self.layers.values()):
            if layer.name in needed:
                needed.update(layer.inputs)
        return SubNetwork(tap=tap, layers=tuple(x for x in self.layers.values() if x.name in needed))

    def in_keras_order(self) -> list[Layer]:
        """Returns all layers in the order of Keras' `model.layers`: the farthest from the output first.

        Among equally far layers, the one reached first from the output comes first.

        Source: `map_graph` in `keras/src/ops/function.py`
        """
        distance = dict.fromkeys(self.layers, 0)
        for layer in reversed(self.layers.values()):
            for name in layer.inputs:
                if name != INPUT:
                    distance[name] = max(distance[name], distance[layer.name] + 1)
        met: dict[str, int] = {}
        waiting = [next(reversed(self.layers))]
        while waiting:
            name = waiting.pop()
            if name != INPUT and name not in met:
                met[name] = len(met)
                waiting.extend(reversed(self.layers[name].inputs))
        return [self.layers[name] for name in sorted(met, key=lambda name: (-distance[name], met[name]))]

    def _shape(self, x: str) -> Shape:
        return self._input_shape if x == INPUT else self.layers[x].shape

    def _add(self, layer: Layer) -> str:
        self.layers[layer.name] = layer
        return layer.name


@dataclass(frozen=True, kw_only=True)
class SubNetwork:
    """The part of a network that one tap needs."""

    tap: str
    layers: tuple[Layer, ...]

    @cached_property
    def shape(self) -> Shape:
        """Returns the shape of one output of the tap."""
        return self.layers[-1].shape

    @cached_property
    def consumers(self) -> Mapping[str, int]:
        """Returns how many layers consume each layer's output; the tap itself has one more consumer."""
        counts = dict.fromkeys((layer.name for layer in self.layers), 0)
        for layer in self.layers:
            for name in layer.inputs:
                if name != INPUT:
                    counts[name] += 1
        counts[self.tap] += 1
        return counts
