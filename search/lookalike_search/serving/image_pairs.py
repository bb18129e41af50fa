"""The two images of an explanation: looked up among indexed images, then read for the network."""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.images.decoding import decode_small
from lookalike_core.images.region import Region
from lookalike_core.images.thumbnails import encode

from lookalike_search.analysis.explanation import EDGE, QUALITY, ComparedImage, SeenImage, require_average
from lookalike_search.asking.query_sources import Source, find_indexed
from lookalike_search.asking.searched_collection import SearchedCollection
from lookalike_search.serving.decoded_images import (
    Decoded,
    decode_indexed,
    decode_upload,
    is_indexed_part,
)
from lookalike_search.serving.query_fields import Example, ExplanationRequest, Upload
from lookalike_search.unchanged_files import open_unchanged


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundImage:
    """An image of an explanation: an upload, or an indexed image with its vector float32 `[D]`.

    A part of an indexed image has no `stored` vector, nor has an upload.
    """

    image: Upload | Source
    region: Region | None = None
    stored: FloatVector | None = None


def find_pair(network: SearchedCollection, request: ExplanationRequest) -> tuple[FoundImage, FoundImage]:
    """Returns the images of an explanation, the query first.

    Raises:
        UsageError: the collection's similarities are no sums over cells.
        ImageError: an image is not indexed, or the region reaches beyond the query.
    """
    require_average(network.name, network.manifest)
    return _find(network, request.image, request.region), _find(network, request.neighbour, None)


def read_image(found: FoundImage, name: str, *, max_pixels: int) -> ComparedImage:
    """Returns an image as the network of the collection `name` compares it.

    Raises:
        ImageError: it cannot be read, or its file is not the one that was ingested.
    """
    read = _decode(found, max_pixels)
    part = read.part if found.region is not None else None
    is_whole = part is None or part.is_whole
    return ComparedImage(
        name=read.name,
        pixels=read.pixels,
        stored={} if found.stored is None else {name: found.stored},
        part=part,
        whole=None if is_whole else read.whole,
    )


def show_image(found: FoundImage, image: ComparedImage, *, max_pixels: int) -> SeenImage:
    """Returns an image with a reduced version of the part that is compared.

    Raises:
        ImageError: as `read_image`.
    """
    with _open(found) as stream:
        small = decode_small(stream, image.name, edge=EDGE, max_pixels=max_pixels, region=found.region)
    return SeenImage(
        name=image.name,
        pixels=image.pixels,
        stored=image.stored,
        part=image.part,
        whole=image.whole,
        shown=encode(np.asarray(small), quality=QUALITY),
    )


def find_named(name: str, networks: Sequence[SearchedCollection], dataset: str | None) -> Source:
    """Returns the indexed image of an id or a path.

    Raises:
        ImageError: there is none.
    """
    source = find_indexed(name, [network.collection for network in networks], dataset)
    if source is None:
        names = " or ".join(network.name for network in networks)
        raise ImageError(f"no image of {names} has this path or id", reason=SkipReason.VANISHED)
    return source


def _find(network: SearchedCollection, image: Example, region: Region | None) -> FoundImage:
    if isinstance(image, Upload):
        return FoundImage(image=image, region=region)
    if not isinstance(image, str):
        raise TypeError("the upload of an explanation is not looked up yet")
    source = replace(find_named(image, [network], None), region=region)
    is_part = is_indexed_part(source)
    stored = None if is_part or source.id is None else network.stored_vector(source.id)
    return FoundImage(image=source, region=region, stored=stored)


def _decode(found: FoundImage, max_pixels: int) -> Decoded:
    if isinstance(found.image, Upload):
        return decode_upload(found.image, found.region, max_pixels=max_pixels)
    return decode_indexed(found.image, max_pixels=max_pixels)


def _open(found: FoundImage) -> AbstractContextManager[BinaryIO]:
    if isinstance(found.image, Upload):
        return io.BytesIO(found.image.content)
    if found.image.file is None:
        raise ImageError("no file of this image is known", reason=SkipReason.VANISHED)
    return open_unchanged(found.image.file, found.image.payloads[0])
