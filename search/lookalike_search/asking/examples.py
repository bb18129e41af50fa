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
from lookalike_core.images.region import Part
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
    `part` is the part of the image that the vectors are of, None without a region.
    """

    name: str
    file: Path | None
    sha256: frozenset[str]
    indexed: Payload | None
    vectors: Sequence[FloatVector]
    provider: str | None
    embed_ms: float
    part: Part | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the vectors are of the whole image."""
        return self.part is None or self.part.is_whole


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

    The vectors of an indexed image are the stored ones; any other image, and a part of one, is decoded and
    embedded by each network: see `SearchedCollection.embed_parts`. Threads read ahead, and `BATCH_SIZE`
    images are embedded at a time.
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

    `stream` opens its bytes, None where it has none; `pixels` are decoded where a network has to embed them,
    and with a `part` that is not all of the image they show that, and `whole` all of it.
    """

    source: Source
    stored: Sequence[FloatVector | None]
    stream: AbstractContextManager[BinaryIO] | None = None
    sha256: str | None = None
    pixels: Pixels | None = None
    part: Part | None = None
    whole: Pixels | None = None
    problem: ImageError | None = None

    @property
    def is_part(self) -> bool:
        """Whether its vectors are those of a part of an image."""
        return self.part is not None and not self.part.is_whole


def _make_draft(source: Source, networks: Sequence[SearchedCollection]) -> _Draft:
    """Returns the draft of a source; streams are read here, where Ctrl-C interrupts them, files later."""
    if source.problem is not None:
        return _Draft(source=source, stored=[], problem=source.problem)
    if source.vector is not None:
        return _Draft(source=source, stored=[source.vector for _ in networks])
    try:
        part = find_indexed_part(source) or source.part
        is_stored = source.id is not None and (part is None or part.is_whole)
        stored = [
            network.stored_vector(source.id) if source.id is not None and is_stored else None
            for network in networks
        ]
        return _Draft(
            source=source,
            stored=stored,
            stream=open_source(source),
            pixels=source.pixels,
            part=part,
            whole=source.whole,
        )
    except ImageError as error:
        return _Draft(source=source, stored=[], problem=error)


def find_indexed_part(source: Source) -> Part | None:
    """Returns the part of an indexed image that its region means; None without one.

    Raises:
        ImageError: the region reaches beyond the image.
    """
    if source.region is None or not source.payloads:
        return None
    width, height = source.payloads[0].width, source.payloads[0].height
    box = source.region.locate((width, height), source.title)
    return Part(box=box, width=width, height=height)


def _read(draft: _Draft, *, max_pixels: int) -> _Draft:
    """Returns the draft with its pixels, where a network has to embed it."""
    is_complete = draft.pixels is not None or all(vector is not None for vector in draft.stored)
    if draft.problem is not None or is_complete:
        return draft
    read = _decode_indexed if draft.source.payloads else _decode
    try:
        return read(draft, max_pixels)
    except ImageError as error:
        return replace(draft, problem=error)


def _decode(draft: _Draft, max_pixels: int) -> _Draft:
    """Returns the draft with the SHA-256 and the pixels of its image."""
    if draft.stream is None:
        raise ImageError("no file path is recorded for this image", reason=SkipReason.VANISHED)
    with draft.stream as stream:
        sha256, source = hash_stream(stream), draft.source
        image = decode(stream, source.title, max_pixels=max_pixels, region=source.region)
        if source.region is None:
            return replace(draft, sha256=sha256, pixels=image.pixels)
        whole = image if image.part.is_whole else decode(stream, source.title, max_pixels=max_pixels)
    return replace(draft, sha256=sha256, pixels=image.pixels, part=image.part, whole=whole.pixels)


def _decode_indexed(draft: _Draft, max_pixels: int) -> _Draft:
    """Returns the same of an indexed image that some collections lack, or of which a region is wanted."""
    try:
        read = _decode(draft, max_pixels)
    except ImageError as error:
        why = "is not in every collection" if draft.source.region is None else "has a region"
        raise ImageError(
            f"{draft.source.title} {why}, and its file cannot be read: {error}",
            reason=error.reason,
            limit=error.limit,
            path=error.path,
            hint=error.hint,
        ) from error
    require_unchanged(draft.source, read.sha256 or "")
    return read


def _embed(
    drafts: Sequence[_Draft], networks: Sequence[SearchedCollection]
) -> list[list[FloatVector | None]]:
    """Returns for each draft the vectors of all networks, stored or computed; None for an unusable one."""
    vectors = [list(draft.stored) for draft in drafts]
    for i, network in enumerate(networks):
        missing = {
            row: draft
            for row, draft in enumerate(drafts)
            if draft.pixels is not None and draft.stored[i] is None
        }
        parts = {row: draft for row, draft in missing.items() if network.averages_cells and draft.is_part}
        wholes = {row: draft for row, draft in missing.items() if row not in parts}
        for rows, embed in ((wholes, _embed_wholes), (parts, _embed_parts)):
            if rows:
                for row, vector in zip(rows, embed(list(rows.values()), network), strict=True):
                    vectors[row][i] = vector
    return vectors


def _embed_wholes(drafts: Sequence[_Draft], network: SearchedCollection) -> list[FloatVector | None]:
    return network.embed([draft.pixels for draft in drafts if draft.pixels is not None])


def _embed_parts(drafts: Sequence[_Draft], network: SearchedCollection) -> list[FloatVector | None]:
    return network.embed_parts(
        [draft.pixels for draft in drafts if draft.pixels is not None],
        [draft.whole for draft in drafts if draft.whole is not None],
        [draft.part for draft in drafts if draft.part is not None],
    )


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
        part=draft.part,
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
