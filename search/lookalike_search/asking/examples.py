"""Turns query images into vectors: each is read once and embedded by each network; examples are combined."""

import io
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from lookalike_core.arrays import FloatVector, Pixels
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.hints import Action, Hint
from lookalike_core.images.decoding import decode
from lookalike_core.images.open_image import hash_stream, open_file, read_pipe
from lookalike_core.models.embedder import BATCH_SIZE
from lookalike_core.prefetch import map_ahead
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import Payload

from lookalike_search.asking.query_sources import Source, find_known_payload
from lookalike_search.asking.searched_collection import SearchedCollection, milliseconds_since


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A query image, or another example, that was read: `vectors` holds one float32 `[D]` for each network.

    `sha256` holds the hashes of its bytes: several where a stale collection holds an older one. `indexed` is
    its payload, None where it is not indexed. `provider` is what embedded it, None where all vectors were
    stored. `embed_ms` is what reading and embedding took: its share, where several were embedded together.
    """

    name: str
    file: Path | None
    sha256: frozenset[str]
    indexed: Payload | None
    vectors: Sequence[FloatVector]
    provider: str | None
    embed_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleSet:
    """Examples that go with every query, and the `names` that the user gave: one for a whole folder."""

    names: Sequence[str] = ()
    examples: Sequence[Example] = ()


NO_EXAMPLES = ExampleSet()


def read_examples(
    sources: Iterable[Source], networks: Sequence[SearchedCollection], *, max_pixels: int
) -> Generator[Example | ImageError, None, None]:
    """Yields an example for each source, in their order, or why it cannot be read.

    The vectors of an indexed image are the stored ones; any other image is decoded once and embedded by each
    network. Threads read ahead, and `BATCH_SIZE` images are embedded at a time.
    """
    drafts = (_make_draft(source, networks) for source in sources)
    with closing(map_ahead(partial(_read, max_pixels=max_pixels), drafts, ahead=2 * BATCH_SIZE)) as read:
        while True:
            started, loaded = time.perf_counter(), sum(network.load_ms for network in networks)
            if not (together := list(islice(read, BATCH_SIZE))):
                return
            vectors = _embed(together, networks)
            loading_ms = sum(network.load_ms for network in networks) - loaded
            each_ms = (milliseconds_since(started) - loading_ms) / len(together)
            for draft, known in zip(together, vectors, strict=True):
                yield _example(draft, known, networks, each_ms)


def combine(
    positives: Sequence[FloatVector], negatives: Sequence[FloatVector], distance: Distance
) -> FloatVector | None:
    """Returns one vector float32 `[D]` to search with, from several; None where they cancel each other out.

    It is the mean of the positives; with negatives it is twice that less their mean, as in Qdrant's
    recommendation by the average vector (https://qdrant.tech/documentation/concepts/explore/). For cosine
    each is normalised first. A result shorter than a millionth of the longest one is rounding error.
    """
    if len(positives) == 1 and not negatives:
        return positives[0]
    mean = _mean(positives, distance)
    vector = 2 * mean - _mean(negatives, distance) if negatives else mean
    longest = max(_length(each, distance) for each in [*positives, *negatives])
    if np.linalg.norm(vector) <= _ROUNDING * longest:
        return None
    return np.asarray(vector, dtype=np.float32)


_ROUNDING = 1e-6


def _mean(vectors: Sequence[FloatVector], distance: Distance) -> np.ndarray:
    total = np.zeros(len(vectors[0]))
    for vector in vectors:
        exact = vector.astype(np.float64)
        total += exact / np.linalg.norm(exact) if distance is Distance.COSINE else exact
    return total / len(vectors)


def _length(vector: FloatVector, distance: Distance) -> float:
    return 1.0 if distance is Distance.COSINE else float(np.linalg.norm(vector.astype(np.float64)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """An image before it is embedded: `stored` holds its vector in each collection, None where it is missing.

    `stream` opens its bytes, None where it has none; `pixels` are decoded where a network has to embed them.
    """

    source: Source
    stored: Sequence[FloatVector | None]
    stream: AbstractContextManager[BinaryIO] | None = None
    sha256: str | None = None
    pixels: Pixels | None = None
    problem: ImageError | None = None


def _make_draft(source: Source, networks: Sequence[SearchedCollection]) -> _Draft:
    """Returns the draft of a source; streams are read here, where Ctrl-C interrupts them, files later."""
    if source.problem is not None:
        return _Draft(source=source, stored=[], problem=source.problem)
    if source.vector is not None:
        return _Draft(source=source, stored=[source.vector for _ in networks])
    stored = [network.stored_vector(source.id) if source.id else None for network in networks]
    try:
        return _Draft(source=source, stored=stored, stream=open_source(source), pixels=source.pixels)
    except ImageError as error:
        return _Draft(source=source, stored=stored, problem=error)


def _read(draft: _Draft, *, max_pixels: int) -> _Draft:
    """Returns the draft with its pixels, where a network has to embed it."""
    is_complete = draft.pixels is not None or all(vector is not None for vector in draft.stored)
    if draft.problem is not None or is_complete:
        return draft
    read = _decode_indexed if draft.source.payloads else _decode
    try:
        sha256, pixels = read(draft, max_pixels)
    except ImageError as error:
        return replace(draft, problem=error)
    return replace(draft, sha256=sha256, pixels=pixels)


def _decode(draft: _Draft, max_pixels: int) -> tuple[str, Pixels]:
    """Returns the SHA-256 and the pixels of an image."""
    if draft.stream is None:
        raise ImageError("no file path is recorded for this image", reason=SkipReason.VANISHED)
    with draft.stream as stream:
        return hash_stream(stream), decode(stream, draft.source.title, max_pixels=max_pixels).pixels


def _decode_indexed(draft: _Draft, max_pixels: int) -> tuple[str, Pixels]:
    """Returns the SHA-256 and the pixels of an indexed image that some collections lack."""
    try:
        sha256, pixels = _decode(draft, max_pixels)
    except ImageError as error:
        raise ImageError(
            f"{draft.source.title} is not in every collection, and its file cannot be read: {error}",
            reason=error.reason,
            limit=error.limit,
            path=error.path,
            hint=error.hint,
        ) from error
    require_unchanged(draft.source, sha256)
    return sha256, pixels


def _embed(
    drafts: Sequence[_Draft], networks: Sequence[SearchedCollection]
) -> list[list[FloatVector | None]]:
    """Returns for each draft the vectors of all networks, stored or computed; None for an unusable one."""
    vectors = [list(draft.stored) for draft in drafts]
    for i, network in enumerate(networks):
        missing = {
            row: draft.pixels
            for row, draft in enumerate(drafts)
            if draft.pixels is not None and draft.stored[i] is None
        }
        if missing:
            for row, vector in zip(missing, network.embed(list(missing.values())), strict=True):
                vectors[row][i] = vector
    return vectors


def _example(
    draft: _Draft,
    vectors: Sequence[FloatVector | None],
    networks: Sequence[SearchedCollection],
    embed_ms: float,
) -> Example | ImageError:
    source = draft.source
    if draft.problem is not None:
        return draft.problem
    known = [vector for vector in vectors if vector is not None]
    if len(known) < len(vectors):
        return ImageError(
            f"{source.title} has no embedding: its vector is zero or not finite",
            reason=SkipReason.NO_EMBEDDING,
        )
    indexed = next(iter(source.payloads), None)
    if indexed is None and source.file is not None and draft.sha256 is not None:
        indexed = find_known_payload(source.file, draft.sha256, [network.collection for network in networks])
    hashes = {payload.sha256 for payload in source.payloads} | ({draft.sha256} if draft.sha256 else set())
    used = (network for network, vector in zip(networks, draft.stored, strict=True) if vector is None)
    return Example(
        name=source.name,
        file=source.file,
        sha256=frozenset(hashes),
        indexed=indexed,
        vectors=known,
        provider=next((network.provider for network in used), None),
        embed_ms=embed_ms,
    )


def require_unchanged(source: Source, sha256: str) -> None:
    """Refuses an indexed image whose file has changed: `sha256` is that of the bytes that were read now.

    Raises:
        ImageError: a collection holds another hash.
    """
    if any(payload.sha256 != sha256 for payload in source.payloads):
        raise ImageError(
            f"{source.file} has changed since it was ingested",
            reason=SkipReason.UNREADABLE,
            path=source.file,
            hint=Hint(Action.UPDATE),
        )


def open_source(source: Source) -> AbstractContextManager[BinaryIO] | None:
    """Returns a function that opens the bytes of an image, any number of times; None where it has no bytes.

    Raises:
        ImageError: it is a stream of more bytes than may be held in memory.
    """
    if source.file is not None:
        return open_file(source.file)
    if source.content is None:
        return None
    if isinstance(source.content, bytes):
        return nullcontext(io.BytesIO(source.content))
    return nullcontext(read_pipe(source.content, source.title))
