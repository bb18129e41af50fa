"""Explains the similarity of two images by the networks of collections, cell by cell."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import numpy as np
from lookalike_core.arrays import FloatVector, Pixels
from lookalike_core.errors import ImageError, ManifestError, SkipReason, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.decoding import decode, decode_small
from lookalike_core.images.open_image import hash_stream
from lookalike_core.images.region import Part, Region
from lookalike_core.images.thumbnails import Thumbnail, encode
from lookalike_core.logs import get_logger
from lookalike_core.models.backbones import Pooling, get_backbone
from lookalike_core.models.embedder import Embedder
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, collection_name
from lookalike_core.stores.protocol import Collection, Store, open_together
from lookalike_exporter.model_resolver import get_model
from lookalike_exporter.recorded_models import get_feature_model

from lookalike_search.analysis.attribution import Explanation, Features, agreement, explain, has_direction
from lookalike_search.asking.examples import open_source, require_unchanged
from lookalike_search.asking.part_features import combine_features
from lookalike_search.asking.query_sources import QueryInput, Source, find_known_payload, find_sources

_logger = get_logger("search")

EDGE = 640
"""The longer side of an image as it is shown, in pixels."""

QUALITY = 75

LEAST_AGREEMENT = 0.99
"""The least cosine between a stored vector and the one that is computed here for the same image.

Emulated bfloat16 stays above 0.9997 in fp32 graphs and above 0.9994 in int8 ones (benchmarks/README.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedImage:
    """An image: its name, and its pixels for the networks.

    `stored` maps the names of collections that hold it to the vectors there, float32 `[D]`. `part` is the
    part of it that the pixels are of, None without a region; `whole` are then the pixels of the whole image,
    None where that is all of it.
    """

    name: str
    pixels: Pixels
    stored: Mapping[str, FloatVector] = field(default_factory=dict)
    part: Part | None = None
    whole: Pixels | None = None

    @property
    def title(self) -> str:
        """Its name, with its region if there is one."""
        return self.name if self.part is None else f"{self.name} (region {self.part.box})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenImage(ComparedImage):
    """An image with a reduced, upright version to show, of its part where it has one."""

    shown: Thumbnail


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
    query: QueryInput,
    neighbour: QueryInput,
    names: Sequence[str],
    *,
    store: Store,
    max_pixels: int,
    region: Region | None = None,
) -> SeenPair:
    """Reads two images for `explain_pair`, which does not read the collections; the region is the query's.

    Raises:
        ImageError, UsageError: as `load_image` and `require_average`.
    """
    manifests = {name: store.manifest(name) for name in names}
    for name, manifest in manifests.items():
        require_average(name, manifest)
    with ExitStack() as stack:
        opened = open_together(names, lambda name: stack.enter_context(store.open(name)))
        return SeenPair(
            query=load_image(query, opened, max_pixels=max_pixels, region=region),
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
    query: QueryInput,
    collections: Sequence[Collection],
    *,
    max_pixels: int,
    is_neighbour: bool = False,
    region: Region | None = None,
) -> SeenImage:
    """Reads an image, or a region of it, and its stored vectors, which a part of an image does not have.

    The stored vectors are those that a search would use. A search embeds a query file again, so that a file
    in an ingested folder has stored vectors only as a neighbour. An image given as pixels is shown as the
    networks see it.

    Raises:
        ImageError: it cannot be read, its file is not known, or it was changed since it was ingested.
        UsageError: it is a folder or a vector, or several datasets have such a path.
    """
    source = _one_source(query, collections, max_pixels, region)
    name = source.name
    if source.problem is not None:
        raise source.problem
    if source.payloads and source.file is None:
        raise ImageError(
            f"{name} is indexed, but the path of its file is not known; name the file itself",
            reason=SkipReason.VANISHED,
        )
    if source.pixels is not None:
        shown = encode(source.pixels, quality=QUALITY)
        is_part = source.part is not None and not source.part.is_whole
        whole = source.whole if is_part else None
        return SeenImage(name=name, pixels=source.pixels, shown=shown, part=source.part, whole=whole)
    if (opening := open_source(source)) is None:
        raise UsageError("a feature vector cannot be explained; give the image that it was computed from")
    with opening as stream:
        sha256 = hash_stream(stream)
        require_unchanged(source, sha256)
        image = decode(stream, name, max_pixels=max_pixels, region=region)
        small = decode_small(stream, name, edge=EDGE, max_pixels=max_pixels, region=region)
        whole = None if image.part.is_whole else decode(stream, name, max_pixels=max_pixels).pixels
    return SeenImage(
        name=name,
        pixels=image.pixels,
        shown=encode(np.asarray(small), quality=QUALITY),
        stored=_stored_vectors(source, sha256, collections, is_neighbour=is_neighbour)
        if image.part.is_whole
        else {},
        part=None if region is None else image.part,
        whole=whole,
    )


