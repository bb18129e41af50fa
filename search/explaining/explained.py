"""Two pictures, looked at by the networks of collections: what their similarity is made of."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from exporter import unpooled_model
from lookalike.backbones import Pooling, backbone_named
from lookalike.console import Reporter
from lookalike.embedder import Embedder
from lookalike.errors import PictureError, SkipReason, UsageError
from lookalike.manifest import CollectionManifest, collection_name
from lookalike.pictures.decoding import Pixels, decode, decode_small
from lookalike.pictures.files import opened, sha256_of
from lookalike.pictures.thumbnails import Thumbnail, encoded
from lookalike.settings import Settings
from lookalike.stores.protocol import Collection
from search.asking.examples import require_unchanged, stdin_stream
from search.asking.sources import find_sources
from search.explaining.explanation import Explanation, Features, explain

EDGE = 640
"""Pixels of the longer side of a picture as it is shown."""

QUALITY = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPicture:
    """A picture as it was named, as the networks see it, and as it is shown: whole, upright and smaller."""

    name: str
    pixels: Pixels
    shown: Thumbnail


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What the network of one collection makes of two pictures; `provider` is what it ran on."""

    collection: str
    manifest: CollectionManifest
    provider: str
    explanation: Explanation


def see(name: str, collections: Sequence[Collection], *, max_pixels: int) -> SeenPicture:
    """Reads a picture for networks and for people: a file, `-`, or an indexed one that has its file still.

    Raises:
        PictureError: it is nothing of that, cannot be read, or is indexed and was changed since.
        UsageError: it is a folder, or several datasets have it.
    """
    found = find_sources(name, collections)
    if len(found) != 1 or (found[0].file is not None and found[0].name != name):
        raise UsageError(f"{name} is a folder; name one picture")
    [source] = found
    if source.problem is not None:
        raise source.problem
    if source.payloads and source.file is None:
        raise PictureError(
            f"{name} is indexed, and where its file lies is not known; name the file itself",
            reason=SkipReason.VANISHED,
        )
    with nullcontext(stdin_stream()) if source.file is None else opened(source.file) as stream:
        require_unchanged(source, sha256_of(stream))
        pixels = decode(stream, name, max_pixels=max_pixels).pixels
        small = decode_small(stream, name, edge=EDGE, max_pixels=max_pixels)
    return SeenPicture(name=name, pixels=pixels, shown=encoded(np.asarray(small), quality=QUALITY))


def explanation_by(
    manifest: CollectionManifest,
    name: str,
    query: SeenPicture,
    neighbour: SeenPicture,
    *,
    settings: Settings,
    reporter: Reporter,
) -> Explained:
    """Takes two pictures' cosine similarity apart, by the network of the collection of this name.

    Raises:
        UsageError: the collection's vectors are no averages over cells.
        ManifestError, WeightsError: its model cannot be had any more.
        PictureError: the network sees nothing in one of them.
    """
    require_average(name, manifest)
    model = unpooled_model(manifest, settings=settings, reporter=reporter)
    embedder = Embedder.as_set(model.path, settings, expected=model.manifest, pictures=2)
    if embedder.notice:
        reporter.say(embedder.notice)
    one, other = (_features(embedder, model.shape, picture) for picture in (query, neighbour))
    return Explained(
        collection=name, manifest=manifest, provider=embedder.provider, explanation=explain(one, other)
    )


def require_average(name: str, manifest: CollectionManifest) -> None:
    """Refuses what is no sum over pairs of cells.

    Raises:
        UsageError: the collection's vectors were not pooled, or not by their mean.
    """
    identity = manifest.identity
    if identity.head is not None:
        plain = collection_name(
            replace(identity, head=None), manifest.distance, official=manifest.weights.official
        )
        raise UsageError(
            f"{name} cannot be explained cell by cell: its head takes a mean off before it compares, "
            f"which is no sum over cells. Explain by the network without the head: --collection {plain}"
        )
    why = {
        Pooling.MAX: "keep each channel's largest value, and say nothing of the other cells",
        Pooling.FLATTEN: "compare each cell with the one at the same place alone",
        Pooling.NONE: f"come out of {identity.layer}, which has mixed all cells",
    }.get(identity.pooling)
    if why is not None:
        short = backbone_named(identity.backbone).short_name
        raise UsageError(
            f"{name} cannot be explained cell by cell: its vectors {why}. Only average pooling makes a "
            f"similarity the sum of its cells; ingest with: --backbone {short} --pooling avg"
        )


def _features(embedder: Embedder, shape: tuple[int, int, int], picture: SeenPicture) -> Features:
    """Float32 `[H, W, C]`, at least one of which is not zero."""
    features = embedder.embed_one(picture.pixels).reshape(shape)
    if not (np.isfinite(features).all() and features.sum(axis=(0, 1)).any()):
        raise PictureError(f"the network sees nothing in {picture.name}", reason=SkipReason.NO_EMBEDDING)
    return features
