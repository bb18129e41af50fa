"""Reads a sample of a collection's images from their files, and embeds them again with noise."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from lookalike_core import progress
from lookalike_core.arrays import Pixels
from lookalike_core.errors import ImageError, SkipReason, UsageError
from lookalike_core.hints import Action, Hint
from lookalike_core.logs import get_logger
from lookalike_core.models.embedder import BATCH_SIZE, Embedder
from lookalike_core.prefetch import map_ahead
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.overlapping_roots import file_of
from lookalike_core.stores.points import Payload, usable_rows
from lookalike_core.text import format_count
from lookalike_exporter.model_resolver import get_model
from numpy.typing import NDArray

from lookalike_search.evaluation.image_noise import add_noise
from lookalike_search.evaluation.labelled_vectors import FloatMatrix, IntVector
from lookalike_search.unchanged_files import read_unchanged

_logger = get_logger("search")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyQueries:
    """Images that were embedded again: `rows` int64 `[Q]`, and float32 `[Q, D]` for each level of noise.

    `left_out` images were drawn and could not be embedded. `provider` is what embedded the others.
    """

    rows: IntVector
    vectors: Mapping[float, FloatMatrix]
    left_out: int
    provider: str


def embed_noisy(
    payloads: Sequence[Payload],
    manifest: CollectionManifest,
    order: IntVector,
    *,
    levels: Sequence[float],
    sample: int,
    seed: int = 0,
    settings: Settings,
) -> NoisyQueries:
    """Embeds the first `sample` images of an `order` of rows, int64 `[M]`, with each level of noise.

    An image whose file is gone, has changed or cannot be read is replaced by the next one, and so is one that
    has no embedding at one of the levels; a warning is logged. The noise of an image depends on its bytes,
    the level and `seed`.

    Raises:
        ImageError: none of the images can be embedded.
        UsageError: there is no image.
        ManifestError: the collection's model is not available any more.
    """
    if not len(order):
        raise UsageError(
            f"{manifest.collection} has no image with another of its class to find, with noise or without",
            hint=Hint(Action.LABEL),
        )
    missing: Counter[SkipReason] = Counter()
    rows: list[int] = []
    parts: list[NDArray[np.float32]] = []
    network = _Network(manifest, images=sample * len(levels), settings=settings)
    read_one = partial(_read, payloads=payloads, manifest=manifest)
    wanted = min(sample, len(order))
    with (
        progress.bar(f"{manifest.collection}, with noise", unit="images", total=wanted) as bar,
        closing(map_ahead(read_one, iter(order.tolist()), ahead=BATCH_SIZE)) as read,
    ):
        while together := list(islice(read, min(BATCH_SIZE, wanted - len(rows)))):
            missing.update(found for _, found in together if isinstance(found, SkipReason))
            noisy = [
                (row, [add_noise(found, level, sha256=payloads[row].sha256, seed=seed) for level in levels])
                for row, found in together
                if not isinstance(found, SkipReason)
            ]
            vectors = network.embed([pixels for _, pixels in noisy])
            usable = [row for (row, _), each in zip(noisy, vectors, strict=True) if each is not None]
            missing[SkipReason.NO_EMBEDDING] += len(noisy) - len(usable)
            rows += usable
            parts += [each for each in vectors if each is not None]
            bar.advance(len(usable))
    _report(manifest.collection, +missing, rows, len(order))
    return NoisyQueries(
        rows=np.array(rows, dtype=np.int64),
        vectors={level: np.stack([each[place] for each in parts]) for place, level in enumerate(levels)},
        left_out=missing.total(),
        provider=network.provider,
    )


def _report(name: str, missing: Counter[SkipReason], rows: Sequence[int], drawn: int) -> None:
    """Logs a warning about images that could not be embedded; raises if that is all of them."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(missing.items()))
    if not rows:
        raise ImageError(
            f"none of the {format_count(drawn, 'image')} of {name} can be embedded again from its file: "
            f"{reasons}",
            reason=missing.most_common(1)[0][0],
            hint=Hint(Action.UPDATE),
        )
    if missing:
        _logger.warning(
            "%s: left out of the sample, since they cannot be embedded again: %s (%s)",
            name,
            format_count(missing.total(), "image"),
            reasons,
        )


class _Network:
    """The model of a collection, which is loaded when the first image is embedded."""

    def __init__(self, manifest: CollectionManifest, *, images: int, settings: Settings) -> None:
        self._manifest, self._images, self._settings = manifest, images, settings
        self._embedder: Embedder | None = None

    @property
    def provider(self) -> str:
        """The execution provider of the loaded model."""
        return self._loaded().provider

    def embed(self, pixels: Sequence[Sequence[Pixels]]) -> list[NDArray[np.float32] | None]:
        """Returns float32 `[L, D]` for the L levels of each image; None where one of these is unusable."""
        flat = [level for each in pixels for level in each]
        starts = range(0, len(flat), BATCH_SIZE)
        vectors = [
            vector for start in starts for vector in self._loaded().embed(flat[start : start + BATCH_SIZE])
        ]
        found = []
        for place, each in enumerate(pixels):
            own = np.stack(vectors[place * len(each) : (place + 1) * len(each)])
            found.append(own if usable_rows(own).all() else None)
        return found

    def _loaded(self) -> Embedder:
        if self._embedder is None:
            model = get_model(self._manifest, settings=self._settings)
            self._embedder = Embedder.from_settings(
                model.path, self._settings, expected=model.manifest, images=self._images
            )
            self._embedder.log_provider(_logger)
        return self._embedder


def _read(
    row: int, *, payloads: Sequence[Payload], manifest: CollectionManifest
) -> tuple[int, Pixels | SkipReason]:
    """Returns a row with the pixels of its image, or why it cannot be read as it was ingested."""
    payload = payloads[row]
    return row, read_unchanged(file_of(manifest, payload.dataset, payload.path), payload)
