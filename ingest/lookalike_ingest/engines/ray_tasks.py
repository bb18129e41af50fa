"""What runs on the nodes of a Ray cluster: the functions that hash, embed and write.

Items and results are pickled, since Ray's own columns would change types. Errors of ours come back as
results: others are of the cluster.
"""

import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from lookalike_core.batched import batched
from lookalike_core.errors import LookalikeError
from lookalike_core.images.decoding import DecodedImage
from lookalike_core.images.scan import FoundFile
from lookalike_core.models.embedder import BATCH_SIZE, Embedder
from lookalike_core.models.model_manifest import ModelManifest
from lookalike_core.prefetch import map_ahead
from lookalike_core.settings import ProviderChoice
from lookalike_core.stores.address import ServerConnection
from lookalike_core.stores.connection import connect
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.protocol import Collection, Store

from lookalike_ingest.embedders import LARGEST_BATCH, default_batch_size
from lookalike_ingest.engines.engine import FileToEmbed
from lookalike_ingest.image_reader import EmbeddedImage, ReadFile, count_readers, hash_image, read_image

ITEM = "item"
"""The one column of what goes through Ray Data."""

Row = Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentModel:
    """A model on its way to the nodes: `path` is its key, `content` a reference to the bytes of its file."""

    path: Path
    manifest: ModelManifest
    content: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingOptions:
    """How workers embed; `threads` are those of each, for decoding and for embedding on a CPU."""

    provider: ProviderChoice
    threads: int
    max_pixels: int
    batch_size: int | None = None


class Embedding:
    """A worker that embeds: it loads each model with the first file that needs it."""

    def __init__(
        self, models: Sequence[SentModel], options: EmbeddingOptions, get: Callable[[Any], bytes]
    ) -> None:
        self._models, self._options, self._get = {each.path: each for each in models}, options, get
        self._embedders: dict[Path, Embedder] = {}

    def __call__(self, row: Row) -> Row:
        """Returns the files of a row, read and embedded, in order."""
        return _answer(row, self._embed)

    def _embed(self, files: Sequence[FileToEmbed]) -> list[ReadFile]:
        ahead = 2 * (self._options.batch_size or LARGEST_BATCH)
        readers = max(self._options.threads, count_readers(files[0].found.root) or 0)
        read = map_ahead(self._read, iter(files), ahead=ahead, workers=readers)
        wanted = {file.found.path: file.models for file in files}
        done: list[ReadFile] = []
        for batch in self._in_batches(read, wanted):
            done += self._embed_batch(batch, wanted)
        return done

    def _read(self, file: FileToEmbed) -> ReadFile:
        known = file.known_sha256
        return read_image(file.found, lambda sha256: sha256 == known, max_pixels=self._options.max_pixels)

    def _in_batches(
        self, files: Iterator[ReadFile], wanted: Mapping[str, Sequence[Path]]
    ) -> Iterator[list[ReadFile]]:
        """Yields batches, whose size depends on the models' providers unless one is given."""
        first = next((models[0] for models in wanted.values() if models), None)
        size = self._options.batch_size or BATCH_SIZE
        if self._options.batch_size is None and first is not None:
            size = default_batch_size(self._embedder_of(first).provider)
        return batched(files, size)

    def _embed_batch(
        self, files: Sequence[ReadFile], wanted: Mapping[str, Sequence[Path]]
    ) -> Iterator[ReadFile]:
        vectors: dict[str, dict[Path, Any]] = {file.found.path: {} for file in files}
        for model in dict.fromkeys(model for file in files for model in wanted[file.found.path]):
            paths: list[str] = []
            pixels: list[Any] = []
            for file in files:
                if isinstance(file.image, DecodedImage) and model in wanted[file.found.path]:
                    paths.append(file.found.path)
                    pixels.append(file.image.pixels)
            if pixels:
                rows = self._embedder_of(model).embed(np.stack(pixels))
                for path, row in zip(paths, rows, strict=True):
                    vectors[path][model] = row.copy()  # a view would be pickled as the whole
        return (self._without_pixels(file, vectors[file.found.path]) for file in files)

    def _without_pixels(self, file: ReadFile, vectors: Mapping[Path, Any]) -> ReadFile:
        if not isinstance(file.image, DecodedImage):
            return file
        providers = {model: self._embedders[model].provider for model in vectors}
        image = EmbeddedImage(
            width=file.image.width, height=file.image.height, vectors=vectors, providers=providers
        )
        return replace(file, image=image)

    def _embedder_of(self, model: Path) -> Embedder:
        if model not in self._embedders:
            self._embedders[model] = self._load(self._models[model])
        return self._embedders[model]

    def _load(self, model: SentModel) -> Embedder:
        """Opens a session by a temporary file of this node, which is removed again."""
        handle, name = tempfile.mkstemp(prefix="lookalike-", suffix=".onnx")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._get(model.content))
            return Embedder.load(
                Path(name),
                provider=self._options.provider,
                threads=self._options.threads,
                expected=model.manifest,
            )
        finally:
            Path(name).unlink(missing_ok=True)


def hash_row(row: Row) -> Row:
    """Returns the SHA-256 of the files of a row, in order; None for one that cannot be read."""
    return _answer(row, _hash)


def _hash(files: Sequence[FoundFile]) -> list[str | None]:
    return [hash_image(found) for found in files]


class Writer:
    """A worker that writes points as any ingest does; it opens the store with its first points."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._store: Store | None = None
        self._open: dict[str, Collection] = {}

    def write(self, collection: str, points: Sequence[ImagePoint]) -> Exception | None:
        """Writes points, and returns the error if there is one of ours."""
        try:
            self._open_collection(collection).upsert(points)
        except (LookalikeError, MemoryError) as error:
            return error
        return None

    def _open_collection(self, name: str) -> Collection:
        if self._store is None:
            self._store = connect(self._connection.url, api_key=self._connection.api_key)
        if name not in self._open:
            self._open[name] = self._store.open(name)
        return self._open[name]


def pack(items: Sequence[Any]) -> Row:
    """Returns items as a row."""
    return {ITEM: pickle.dumps(list(items), protocol=pickle.HIGHEST_PROTOCOL)}


def unpack(row: Row) -> list[Any]:
    """Returns the items of a row.

    Raises:
        LookalikeError, MemoryError: the row is an error.
    """
    content = pickle.loads(row[ITEM])  # noqa: S301 - from our own function, over the cluster's connections
    if isinstance(content, Exception):
        raise content
    return list(content)


def _answer(row: Row, function: Callable[[Any], Sequence[Any]]) -> Row:
    """Returns what a function makes of the items of a row, or its error."""
    try:
        return pack(function(unpack(row)))
    except (LookalikeError, MemoryError) as error:
        return {ITEM: pickle.dumps(error)}
