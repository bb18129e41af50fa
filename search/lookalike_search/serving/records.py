"""The records that a server sends beside answers to queries; `answer_records` has those."""

from typing import Literal, NotRequired, TypedDict

from lookalike_core.models.backbones import Pooling
from lookalike_core.stores.collection_manifest import Distance

from lookalike_search.asking.answer_records import (
    Classified,
    ExactDuplicate,
    Milliseconds,
    Regional,
    Space,
    Synset,
)


class IndexedImage(ExactDuplicate, Synset):
    """An indexed image."""

    schema: Literal[1]
    collection: str
    sha256: str
    """SHA-256 of the file's bytes, in hex."""
    width: int
    """In pixels, as the image is shown."""
    height: int
    """In pixels, as the image is shown."""
    bytes: int
    """Size of the file."""
    ingested_at: str
    """When it was ingested, ISO 8601 in UTC."""
    taken_at: str | None
    """When it was taken, or its file was last changed, ISO 8601 in UTC; null of older versions."""


class ListedImage(Classified, Synset):
    """An indexed image in a list."""

    id: str
    """The point's UUID."""
    dataset: str
    path: str
    """Relative to the dataset's root, with `/`."""
    width: int
    """In pixels, as the image is shown."""
    height: int
    """In pixels, as the image is shown."""


class ListedImages(TypedDict):
    """A part of the indexed images, by dataset, class and path."""

    schema: Literal[1]
    collection: str
    total: int
    """The number of all images of this dataset and class."""
    offset: int
    """The place of the first one in the list, from 0."""
    next: str | None
    """What `after` has to be for the images that follow; null after the last."""
    images: list[ListedImage]


class ServedCollection(TypedDict):
    """A collection that is served."""

    name: str
    backbone: str
    layer: str
    pooling: Pooling
    distance: Distance
    dimension: int
    """The number of values of a vector."""
    head: NotRequired[str]
    """The head, where there is one."""
    points: int | None
    """The number of its images; null while another process writes to it and it was not open before."""
    datasets: dict[str, int] | None
    """Dataset -> number of images; null as above."""
    classes: dict[str, int] | None
    """Class -> number of images, `""` for those without one; null as above."""


class ServedCollections(TypedDict):
    """The collections of a server."""

    schema: Literal[1]
    store: str
    default: str
    """The collection that is searched where none is named."""
    collections: list[ServedCollection]
    """By name."""


class Embedding(Space, Regional):
    """The feature vector of an image, or of a part of it."""

    schema: Literal[1]
    query: str
    """The name of the image."""
    dimension: int
    """The number of values of the vector."""
    provider: str | None
    """The execution provider that embedded the image."""
    took_ms: Milliseconds
    """How long each step took."""
    vector: list[float]
    """As the network computes it, so not of length 1."""


class UploadRecord(TypedDict):
    """An image that was uploaded, to be searched with."""

    schema: Literal[1]
    upload: str
    """Its id, for the field `upload` of a query; in its lists `upload:` stands before it."""
    name: str
    """The name of its file, as the client gave it."""
    width: int
    """In pixels, as the image is shown."""
    height: int
    """In pixels, as the image is shown."""
    expires_s: float
    """For how many seconds it is cached, unless it is used before or too many others come."""
