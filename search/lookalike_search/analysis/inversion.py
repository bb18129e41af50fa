"""Decoders that an attacker trains to turn feature vectors back into small images. Pure.

After Listik, "Image reconstruction from ResNet semantic feature vector" (POSTER 2018), who trained a
generative network on millions of images. An attacker who has a stolen collection has only as many images as
are in it or like it, for which these two are enough: kernel ridge regression, and a small network. Neither is
the strongest that there may be.
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

ImageArray = NDArray[np.uint8]
FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
FloatMatrix = NDArray[np.floating]

SIDE = 32
"""Pixels of a side of a reconstruction."""

COMPONENTS = 256
"""Principal components of the training images in which the network answers: 96 % of their variance."""

STRENGTHS = tuple(10.0 ** (step / 2) for step in range(-6, 5))
"""Strengths of the ridge that are tried, from 0.001 to 100."""

HIDDEN = 512
DROPOUT = 0.1
EPOCHS = 40
BATCH = 64
"""The network: one hidden layer. Two layers, or more of them dropped, identify fewer unseen images."""

LEARNING_RATE = 1e-3
RATE_IS_FOR = 512
"""The rate of vectors of this length; it falls with the square root of the length. Adam moves each weight by
the rate, so that short vectors would hardly be learned from at that of long ones."""

_ADAM_MEAN, _ADAM_SQUARE, _ADAM_LEAST = 0.9, 0.999, 1e-8
_FIRST_LOSS = 16.0
"""The standard deviation of an image's components that the network learns: that of 256 standardised ones."""

_LEAST_LEVERAGE = 1e-9


class Attacker(StrEnum):
    """The decoder that an attacker trains."""

    RIDGE = "kernel ridge"
    """Kernel ridge regression from the standardised vector to the pixels, with a Gaussian kernel."""
    NETWORK = "network"
    """A network of one hidden layer, which identifies more images."""


class Decoder(Protocol):
    """A trained decoder."""

    def reconstruct(self, vectors: FloatMatrix) -> ImageArray:
        """Returns the images of vectors float `[N, D]`, uint8 `[N, H, W, 3]`."""


