"""Stage 3 itself: one model and one open collection answer any number of pictures."""

import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Self

from exporter import ready_model
from lookalike.console import Reporter
from lookalike.embedder import Embedder
from lookalike.errors import PictureError, SkipReason
from lookalike.manifest import CollectionManifest
from lookalike.pictures.decoding import MAX_PIXELS, Pixels, decode
from lookalike.pictures.files import opened, read_piped, sha256_of
from lookalike.settings import Settings
from lookalike.stores.points import FloatVector, PointFilter, SearchHit, usable_rows
from lookalike.stores.protocol import Collection, Store
from search.quality.vote import Verdict, VoteRule, vote

STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryOptions:
    """How to search: `class_name=""` asks for pictures without a class. `k` neighbours vote by `vote`."""

    limit: int = 10
    class_name: str | None = None
    dataset: str | None = None
    exact: bool = False
    include_self: bool = False
    max_pixels: int = MAX_PIXELS
    vote: VoteRule = VoteRule.NEARER_TIES
    k: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The neighbours of one picture, best first, and what each step took in milliseconds.

    `verdict` is the class that they vote for; None where none has one, or one class alone was searched.
    """

    query: str
    hits: Sequence[SearchHit]
    verdict: Verdict | None
    load_ms: float
    embed_ms: float
    search_ms: float


class Searcher:
    """A collection with the model that its vectors were made by."""

    def __init__(self, collection: Collection, embedder: Embedder, load_ms: float) -> None:
        self._collection = collection
        self._embedder = embedder
        self._load_ms = load_ms
        self.provider = embedder.provider

    @classmethod
    @contextmanager
    def opened(cls, name: str, *, store: Store, settings: Settings, reporter: Reporter) -> Iterator[Self]:
        """Opens the collection and loads its model, which is exported again where it is missing.

        Raises:
            CollectionMissingError: there is no such collection.
            ManifestError: its model cannot be had any more.
        """
        started = time.perf_counter()
        with store.open(name) as collection:
            model = ready_model(collection.manifest, settings=settings, reporter=reporter)
            embedder = Embedder.load(model.path, provider=settings.provider)
            if embedder.notice:
                reporter.say(embedder.notice)
            yield cls(collection, embedder, _since(started))

    @property
    def manifest(self) -> CollectionManifest:
        """Of the collection that is searched."""
        return self._collection.manifest

    def answer(self, query: str, options: QueryOptions) -> Answer:
        """The neighbours of the picture at a path, or of the one on standard input (`-`).

        Raises:
            PictureError: the picture cannot be read.
        """
        started = time.perf_counter()
        sha256, pixels = _read(query, options.max_pixels)
        vector = self._embedder.embed_one(pixels)
        if not usable_rows(vector[None]).all():
            raise PictureError(f"the network sees nothing in {query}", reason=SkipReason.NO_EMBEDDING)
        embed_ms = _since(started)

        started = time.perf_counter()
        where = PointFilter(
            class_name=options.class_name,
            dataset=options.dataset,
            excluded_sha256=None if options.include_self else sha256,
        )
        limit = max(options.limit, options.k)
        hits = self._collection.query(vector, limit=limit, where=where, exact=options.exact)
        verdict = self._verdict(vector, hits[: options.k], where, options)
        load_ms, self._load_ms = self._load_ms, 0.0
        return Answer(
            query=query,
            hits=hits[: options.limit],
            verdict=verdict,
            load_ms=load_ms,
            embed_ms=embed_ms,
            search_ms=_since(started),
        )

    def _verdict(
        self, vector: FloatVector, voters: Sequence[SearchHit], where: PointFilter, options: QueryOptions
    ) -> Verdict | None:
        """What the neighbours vote for; where each class' own nearest count, they are searched for."""
        if options.class_name is not None:
            return None
        if options.vote is VoteRule.NEAREST_CLASS:
            classes = {hit.payload.class_name for hit in voters if hit.payload.class_name}
            own = [
                self._collection.query(
                    vector, limit=options.k, where=replace(where, class_name=name), exact=options.exact
                )
                for name in classes
            ]
            sign = -1 if self.manifest.distance.higher_is_nearer else 1
            voters = sorted((hit for hits in own for hit in hits), key=lambda hit: sign * hit.score)
        return vote(
            [hit.payload.class_name or "" for hit in voters],
            [hit.score for hit in voters],
            rule=options.vote,
            k=options.k,
            higher_is_nearer=self.manifest.distance.higher_is_nearer,
        )


def _read(query: str, max_pixels: int) -> tuple[str, Pixels]:
    """The SHA-256 and the pixels of a query."""
    with nullcontext(_stdin()) if query == STDIN else opened(_path(query)) as stream:
        return sha256_of(stream), decode(stream, query, max_pixels=max_pixels).pixels


def _stdin() -> BinaryIO:
    """All of standard input; nothing where it is closed."""
    return read_piped(sys.stdin.buffer) if sys.stdin is not None else io.BytesIO()


def _path(query: str) -> Path:
    """Unlike pathlib's, this leaves a file alone whose name begins with `~` and is no user's."""
    return Path(os.path.expanduser(query))  # noqa: PTH111


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
