"""Two pictures, looked at by the networks of collections: what their similarity is made of."""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from exporter import unpooled_model
from lookalike.backbones import Pooling, backbone_named
from lookalike.console import Reporter
from lookalike.embedder import Embedder
from lookalike.errors import PictureError, SkipReason, UsageError
from lookalike.manifest import CollectionManifest
from lookalike.pictures.decoding import Pixels, decode, decode_small
from lookalike.pictures.thumbnails import Thumbnail, encoded
from lookalike.settings import Settings
from lookalike.stores.protocol import Store
from search.explanation import Explanation, Features, explain

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


def see(stream: BinaryIO, name: str, *, max_pixels: int) -> SeenPicture:
    """Reads a picture for networks and for people.

    Raises:
        PictureError: it cannot be read.
    """
    pixels = decode(stream, name, max_pixels=max_pixels).pixels
    small = decode_small(stream, name, edge=EDGE, max_pixels=max_pixels)
    return SeenPicture(name=name, pixels=pixels, shown=encoded(np.asarray(small), quality=QUALITY))


def explanation_by(
    name: str,
    query: SeenPicture,
    neighbour: SeenPicture,
    *,
    store: Store,
    settings: Settings,
    reporter: Reporter,
) -> Explained:
    """Takes two pictures' cosine similarity apart, by the network of a collection.

    Raises:
        UsageError: the collection's vectors are no averages over cells.
        ManifestError, WeightsError: its model cannot be had any more.
        PictureError: the network sees nothing in one of them.
    """
    manifest = store.manifest(name)
    require_average(name, manifest)
    model = unpooled_model(manifest, settings=settings, reporter=reporter)
    embedder = Embedder.load(model.path, provider=settings.provider)
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