def train_decoder(
    attacker: Attacker, vectors: FloatMatrix, images: ImageArray, *, seed: int = 0, epochs: int = EPOCHS
) -> Decoder:
    """Trains a decoder on vectors float `[N, D]` and their images uint8 `[N, H, W, 3]`, at least two."""
    match attacker:
        case Attacker.RIDGE:
            return RidgeDecoder.train(vectors, images)
        case Attacker.NETWORK:
            return NetworkDecoder.train(vectors, images, seed=seed, epochs=epochs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """The mean and the scale of each value of a vector, float64 `[D]`."""

    mean: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, vectors: FloatMatrix) -> "Scaling":
        """Returns the scaling that standardises vectors float `[N, D]`; a constant value stays unscaled."""
        exact = vectors.astype(np.float64)
        deviation = exact.std(axis=0)
        return cls(mean=exact.mean(axis=0), scale=np.where(deviation > 0, deviation, 1.0))

    def standardise(self, vectors: FloatMatrix) -> FloatArray:
        """Returns vectors float `[N, D]` with mean 0 and standard deviation 1, float64."""
        return np.asarray((vectors - self.mean) / self.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeDecoder:
    """Kernel ridge regression of the pixels, with a Gaussian kernel as wide as scikit-learn's default.

    Its strength is chosen by leave-one-out cross-validation on the training images, for which one
    eigendecomposition of the kernel serves all strengths: scikit-learn's `KernelRidge`, which gives the same
    reconstructions, would be trained again for each strength and each part.
    """

    scaling: Scaling
    known: FloatArray
    """The standardised training vectors, float64 `[N, D]`."""
    mean: FloatArray
    """The mean training image, float64 `[V]`."""
    weights: FloatArray
    """The dual coefficients, float64 `[N, V]`."""
    strength: float
    shape: tuple[int, ...]

    @classmethod
    def train(cls, vectors: FloatMatrix, images: ImageArray) -> "RidgeDecoder":
        """Returns the decoder of vectors float `[N, D]` and their images uint8 `[N, H, W, 3]`."""
        scaling = Scaling.of(vectors)
        known, pixels = scaling.standardise(vectors), _flatten(images)
        mean = pixels.mean(axis=0)
        values, axes = np.linalg.eigh(_kernel(known, known))
        values = np.maximum(values, 0)
        basis = _find_components(pixels - mean)
        strength = _choose_strength(values, axes, (pixels - mean) @ basis.T)
        along = axes.T @ (pixels - mean) / (values + strength)[:, np.newaxis]
        return cls(
            scaling=scaling,
            known=known,
            mean=mean,
            weights=axes @ along,
            strength=strength,
            shape=images.shape[1:],
        )

    def reconstruct(self, vectors: FloatMatrix) -> ImageArray:
        """Returns the images of vectors float `[N, D]`, uint8 `[N, H, W, 3]`."""
        kernel = _kernel(self.scaling.standardise(vectors), self.known)
        return _as_images(self.mean + kernel @ self.weights, self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkDecoder:
    """A network from the standardised vector to the principal components of the pixels.

    It is written out since scikit-learn's `MLPRegressor` has no dropout, and takes three times as long to
    identify as many images.
    """

    scaling: Scaling
    layers: "list[Layer]"
    mean: FloatArray
    basis: FloatArray
    """The components that the network answers in, float64 `[C, V]`, scaled to pixels."""
    shape: tuple[int, ...]

    @classmethod
    def train(cls, vectors: FloatMatrix, images: ImageArray, *, seed: int, epochs: int) -> "NetworkDecoder":
        """Returns the decoder of vectors float `[N, D]` and their images uint8 `[N, H, W, 3]`."""
        scaling, pixels = Scaling.of(vectors), _flatten(images)
        mean = pixels.mean(axis=0)
        basis = _find_components(pixels - mean)
        wanted = (pixels - mean) @ basis.T
        scale = (np.sqrt((wanted**2).sum(axis=1).mean()) or 1.0) / _FIRST_LOSS
        layers = _train_network(
            scaling.standardise(vectors).astype(np.float32),
            (wanted / scale).astype(np.float32),
            random=np.random.default_rng(seed),
            epochs=epochs,
        )
        return cls(scaling=scaling, layers=layers, mean=mean, basis=scale * basis, shape=images.shape[1:])

    def reconstruct(self, vectors: FloatMatrix) -> ImageArray:
        """Returns the images of vectors float `[N, D]`, uint8 `[N, H, W, 3]`."""
        first, last = self.layers
        hidden = first.apply(self.scaling.standardise(vectors).astype(np.float32))
        answered = last.apply(np.maximum(hidden, 0))
        return _as_images(self.mean + answered @ self.basis, self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A dense layer: `weight` float32 `[I, O]`, `bias` float32 `[O]`; training changes them in place."""

    weight: Float32Array
    bias: Float32Array

    def apply(self, values: Float32Array) -> Float32Array:
        """Returns the layer's outputs, float32 `[N, O]`."""
        return values @ self.weight + self.bias


def _kernel(one: FloatArray, other: FloatArray) -> FloatArray:
    """Returns exp(-|a - b|^2 / D) of rows float64 `[N, D]` and `[M, D]`, float64 `[N, M]`."""
    squares = (np.einsum("nd,nd->n", each, each) for each in (one, other))
    left, right = squares
    distances = left[:, np.newaxis] - 2 * one @ other.T + right
    return np.asarray(np.exp(-np.maximum(distances, 0) / one.shape[1]))


def _choose_strength(values: FloatArray, axes: FloatArray, wanted: FloatArray) -> float:
    """Returns the strength with the least squared error of leave-one-out, over `wanted` float64 `[N, C]`.

    `values` and `axes` are the kernel's eigenvalues and eigenvectors. What a ridge answers for an image that
    it was not trained on follows from its answer with the image, and from the image's leverage (Allen, 1974).
    """
    along, shares = axes.T @ wanted, axes**2
    errors = []
    for strength in STRENGTHS:
        kept = values / (values + strength)
        leverage = np.minimum(shares @ kept, 1 - _LEAST_LEVERAGE)
        residuals = axes @ ((1 - kept)[:, np.newaxis] * along)
        errors.append(float(((residuals.T / (1 - leverage)) ** 2).mean()))
    return float(STRENGTHS[int(np.argmin(errors))])


def _find_components(centred: FloatArray) -> FloatArray:
    """Returns the first principal components of centred pixels float64 `[N, V]`, float64 `[C, V]`."""
    from sklearn.utils.extmath import randomized_svd

    count = min(COMPONENTS, len(centred) - 1)
    _, _, axes = randomized_svd(centred.astype(np.float32), count, n_iter=2, random_state=0)
    return np.asarray(axes, dtype=np.float64)


def _train_network(
    inputs: Float32Array, wanted: Float32Array, *, random: np.random.Generator, epochs: int
) -> list[Layer]:
    """Returns two layers, trained by Adam on the squared error, with dropout and a rate that falls to 0."""
    layers = [
        Layer(
            weight=(random.standard_normal((rows, columns)) * np.sqrt(2 / rows)).astype(np.float32),
            bias=np.zeros(columns, np.float32),
        )
        for rows, columns in pairwise([inputs.shape[1], HIDDEN, wanted.shape[1]])
    ]
    layers[-1].weight[:] *= np.float32(0.1)
    moved = [_Parameter(array) for layer in layers for array in (layer.weight, layer.bias)]
    batches = -(-len(inputs) // BATCH)
    rate = LEARNING_RATE * np.sqrt(RATE_IS_FOR / inputs.shape[1])
    for epoch in range(epochs):
        order = random.permutation(len(inputs))
        for batch in range(batches):
            rows = order[batch * BATCH : (batch + 1) * BATCH]
            slopes = _find_slopes(layers, inputs[rows], wanted[rows], random)
            done = (epoch * batches + batch) / (epochs * batches)
            for parameter, slope in zip(moved, slopes, strict=True):
                parameter.step(slope, rate * (1 + np.cos(np.pi * done)) / 2)
    return layers


def _find_slopes(
    layers: list[Layer], inputs: Float32Array, wanted: Float32Array, random: np.random.Generator
) -> list[Float32Array]:
    """Returns the slopes of the loss of a batch for each weight and bias, in their order."""
    first, last = layers
    hidden = np.maximum(first.apply(inputs), 0)
    dropped = random.random(hidden.shape, dtype=np.float32) < DROPOUT
    hidden[dropped] = 0
    hidden /= np.float32(1 - DROPOUT)
    error = (last.apply(hidden) - wanted) * np.float32(2 / len(inputs))
    behind = (error @ last.weight.T) * (hidden > 0) / np.float32(1 - DROPOUT)
    return [inputs.T @ behind, behind.sum(axis=0), hidden.T @ error, error.sum(axis=0)]


class _Parameter:
    """A weight or bias that Adam (Kingma and Ba, 2015) moves in place."""

    def __init__(self, values: Float32Array) -> None:
        self._values = values
        self._mean, self._square = np.zeros_like(values), np.zeros_like(values)
        self._steps = 0

    def step(self, slope: Float32Array, rate: float) -> None:
        """Moves the parameter against its slope."""
        self._steps += 1
        self._mean *= np.float32(_ADAM_MEAN)
        self._mean += np.float32(1 - _ADAM_MEAN) * slope
        self._square *= np.float32(_ADAM_SQUARE)
        self._square += np.float32(1 - _ADAM_SQUARE) * slope * slope
        length = np.sqrt(self._square / np.float32(1 - _ADAM_SQUARE**self._steps)) + np.float32(_ADAM_LEAST)
        self._values -= np.float32(rate / (1 - _ADAM_MEAN**self._steps)) * self._mean / length


def _flatten(images: ImageArray) -> FloatArray:
    return images.reshape(len(images), -1).astype(np.float64)


def _as_images(pixels: FloatMatrix, shape: tuple[int, ...]) -> ImageArray:
    return np.rint(np.clip(pixels, 0, 255)).astype(np.uint8).reshape(-1, *shape)
