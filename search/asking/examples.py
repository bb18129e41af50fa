"""Pictures to ask with, as vectors: read once, embedded by each network, and several made one."""

import io
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lookalike.errors import PictureError, SkipReason
from lookalike.manifest import Distance
from lookalike.pictures.decoding import Pixels, decode
from lookalike.pictures.files import opened, read_piped, sha256_of
from lookalike.stores.points import FloatVector, Payload
from search.asking.network import Network
from search.asking.sources import Source, known_payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A picture to ask with: `vectors` holds one float32 `[D]` for each network.

    `sha256` are the hashes of its bytes, of which stale collections may know several. `indexed` is what is
    known of it. `provider` is what embedded it, None where all vectors were stored.
    """

    name: str
    file: Path | None
    sha256: frozenset[str]
    indexed: Payload | None
    vectors: Sequence[FloatVector]
    provider: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleSet:
    """Examples that go with every query, and by which `names` they were asked for."""

    names: Sequence[str] = ()
    examples: Sequence[Example] = ()


NO_EXAMPLES = ExampleSet()


def read_example(source: Source, networks: Sequence[Network], *, max_pixels: int) -> Example:
    """The stored vectors of an indexed picture; of any other one the file, decoded once for all networks.

    Raises:
        PictureError: it cannot be read; or it is in one collection only, and its file is gone or changed.
    """
    if source.problem is not None:
        raise source.problem
    stored = [network.stored(source.id) if source.id else None for network in networks]
    known = [vector for vector in stored if vector is not None]
    if len(known) == len(networks):
        hashes = frozenset(payload.sha256 for payload in source.payloads)
        return _example(source, hashes, source.payloads[0], known, None)
    sha256, pixels = _indexed_file(source, max_pixels) if source.payloads else _read(source, max_pixels)
    vectors = [
        network.embedded(pixels, source.name) if vector is None else vector
        for network, vector in zip(networks, stored, strict=True)
    ]
    indexed = next(iter(source.payloads), None)
    if indexed is None and source.file is not None:
        indexed = known_payload(source.file, sha256, [network.collection for network in networks])
    provider = next(network.provider for network in networks if network.provider)
    hashes = frozenset({sha256, *(payload.sha256 for payload in source.payloads)})
    return _example(source, hashes, indexed, vectors, provider)


def combined(
    positives: Sequence[FloatVector], negatives: Sequence[FloatVector], distance: Distance
) -> FloatVector | None:
    """One vector float32 `[D]` to search with for several, each `[D]`; None where nothing is left of them.

    The mean of the positive ones; with negative ones twice that less the mean of those, as Qdrant's
    recommendation by the average vector has it (https://qdrant.tech/documentation/concepts/explore/). For
    cosine each is brought to length 1 first. What is shorter than a millionth of what went in is nothing
    but rounding.
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


def _example(
    source: Source,
    sha256: frozenset[str],
    indexed: Payload | None,
    vectors: Sequence[FloatVector],
    provider: str | None,
) -> Example:
    return Example(
        name=source.name,
        file=source.file,
        sha256=sha256,
        indexed=indexed,
        vectors=vectors,
        provider=provider,
    )


def _indexed_file(source: Source, max_pixels: int) -> tuple[str, Pixels]:
    """Of a picture that not every collection has, for the networks that have to see it."""
    if source.file is None:
        raise PictureError(
            f"{source.name} is not in every collection, and where its file lies is not known",
            reason=SkipReason.VANISHED,
        )
    try:
        sha256, pixels = _read(source, max_pixels)
    except PictureError as error:
        raise PictureError(
            f"{source.name} is not in every collection, and its file cannot be read: {error}",
            reason=error.reason,
        ) from error
    require_unchanged(source, sha256)
    return sha256, pixels


def require_unchanged(source: Source, sha256: str) -> None:
    """Refuses what lies in an indexed picture's file now where that is another picture.

    `sha256` is of the bytes that were read; what is no indexed picture cannot have changed.

    Raises:
        PictureError: a collection was made of other bytes.
    """
    if any(payload.sha256 != sha256 for payload in source.payloads):
        raise PictureError(
            f"{source.file} has changed since it was ingested; bring its collections up to date with: "
            "ingest run DIR",
            reason=SkipReason.UNREADABLE,
        )


def _read(source: Source, max_pixels: int) -> tuple[str, Pixels]:
    """The SHA-256 and the pixels of a picture."""
    with nullcontext(stdin_stream()) if source.file is None else opened(source.file) as stream:
        return sha256_of(stream), decode(stream, source.name, max_pixels=max_pixels).pixels


def stdin_stream() -> BinaryIO:
    """All of standard input as a stream that can be read again and again; nothing where it is closed."""
    return read_piped(sys.stdin.buffer) if sys.stdin is not None else io.BytesIO()