def _one_source(
    query: QueryInput, collections: Sequence[Collection], max_pixels: int, region: Region | None
) -> Source:
    found = find_sources(query, collections, max_pixels=max_pixels, region=region)
    if isinstance(query, str | os.PathLike):
        name = os.fspath(query)
        if len(found) != 1 or (found[0].file is not None and found[0].name != name):
            raise UsageError(f"{name} is a folder; name one image")
    return found[0]


def explain_by(
    manifest: CollectionManifest,
    name: str,
    query: ComparedImage,
    neighbour: ComparedImage,
    *,
    settings: Settings,
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

    def compute(pixels: Pixels) -> Features:
        features: Features = embedder.embed_one(pixels).reshape(model.shape)
        return features

    features = [compute_features(image, compute) for image in images]
    computed = (part_vector(query, features[0]), None)
    vectors = _compared_vectors(name, manifest, images, computed, settings)
    return explain_vectors(manifest, name, images, features, vectors, provider=embedder.provider)


def explain_vectors(
    manifest: CollectionManifest,
    name: str,
    images: Sequence[ComparedImage],
    features: Sequence[Features],
    vectors: Sequence[FloatVector],
    *,
    provider: str,
) -> Explained:
    """Returns the explanation of the vectors float32 `[D]` of two images by their features `[H, W, C]`.

    Raises:
        ManifestError: a stored vector is not of this model.
    """
    [one, other], [first, second] = features, vectors
    explanation = explain(one, other, query_vector=first, neighbour_vector=second)
    compared = [
        ComparedVector(vector=vector, is_stored=name in image.stored, agreement=agreement(cells, vector))
        for image, vector, cells in zip(images, vectors, features, strict=True)
    ]
    for image, found in zip(images, compared, strict=True):
        if found.is_stored:
            require_agreement(name, image.name, found.agreement)
    return Explained(
        collection=name,
        manifest=manifest,
        provider=provider,
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


def compute_features(image: ComparedImage, compute: Callable[[Pixels], Features]) -> Features:
    """Returns the features of an image, or of a part of it, `[H, W, C]`; `compute` is the network.

    Raises:
        ImageError: they are zero or not finite.
    """
    features = compute(image.pixels)
    if image.whole is not None and image.part is not None:
        features = combine_features(features, compute(image.whole), image.part)
    if not has_direction(features):
        raise ImageError(
            f"{image.name} has no embedding: its features are zero or not finite",
            reason=SkipReason.NO_EMBEDDING,
        )
    return features


def part_vector(image: ComparedImage, features: Features) -> FloatVector | None:
    """Returns the vector of a part of an image, which its features sum to; None for a whole image."""
    return None if image.whole is None else features.sum(axis=(0, 1)).astype(np.float32)


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
    name: str,
    manifest: CollectionManifest,
    images: Sequence[ComparedImage],
    computed: Sequence[FloatVector | None],
    settings: Settings,
) -> list[FloatVector]:
    """Returns the vectors that a search compares: `computed` or stored ones, else embedded ones."""
    vectors = [
        vector if vector is not None else image.stored.get(name)
        for image, vector in zip(images, computed, strict=True)
    ]
    if all(vector is not None for vector in vectors):
        return [vector for vector in vectors if vector is not None]
    model = get_model(manifest, settings=settings)
    embedder = Embedder.from_settings(model.path, settings, expected=model.manifest, images=len(images))
    return [
        embedder.embed_one(image.pixels) if vector is None else vector
        for image, vector in zip(images, vectors, strict=True)
    ]


def require_agreement(name: str, image: str, agreed: float) -> None:
    """Refuses a stored vector of a collection whose cosine to the sum of an image's cells is too low.

    Raises:
        ManifestError: it was not computed from this image by this model.
    """
    if agreed < LEAST_AGREEMENT:
        raise ManifestError(
            f"the stored vector of {image} in {name} was not computed from it by this model (cosine "
            f"{agreed:.4f}; between execution providers it is at least {LEAST_AGREEMENT})",
            collection=name,
            hint=Hint(Action.REBUILD, {Argument.COLLECTION: name}),
        )
