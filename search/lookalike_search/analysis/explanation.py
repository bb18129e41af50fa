"""Explains the similarity of two images by the networks of collections, cell by cell."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import numpy as np
from lookalike_core.arrays import FloatVector, Pixels
from lookalike_core.errors import ImageError, ManifestError, SkipReason, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.decoding import decode, decode_small
from lookalike_core.images.open_image import hash_stream
from lookalike_core.images.thumbnails import Thumbnail, encode
from lookalike_core.logs import get_logger
from lookalike_core.models.backbones import Pooling, get_backbone
from lookalike_core.models.embedder import Embedder
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, collection_name
from lookalike_core.stores.protocol import Collection, Store, open_together
from lookalike_exporter.model_resolver import get_model
from lookalike_exporter.recorded_models import get_feature_model

from lookalike_search.analysis.attribution import Explanation, Features, agreement, explain
from lookalike_search.asking.examples import open_source, require_unchanged
from lookalike_search.asking.query_sources import QueryInput, Source, find_known_payload, find_sources

_logger = get_logger("search")

EDGE = 640
"""The longer side of an image as it is shown, in pixels."""

QUALITY = 75

LEAST_AGREEMENT = 0.99
"""The least cosine between a stored vector and the one that is computed here for the same image.

Emulated bfloat16 stays above 0.9997 in fp32 graphs and above 0.9994 in int8 ones (benchmarks/README.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenImage:
    """An image: its name, its pixels for the networks, and a reduced, upright version to show.

    `stored` maps the names of collections that hold it to the vectors there, float32 `[D]`.
    """

    name: str
    pixels: Pixels
    shown: Thumbnail
    stored: Mapping[str, FloatVector] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedVector:
    """The vector float32 `[D]` by which a search compares an image: stored, or computed here.

    `agreement` is its cosine to the sum of the cells, which are computed here.
    """

    vector: FloatVector
    is_stored: bool
    agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """The similarity of two images by the network of one collection."""

    collection: str
    """The name of the collection."""
    manifest: CollectionManifest
    """Its manifest, which also names the execution provider that filled the collection."""
    provider: str
    """The execution provider that the network runs on here."""
    explanation: Explanation
    """The cosine similarity in shares of cells."""
    query: ComparedVector
    """The vector of the query."""
    neighbour: ComparedVector
    """The vector of the neighbour."""

    @property
    def compared(self) -> tuple[ComparedVector, ComparedVector]:
        """The two vectors, the query's first."""
        return self.query, self.neighbour

    @property
    def score(self) -> float:
        """The score of the neighbour in a search with the query: cosine similarity, or Euclidean distance."""
        if self.manifest.distance is Distance.COSINE:
            return self.explanation.cosine
        one, other = (each.vector.astype(np.float64) for each in self.compared)
        return float(np.linalg.norm(one - other))

    @property
    def agreement(self) -> float:
        """The lower of the two vectors' cosines to the sum of their cells."""
        return min(each.agreement for each in self.compared)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPair:
    """Two images, and the manifests of the collections whose networks explain them."""

    query: SeenImage
    neighbour: SeenImage
    manifests: Mapping[str, CollectionManifest]


def load_pair(
    query: QueryInput, neighbour: QueryInput, names: Sequence[str], *, store: Store, max_pixels: int
) -> SeenPair:
    """Reads two images for `explain_pair`, which does not read the collections.

    Raises:
        ImageError, UsageError: as `load_image` and `require_average`.
    """
    manifests = {name: store.manifest(name) for name in names}
    for name, manifest in manifests.items():
        require_average(name, manifest)
    with ExitStack() as stack:
        opened = open_together(names, lambda name: stack.enter_context(store.open(name)))
        return SeenPair(
            query=load_image(query, opened, max_pixels=max_pixels),
            neighbour=load_image(neighbour, opened, max_pixels=max_pixels, is_neighbour=True),
            manifests=manifests,
        )


def explain_pair(pair: SeenPair, *, settings: Settings) -> Iterator[Explained]:
    """Yields the explanation by the network of each collection.

    Raises:
        ManifestError, WeightsError, ImageError: as `explain_by`.
    """
    for name, manifest in pair.manifests.items():
        yield explain_by(manifest, name, pair.query, pair.neighbour, settings=settings)


def load_image(
    query: QueryInput, collections: Sequence[Collection], *, max_pixels: int, is_neighbour: bool = False
) -> SeenImage:
    """Reads an image and its stored vectors.

    The stored vectors are those that a search would use. A search embeds a query file again, so that a file
    in an ingested folder has stored vectors only as a neighbour. An image given as pixels is shown as the
    networks see it.

    Raises:
        ImageError: it cannot be read, its file is not known, or it was changed since it was ingested.
        UsageError: it is a folder or a vector, or several datasets have such a path.
    """
    source = _one_source(query, collections, max_pixels)
    name = source.name
    if source.problem is not None:
        raise source.problem
    if source.payloads and source.file is None:
        raise ImageError(
            f"{name} is indexed, but the path of its file is not known; name the file itself",
            reason=SkipReason.VANISHED,
        )
    if source.pixels is not None:
        return SeenImage(name=name, pixels=source.pixels, shown=encode(source.pixels, quality=QUALITY))
    if (opening := open_source(source)) is None:
        raise UsageError("a feature vector cannot be explained; give the image that it was computed from")
    with opening as stream:
        sha256 = hash_stream(stream)
        require_unchanged(source, sha256)
        pixels = decode(stream, name, max_pixels=max_pixels).pixels
        small = decode_small(stream, name, edge=EDGE, max_pixels=max_pixels)
    return SeenImage(
        name=name,
        pixels=pixels,
        shown=encode(np.asarray(small), quality=QUALITY),
        stored=_stored_vectors(source, sha256, collections, is_neighbour=is_neighbour),
    )


def _one_source(query: QueryInput, collections: Sequence[Collection], max_pixels: int) -> Source:
    found = find_sources(query, collections, max_pixels=max_pixels)
    if isinstance(query, str | os.PathLike):
        name = os.fspath(query)
        if len(found) != 1 or (found[0].file is not None and found[0].name != name):
            raise UsageError(f"{name} is a folder; name one image")
    return found[0]


def explain_by(
    manifest: CollectionManifest, name: str, query: SeenImage, neighbour: SeenImage, *, settings: Settings
) -> Explained:
    """Returns the explanation by the network of one collection.

    Raises:
        UsageError: the collection's vectors are no averages over cells.
        ManifestError, WeightsError: its model is not available, or a stored vector is not of this model.
        ImageError: the features of an image are zero or not finite.
    """
    require_average(name, manifest)
    model = get_feature_model(manifest, settings=settings)
    embedder = Embedder.from_settings(model.path, settings, expected=model.manifest, images=2)
    embedder.log_provider(_logger)
    images = (query, neighbour)
    one, other = (_features(embedder, model.shape, image) for image in images)
    vectors = _compared_vectors(name, manifest, images, settings)
    explanation = explain(one, other, query_vector=vectors[0], neighbour_vector=vectors[1])
    compared = [
        ComparedVector(vector=vector, is_stored=name in image.stored, agreement=agreement(cells, vector))
        for image, vector, cells in zip(images, vectors, (one, other), strict=True)
    ]
    for image, found in zip(images, compared, strict=True):
        _require_agreement(name, image, found)
    return Explained(
        collection=name,
        manifest=manifest,
        provider=embedder.provider,
        explanation=explanation,
        query=compared[0],
        neighbour=compared[1],
    )


def require_average(name: str, manifest: CollectionManifest) -> None:
    """Refuses collections whose similarity is no sum over pairs of cells.

    Raises:
        UsageError: the collection's vectors were not pooled, or not by their mean.
    """
    identity = manifest.identity
    if identity.head is not None:
        plain = collection_name(
            replace(identity, head=None), manifest.distance, official=manifest.weights.official
        )
        raise UsageError(
            f"{name} cannot be explained cell by cell: its head subtracts a mean, so that its "
            "similarity is no sum over cells. Explain it by the network without the head",
            hint=Hint(Action.USE, {Argument.COLLECTION: plain}),
        )
    why = {
        Pooling.MAX: "keep only each channel's largest value",
        Pooling.FLATTEN: "compare each cell only with the one at the same place",
        Pooling.NONE: f"are the output of {identity.layer}, which mixes all cells",
    }.get(identity.pooling)
    if why is not None:
        short = get_backbone(identity.backbone).short_name
        raise UsageError(
            f"{name} cannot be explained cell by cell: its vectors {why}. Only average pooling makes a "
            "similarity the sum of its cells",
            hint=Hint(Action.INGEST, {Argument.BACKBONE: short, Argument.POOLING: "avg"}),
        )


def _features(embedder: Embedder, shape: tuple[int, int, int], image: SeenImage) -> Features:
    """Returns the features of an image, float32 `[H, W, C]`."""
    features = embedder.embed_one(image.pixels).reshape(shape)
    if not (np.isfinite(features).all() and features.sum(axis=(0, 1)).any()):
        raise ImageError(
            f"{image.name} has no embedding: its features are zero or not finite",
            reason=SkipReason.NO_EMBEDDING,
        )
    return features


def _stored_vectors(
    source: Source, sha256: str, collections: Sequence[Collection], *, is_neighbour: bool
) -> dict[str, FloatVector]:
    """Returns the stored vectors of an image, by the names of the collections that hold its bytes."""
    id_ = source.id
    if id_ is None and is_neighbour and source.file is not None:
        known = find_known_payload(source.file, sha256, collections)
        id_ = known.id if known is not None else None
    if id_ is None:
        return {}
    return {
        collection.name: vector
        for collection in collections
        if (payload := collection.payloads([id_]).get(id_)) is not None
        and payload.sha256 == sha256
        and (vector := collection.vectors([id_]).get(id_)) is not None
    }


def _compared_vectors(
    name: str, manifest: CollectionManifest, images: Sequence[SeenImage], settings: Settings
) -> list[FloatVector]:
    """Returns the vectors that a search compares: the stored ones, or embedded ones where none is stored."""
    vectors = [image.stored.get(name) for image in images]
    if all(vector is not None for vector in vectors):
        return [vector for vector in vectors if vector is not None]
    model = get_model(manifest, settings=settings)
    embedder = Embedder.from_settings(model.path, settings, expected=model.manifest, images=len(images))
    return [
        embedder.embed_one(image.pixels) if vector is None else vector
        for image, vector in zip(images, vectors, strict=True)
    ]


def _require_agreement(name: str, image: SeenImage, compared: ComparedVector) -> None:
    if compared.is_stored and compared.agreement < LEAST_AGREEMENT:
        raise ManifestError(
            f"the stored vector of {image.name} in {name} was not computed from it by this model (cosine "
            f"{compared.agreement:.4f}; between execution providers it is at least {LEAST_AGREEMENT})",
            collection=name,
            hint=Hint(Action.REBUILD, {Argument.COLLECTION: name}),
        )
