"""Images become vectors: one ONNX Runtime session, and the execution provider that it really uses."""

from collections.abc import Sequence
from logging import Logger
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lookalike_core.arrays import FloatVector, Pixels
from lookalike_core.errors import ManifestError, ModelError
from lookalike_core.hints import Action, Hint
from lookalike_core.memory import is_out_of_memory, memory_error
from lookalike_core.models.model_manifest import ModelManifest, Precision
from lookalike_core.models.providers import CPU, OpenedSession, first_line, open_session
from lookalike_core.settings import ProviderChoice, Settings
from lookalike_core.text import format_count

BATCH_SIZE = 16
"""Images per run; on a CPU larger batches take memory and gain nothing."""

SMALL_JOB = 8
"""The number of images that a CPU embeds before a provider with a slow start would begin."""


class Embedder:
    """A loaded model. `provider` is what the session uses, read back from it.

    `notice` is a message about a provider that is installed but not used, or a slow choice.
    """

    def __init__(self, opened: OpenedSession, manifest: ModelManifest) -> None:
        self._session = opened.session
        self.manifest = manifest
        self.provider = opened.provider
        self.notice = opened.notice
        if manifest.graph_precision is Precision.FP16 and opened.provider == CPU:
            self.notice = "this model is fp16, which is for GPUs; on a CPU fp32 is faster"

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        provider: str = ProviderChoice.AUTO,
        threads: int | None = None,
        cache_dir: Path | None = None,
        is_small_job: bool = False,
        expected: ModelManifest | None = None,
    ) -> Self:
        """Opens a session on the best available provider (`auto`), or on the one that is named.

        `threads`, `cache_dir` and `is_small_job` are those of `open_session`. The model's manifest must agree
        with the `expected` one, if given.

        Raises:
            ModelError: the file is not a model that the exporter wrote, or it is another one.
            ProviderError: the session would not use the provider that was named.
        """
        choice = ProviderChoice(provider)
        opened = open_session(path, choice, threads=threads, cache_dir=cache_dir, is_small_job=is_small_job)
        try:
            manifest = ModelManifest.from_metadata(opened.session.get_modelmeta().custom_metadata_map)
        except ManifestError as error:
            raise ModelError(f"{path}: {error}", path=path, hint=error.hint) from error
        if expected is not None and (differing := manifest.differences(expected)):
            raise ModelError(
                f"{path} is another model: {'; '.join(differing)}; remove it and try again", path=path
            )
        return cls(opened, manifest)

    @classmethod
    def from_settings(
        cls, path: Path, settings: Settings, *, expected: ModelManifest, images: int | None = None
    ) -> Self:
        """Loads a model by the settings, and caches its optimized graph for the next process.

        `images` is the number of images to embed, None if it is unknown or large.
        """
        return cls.load(
            path,
            provider=settings.provider,
            threads=settings.threads,
            cache_dir=settings.optimized_dir,
            is_small_job=images is not None and images <= SMALL_JOB,
            expected=expected,
        )

    def log_provider(self, logger: Logger) -> None:
        """Logs the provider that the model runs on, after the `notice`, if any, as a warning."""
        if self.notice:
            logger.warning("%s", self.notice)
        logger.info("%s runs on %s", self.manifest.identity.backbone, self.provider)

    def embed(self, pixels: NDArray[np.uint8] | Sequence[Pixels]) -> NDArray[np.float32]:
        """Returns float32 `[N, D]` for uint8 `[N, 224, 224, 3]` RGB.

        Raises:
            MemoryError: the provider needs more memory than is available.
            ModelError: the provider failed.
        """
        try:
            (vectors,) = self._session.run(None, {"images": np.asarray(pixels, dtype=np.uint8)})
        except Exception as error:
            what = f"{self.provider} failed on {format_count(len(pixels), 'image')}"
            if is_out_of_memory(error):
                raise memory_error(error, what) from error
            raise ModelError(f"{what} ({first_line(error)})", hint=Hint(Action.CHANGE_PROVIDER)) from error
        return np.asarray(vectors, dtype=np.float32)

    def embed_one(self, pixels: Pixels) -> FloatVector:
        """Returns float32 `[D]` for uint8 `[224, 224, 3]` RGB."""
        return np.asarray(self.embed(pixels[np.newaxis])[0], dtype=np.float32)
