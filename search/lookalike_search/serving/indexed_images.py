"""Indexed images: what is known of them, and their files, where the bytes are those that were ingested."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from uuid import UUID

from lookalike_core.errors import ImageError, SkipReason, UsageError
from lookalike_core.images.thumbnails import Encoding, read_thumbnail
from lookalike_core.stores.overlapping_roots import file_of
from lookalike_core.stores.points import Payload, PointFilter
from lookalike_core.text import nfc

from lookalike_search.asking.searched_collection import SearchedCollection
from lookalike_search.class_names import find_class
from lookalike_search.collection_choice import require_dataset
from lookalike_search.serving.image_order import ImageOrder
from lookalike_search.serving.query_fields import Fields
from lookalike_search.serving.records import IndexedImage, ListedImage, ListedImages
from lookalike_search.serving.thumbnail_cache import ThumbnailCache
from lookalike_search.unchanged_files import open_unchanged

QUALITY = 75

LEAST_EDGE, MOST_EDGE = 16, 1024
"""The longer side of a thumbnail, in pixels."""


MOST_LISTED = 500
"""The number of images that one request may list."""

MOST_OFFSET = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which images are listed: those of a class and a dataset, from a place on or after the one of an id."""

    class_name: str | None = None
    dataset: str | None = None
    limit: int = 100
    offset: int = 0
    after: str | None = None


def read_wanted(fields: Fields, *, limit: int) -> Wanted:
    """Returns which images fields describe, at most `limit` of them.

    Raises:
        UsageError: a field is malformed or out of range, or both `offset` and `after` are given.
    """
    after = fields.text("after")
    if after is not None and not is_id(after):
        raise UsageError("after is no id of an indexed image", argument="after")
    if after is not None and fields.has("offset"):
        raise UsageError("offset and after exclude each other; give one of them", argument="after")
    return Wanted(
        class_name=fields.text("class"),
        dataset=fields.text("dataset"),
        limit=limit,
        offset=fields.whole("offset", 0, low=0, high=MOST_OFFSET),
        after=after,
    )


def find_payload(networks: Sequence[SearchedCollection], id_: str) -> tuple[SearchedCollection, Payload]:
    """Returns the payload of an indexed image, with the first of some collections that has it.

    Raises:
        ImageError: none has an image of this id.
    """
    for network in networks if is_id(id_) else ():
        payload = network.collection.payloads([id_]).get(id_)
        if payload is not None:
            return network, payload
    names = " or ".join(network.name for network in networks)
    raise ImageError(f"no image of {names} has this id", reason=SkipReason.VANISHED)


def sample_payloads(network: SearchedCollection, count: int) -> list[Payload]:
    """Returns some images, one of each class by name; the same of one collection."""
    classes = sorted(network.collection.tally("class"))
    if len(classes) < count:
        return list(islice(network.collection.scan(), count))
    steps = [classes[number * len(classes) // count] for number in range(count)]
    found = (
        next(iter(network.collection.scan(PointFilter(classes=frozenset({name})))), None) for name in steps
    )
    return [payload for payload in found if payload is not None]


def describe_image(network: SearchedCollection, payload: Payload) -> IndexedImage:
    """Returns what is known of an indexed image."""
    found: IndexedImage = {
        "schema": 1,
        "collection": network.name,
        "class": payload.class_name,
        "dataset": payload.dataset,
        "path": payload.path,
        "file": file_of(network.manifest, payload.dataset, payload.path),
        "id": payload.id,
        "sha256": payload.sha256,
        "width": payload.width,
        "height": payload.height,
        "bytes": payload.bytes,
        "ingested_at": payload.ingested_at,
        "taken_at": payload.taken_at,
    }
    if payload.synset:
        found["synset"] = payload.synset
    return found


def list_images(network: SearchedCollection, order: ImageOrder, wanted: Wanted) -> ListedImages:
    """Returns a page of the images of a collection; those that were removed meanwhile are left out.

    Raises:
        UsageError: there is no such dataset or class.
        ImageError: the image after which to go on is not indexed.
    """
    class_name = find_class(wanted.class_name, [network.collection])
    page = order.page(
        dataset=require_dataset([network.manifest], wanted.dataset),
        class_name=nfc(class_name) if class_name else class_name,
        limit=wanted.limit,
        offset=wanted.offset,
        after=wanted.after,
    )
    if page is None:
        raise ImageError(
            f"no image of {network.name} has the id after which to go on", reason=SkipReason.VANISHED
        )
    found = network.collection.payloads(page.ids)
    return {
        "schema": 1,
        "collection": network.name,
        "total": page.total,
        "offset": page.offset,
        "next": page.ids[-1] if page.ids and page.offset + len(page.ids) < page.total else None,
        "images": [_list_image(found[id_]) for id_ in page.ids if id_ in found],
    }


def _list_image(payload: Payload) -> ListedImage:
    listed: ListedImage = {
        "id": payload.id,
        "class": payload.class_name,
        "dataset": payload.dataset,
        "path": payload.path,
        "width": payload.width,
        "height": payload.height,
    }
    if payload.synset:
        listed["synset"] = payload.synset
    return listed


def find_indexed_file(network: SearchedCollection, payload: Payload) -> Path:
    """Returns the path of an indexed image's file.

    Raises:
        ImageError: no path is known.
    """
    file = file_of(network.manifest, payload.dataset, payload.path)
    if file is None:
        raise ImageError("no file of this image is known", reason=SkipReason.VANISHED)
    return file


def get_thumbnail(
    file: Path, payload: Payload, edge: int, *, cache: ThumbnailCache, pixels: int
) -> tuple[bytes, str]:
    """Returns a thumbnail within `edge` x `edge` pixels, and its media type.

    Images of more `pixels` have none.

    Raises:
        ImageError: as `open_unchanged`, or the image cannot be decoded.
    """
    data = cache.get(payload.sha256, edge)
    if data is None:
        with open_unchanged(file, payload) as stream:
            data = read_thumbnail(
                stream, str(file), edge, encoding=Encoding.WEBP, quality=QUALITY, max_pixels=pixels
            ).data
        cache.put(payload.sha256, edge, data)
    return data, "image/webp" if data[:4] == b"RIFF" else "image/jpeg"


def read_original(file: Path, payload: Payload, *, most_bytes: int) -> bytes:
    """Returns the bytes of an indexed image, of which there may be `most_bytes`.

    Raises:
        ImageError: as `open_unchanged`.
    """
    with open_unchanged(file, payload, most_bytes=most_bytes) as stream:
        return stream.read()


def find_shown_type(data: bytes) -> str | None:
    """Returns the media type of a file that browsers show as an image, by its first bytes, or None."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _SIGNATURES.items() if data.startswith(start)), None)


_SIGNATURES = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


def is_id(text: str) -> bool:
    """Returns whether a text has the form of ids, which stores insist on."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
