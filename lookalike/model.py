"""Models embed images, with or without an index."""

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
from lookalike_exporter.heads.head_file import Head, read_head
from lookalike_exporter.model_resolver import get_model
from lookalike_exporter.spec import ModelSpec
from lookalike_exporter.verification import verify_head, verify_spec
from lookalike_exporter.verify import VerifyReport
from lookalike_search.asking.examples import open_source
from lookalike_search.asking.query_sources import QueryInput, find_sources
from numpy.typing import NDArray

from lookalike.arguments import check_choice, check_whole
from lookalike.notebook import shows_progress


class Model:
    """A network up to one of its layers, which embeds images.

    Args:
        name: The backbone: `resnet101v2` (or `resnet`) or `vgg16` (or `vgg`). None with a `head`, which
            determines it.
        weights: `imagenet`, the official weights, which are downloaded if needed; or the path of a file that
            Keras saved (`.h5`, `.weights.h5` or `.keras`), of the network or of a model that contains it;
            or, of VGG16, `imagenet-wheel`.
        layer: A Keras layer name; by default `post_relu` of ResNet101V2, `block5_pool` of VGG16.
        pooling: How a feature map becomes one vector: `avg` (the default), `max` or `flatten`.
        precision: `fp32`, `fp16` (for GPUs) or `int8` (faster on a CPU, and a space of its own, which an
            index calibrates on the first folder that is added to it).
        head: The name of a fitted last layer, which determines all of the above.
        provider: The execution provider: `auto`, `cuda`, `openvino` or `cpu`; by default LOOKALIKE_PROVIDER.
        threads: Threads on a CPU; by default the number of CPUs available to the process.

    A model may be used from several threads. It is exported if needed, and loaded, when it is first used.

    Raises:
        UsageError: the arguments contradict each other, or there is no such backbone, layer or head.
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
        precision = check_choice(Precision, precision, "precision")
        settings = self._settings
        self._wanted: ModelSpec | Head
        if head is None:
            self._wanted = ModelSpec.of(
                name or RESNET101V2.name,
                layer=layer,
                pooling=check_choice(Pooling, pooling, "pooling") if pooling is not None else None,
                weights=os.path.expanduser(weights),  # noqa: PTH111 - as options are read
                precision=precision,
            )
        elif name or layer or pooling or weights != WeightsKind.IMAGENET or precision != Precision.FP32:
            raise UsageError("a head already determines the network; give nothing beside it")
        else:
            self._wanted = read_head(head, settings)
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
        """The current settings of the environment, with this model's provider and threads."""
        return settings_for(*self._chosen)

    @property
    def dimension(self) -> int:
        """The number of values of a vector."""
        return len(self._wanted.bias) if isinstance(self._wanted, Head) else self._wanted.dimension

    @property
    def provider(self) -> str | None:
        """The execution provider in use; None until the model is loaded."""
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

        Images are paths of files (or a single path), bytes of files, files opened in binary, Pillow images,
        or uint8 `[H, W, 3]` in sRGB. Vectors are not normalised. Files are read ahead in threads.

        Raises:
            ImageError: an image cannot be read, or has more than `max_pixels`.
            UsageError: an object is no image.
            WeightsError, ModelError, ProviderError: the model is not available or cannot be run.
        """
        size, most = check_whole(batch_size, "batch_size"), check_whole(max_pixels, "max_pixels")
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
        """Exports the model if needed, and returns the path of its `.onnx` file.

        Its input is uint8 `[N, 224, 224, 3]` in sRGB, its output float32 `[N, D]`. `path`, which ends in
        `.onnx`, is where to write it; by default the model cache.

        Raises:
            UsageError: the path has another suffix, or a file that must not be overwritten.
            WeightsError, ModelError: the model is not available.
        """
        if path is None:
            return get_model(self._wanted, settings=self._settings).path
        if isinstance(self._wanted, Head):
            raise UsageError("the model of a head is exported only into the model cache; leave the path out")
        return export_to(Path(path).expanduser(), self._wanted, settings=self._settings).path

    def verify(self, images: str | os.PathLike[str] | None = None) -> VerifyReport:
        """Checks the exported model, and compares it with Keras where Keras is installed.

        An fp16 or int8 model is compared with the fp32 one, on a folder of `images` if given. Failed checks
        are in the report and raise nothing.

        Raises:
            WeightsError, ModelError: the model is not available.
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
                self._embedder = Embedder.from_settings(model.path, settings, expected=model.manifest)
            return self._embedder


def settings_for(provider: str | None = None, threads: int | None = None) -> Settings:
    """Returns the settings of the environment, with the given provider and threads.

    Raises:
        UsageError: there is no such provider, or the number of threads is out of its range.
    """
    choice = check_choice(ProviderChoice, provider, "provider") if provider is not None else None
    lent = None if threads is None else check_whole(threads, "threads")
    return Settings.from_environment().with_provider(choice, require_gpu=False, threads=lent)


def _pixels(image: QueryInput, *, max_pixels: int) -> Pixels:
    """Returns the preprocessed pixels of an image, uint8 `[224, 224, 3]`."""
    if isinstance(image, str | os.PathLike) and os.path.isdir(os.path.expanduser(image)):  # noqa: PTH111, PTH112
        raise UsageError(f"{os.fspath(image)} is a folder; give its images one by one")
    [source] = find_sources(image, (), max_pixels=max_pixels)
    if source.problem is not None:
        raise source.problem
    if source.pixels is not None:
        return source.pixels
    if (opening := open_source(source)) is None:
        raise UsageError("a feature vector is no image; it needs no embedding")
    with opening as stream:
        return decode(stream, source.name, max_pixels=max_pixels).pixels
