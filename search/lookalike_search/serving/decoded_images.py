"""Decoded images of a query, before and after a network embeds them: uploads, and parts of indexed images."""

import hashlib
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from lookalike_core.arrays import FloatVector, Pixels
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.images.decoding import DecodedImage, decode
from lookalike_core.images.region import Part, Region
from lookalike_core.images.thumbnails import Encoding, Thumbnail, read_thumbnail

from lookalike_search.asking.examples import Example, find_indexed_part, require_unchanged
from lookalike_search.asking.query_sources import Source
from lookalike_search.asking.searched_collection import SearchedCollection, milliseconds_since
from lookalike_search.serving.indexed_images import QUALITY
from lookalike_search.serving.query_fields import Upload
from lookalike_search.serving.uploads import CachedUpload
from lookalike_search.unchanged_files import open_unchanged


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoded:
    """An image: its name, the SHA-256 of its bytes and uint8 `[224, 224, 3]` RGB.

    With a region the pixels show its `part`, and `whole` all of the image. `source` is an indexed image.
    """

    name: str
    sha256: str
    pixels: Pixels
    took_ms: float
    part: Part | None = None
    whole: Pixels | None = None
    source: Source | None = None

    def is_part_for(self, network: SearchedCollection) -> bool:
        """Returns whether a network embeds it as a part of an image, and not as an image of its own."""
        return network.averages_cells and self.part is not None and not self.part.is_whole

    def embed_part(self, network: SearchedCollection) -> FloatVector | None:
        """Returns its vector, float32 `[D]`, as a part of an image; None for a vector of zeros or NaN."""
        if self.part is None or self.whole is None:
            raise ValueError("the image has no region")
        return network.embed_parts([self.pixels], [self.whole], [self.part])[0]


def decode_upload(upload: Upload, region: Region | None, *, max_pixels: int) -> Decoded:
    """Returns an uploaded image; of a `region` its pixels show that alone.

    Raises:
        ImageError: it cannot be decoded, or the region reaches beyond it.
    """
    started = time.perf_counter()
    if isinstance(upload, CachedUpload) and region is None:
        return Decoded(name=upload.name, sha256=upload.sha256, pixels=upload.pixels, took_ms=0.0)
    sha256, stream = hashlib.sha256(upload.content).hexdigest(), io.BytesIO(upload.content)
    shown = decode(stream, upload.name, max_pixels=max_pixels, region=region)
    whole = _whole_of(stream, shown, upload.name, max_pixels) if region is not None else None
    return Decoded(
        name=upload.name,
        sha256=sha256,
        pixels=shown.pixels,
        part=None if region is None else shown.part,
        whole=whole,
        took_ms=milliseconds_since(started),
    )


def prepare_upload(upload: Upload, *, max_pixels: int) -> CachedUpload:
    """Returns an upload with what its queries need.

    Raises:
        ImageError: it cannot be decoded.
    """
    image = decode(io.BytesIO(upload.content), upload.name, max_pixels=max_pixels)
    return CachedUpload(
        name=upload.name,
        content=upload.content,
        sha256=hashlib.sha256(upload.content).hexdigest(),
        width=image.width,
        height=image.height,
        pixels=image.pixels,
    )


def make_upload_thumbnail(upload: CachedUpload, edge: int, *, max_pixels: int) -> Thumbnail:
    """Returns an upload within `edge` x `edge` pixels, upright.

    Raises:
        ImageError: it cannot be decoded.
    """
    stream = io.BytesIO(upload.content)
    return read_thumbnail(
        stream, upload.name, edge, encoding=Encoding.WEBP, quality=QUALITY, max_pixels=max_pixels
    )


def decode_indexed(source: Source, *, max_pixels: int) -> Decoded:
    """Returns the region of an indexed image, whose file is read if its bytes are those that were ingested.

    Raises:
        ImageError: the file is gone, has changed or cannot be decoded.
    """
    started = time.perf_counter()
    payload = source.payloads[0]
    require_unchanged(source, payload.sha256)
    if source.file is None:
        raise ImageError("no file of this image is known", reason=SkipReason.VANISHED)
    with open_unchanged(source.file, payload) as stream:
        shown = decode(stream, source.name, max_pixels=max_pixels, region=source.region)
        whole = _whole_of(stream, shown, source.name, max_pixels)
    return Decoded(
        name=source.name,
        sha256=payload.sha256,
        pixels=shown.pixels,
        part=shown.part,
        whole=whole,
        source=source,
        took_ms=milliseconds_since(started),
    )


def is_indexed_part(source: Source) -> bool:
    """Returns whether a region means less than all of an indexed image, whose vector is not stored then.

    Raises:
        ImageError: the region reaches beyond the image.
    """
    part = find_indexed_part(source)
    return part is not None and not part.is_whole


def make_example(
    decoded: Decoded,
    vectors: Sequence[FloatVector | None],
    networks: Sequence[SearchedCollection],
    embed_ms: float,
) -> Example:
    """Returns a decoded image with the vectors of all networks.

    Raises:
        ImageError: one of them cannot be compared.
    """
    known = [vector for vector in vectors if vector is not None]
    if len(known) < len(vectors):
        raise ImageError(
            f"{decoded.name} has no embedding: its vector is zero or not finite",
            reason=SkipReason.NO_EMBEDDING,
        )
    source = decoded.source
    return Example(
        name=decoded.name,
        file=source.file if source else None,
        sha256=frozenset({decoded.sha256}),
        indexed=source.payloads[0] if source else None,
        vectors=known,
        provider=networks[0].provider,
        embed_ms=embed_ms,
        part=decoded.part,
    )


def _whole_of(stream: BinaryIO, shown: DecodedImage, name: str, max_pixels: int) -> Pixels:
    return shown.pixels if shown.part.is_whole else decode(stream, name, max_pixels=max_pixels).pixels
