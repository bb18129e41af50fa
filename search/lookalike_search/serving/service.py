"""Answers requests: decodes, embeds and searches in threads, so that the event loop never waits."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any, TypeVar

import numpy as np
from lookalike_core.arrays import IMAGE_SIZE, FloatVector, Pixels
from lookalike_core.cpu_count import count_cores
from lookalike_core.errors import (
    CollectionMissingError,
    ImageError,
    SkipReason,
    StoreLockedError,
    UsageError,
)
from lookalike_core.images.decoding import decode
from lookalike_core.images.region import Region
from lookalike_core.images.thumbnails import Thumbnail, encode
from lookalike_core.logs import get_logger
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import EVERYTHING, Payload

from lookalike_search.analysis.attribution import Features
from lookalike_search.analysis.explanation import (
    ComparedImage,
    Explained,
    SeenImage,
    compute_features,
    explain_vectors,
    part_vector,
)
from lookalike_search.analysis.explanation_json import Explanation, explanation_json
from lookalike_search.analysis.locating import locate_neighbours, require_locatable
from lookalike_search.asking.answer_json import answer_json, region_json
from lookalike_search.asking.answer_records import Answer, FusedAnswer
from lookalike_search.asking.answers import Answer as FoundAnswer
from lookalike_search.asking.answers import Neighbour, QueryOptions
from lookalike_search.asking.chosen_neighbours import check_choice
from lookalike_search.asking.examples import Example, ExampleSet, read_examples
from lookalike_search.asking.prediction_sets import check_confidence
from lookalike_search.asking.query import Searcher
from lookalike_search.asking.query_sources import Source
from lookalike_search.asking.searched_collection import SearchedCollection, milliseconds_since
from lookalike_search.serving import indexed_images
from lookalike_search.serving.batches import Batches
from lookalike_search.serving.decoded_images import (
    Decoded,
    decode_indexed,
    decode_upload,
    is_indexed_part,
    make_example,
    make_upload_thumbnail,
    prepare_upload,
)
from lookalike_search.serving.image_order import ImageGroup, ImageOrder
from lookalike_search.serving.image_pairs import FoundImage, find_named, find_pair, read_image, show_image
from lookalike_search.serving.limits import ServingLimits
from lookalike_search.serving.metrics import Metrics
from lookalike_search.serving.problems import Code, RefusedError
from lookalike_search.serving.query_fields import ExplanationRequest, QueryRequest, Upload
from lookalike_search.serving.records import (
    Embedding,
    IndexedImage,
    ListedImages,
    ServedCollection,
    ServedCollections,
    UploadRecord,
)
from lookalike_search.serving.thumbnail_cache import ThumbnailCache
from lookalike_search.serving.uploads import CachedUpload, Uploads
from lookalike_search.serving.warm_collections import Leased, WarmCollections

_logger = get_logger("serving")

_Result = TypeVar("_Result")


class Service:
    """Answers requests by warm collections; its methods are those of one event loop.

    One thread searches, since the embedded engine stops all others for as long as a search takes; one opens
    collections; one orders their images; one runs models, which use all cores; several decode. With
    `shows_files` answers hold the paths of files.
    """

    def __init__(
        self,
        warm: WarmCollections,
        *,
        limits: ServingLimits,
        metrics: Metrics,
        thumbnails: ThumbnailCache,
        shows_files: bool,
    ) -> None:
        self.warm, self.limits, self.metrics = warm, limits, metrics
        self._thumbnails, self._shows_files = thumbnails, shows_files
        self._uploads = Uploads(limits)
        metrics.uploads.set_function(lambda: self._uploads.bytes)
        self._decoding = ThreadPoolExecutor(count_cores() + 1, "lookalike-decode")
        self._models = ThreadPoolExecutor(1, "lookalike-model")
        self._searching = ThreadPoolExecutor(1, "lookalike-search")
        self._opening = ThreadPoolExecutor(1, "lookalike-open")
        self._listing = ThreadPoolExecutor(1, "lookalike-list")
        self._batches: dict[str, tuple[SearchedCollection, Batches]] = {}
        self._samples: dict[str, tuple[SearchedCollection, Sequence[Payload]]] = {}
        self._counted: dict[str, tuple[SearchedCollection, float, ServedCollection]] = {}
        self._orders: dict[str, _Order] = {}
        self._counts: dict[str, _Counts] = {}

    def warm_up(self) -> list[SearchedCollection]:
        """Opens collections, loads their models and decodes and embeds one image, as the first query would.

        Returns the collections.

        Raises:
            LookalikeError: one cannot be opened, or its model cannot be loaded.
        """
        networks = self.warm.warm_up()
        sample = encode(np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 128, dtype=np.uint8)).data
        pixels = decode(io.BytesIO(sample), "a sample").pixels
        for network in networks:
            network.embed([pixels])
        return networks

    async def query(self, request: QueryRequest) -> Answer | FusedAnswer:
        """Returns the answer to a query.

        Raises:
            UsageError: a class, a dataset or an option does not fit the collections.
            ImageError: an image cannot be read, or is not indexed.
            CollectionMissingError: a collection does not exist, or is not served.
            RefusedError: an image took too long, or an upload is not cached any more.
        """
        return await self._ask(request, self._describe)

    async def find(self, request: QueryRequest) -> "Found":
        """Returns the answer to a query as it was found, for a page.

        Raises:
            UsageError, ImageError, CollectionMissingError, RefusedError: as `query`.
        """
        return await self._ask(request, _keep)

    async def _ask(self, request: QueryRequest, describe: "_Describe[_Result]") -> _Result:
        """Returns what `describe` makes of the answer, in the thread that searched."""
        request = self._find_uploads(request)
        async with self._leased(request.collections) as leased:
            searcher = Searcher(_networks_of(leased))
            if request.is_stored and not request.options.locate:
                return await self._search(leased, self._answer_indexed, searcher, request, describe)
            read = await self._read(leased, searcher, request)
            if not read.options.locate:
                return await self._search(leased, self._answer, searcher, request, read, describe)
            found = await self._search(leased, self._find, searcher, request, read)
            located = await self._locate(leased, found)
            return await self._search(
                leased, self._describe_by, describe, located, searcher.networks, read.options
            )

    async def embed(self, request: QueryRequest) -> Embedding:
        """Returns the feature vector of a query's one image.

        Raises:
            UsageError: there are several images or collections.
            ImageError, CollectionMissingError, RefusedError: as `query`.
        """
        if len(request.examples) > 1 or len(request.collections) > 1:
            raise UsageError("one image is embedded at a time, by the model of one collection")
        request = self._find_uploads(request)
        async with self._leased(request.collections) as leased:
            [network] = _networks_of(leased)
            [example] = (await self._read(leased, Searcher([network]), request)).examples
        manifest, identity = network.manifest, network.manifest.identity
        return {
            "schema": 1,
            "query": example.name,
            **region_json(example.part),
            "collection": network.name,
            "backbone": identity.backbone,
            "layer": identity.layer,
            "pooling": identity.pooling,
            "distance": manifest.distance,
            "dimension": identity.dimension,
            "provider": example.provider,
            "took_ms": {"load": 0, "embed": round(example.embed_ms, 1), "search": 0},
            "vector": example.vectors[0].tolist(),
        }

    async def explain(self, request: ExplanationRequest) -> Explanation:
        """Returns where the similarity of two images comes from.

        Other requests have the model between the two images.

        Raises:
            UsageError: the collection's similarities are no sums over cells.
            ManifestError: a stored vector was not computed from its image by this model.
            ImageError, CollectionMissingError, RefusedError: as `query`.
        """
        explained, query, neighbour, _ = await self._explain(request)
        return explanation_json(explained, query, neighbour, self._store_label)

    async def explain_shown(self, request: ExplanationRequest) -> tuple[Explained, list[SeenImage]]:
        """Returns where the similarity of two images comes from, and both images, for a page.

        Raises:
            UsageError, ManifestError, ImageError, CollectionMissingError, RefusedError: as `explain`.
        """
        explained, query, neighbour, pair = await self._explain(request)
        showing = (
            self._decode(partial(show_image, found, image, max_pixels=self.limits.pixels))
            for found, image in zip(pair, (query, neighbour), strict=True)
        )
        return explained, await asyncio.gather(*showing)

    async def _explain(
        self, request: ExplanationRequest
    ) -> tuple[Explained, ComparedImage, ComparedImage, Sequence[FoundImage]]:
        request = replace(request, image=self._uploads.find(request.image))
        names = [] if request.collection is None else [request.collection]
        async with self._leased(names) as leased:
            network = leased[0].network
            pair = await self._search(leased, find_pair, network, request)
            query, neighbour = await asyncio.gather(
                *(self._decode(partial(self._read_pair_image, each, network.name)) for each in pair)
            )
            of_query = await self._run_model(self._compute_features, network, query)
            of_neighbour = await self._run_model(self._compute_features, network, neighbour)
            vectors = [
                await self._compared_vector(network, found, image, features)
                for found, image, features in zip(
                    pair, (query, neighbour), (of_query, of_neighbour), strict=True
                )
            ]
            explained = await self._run_model(
                partial(explain_vectors, provider=network.provider or ""),
                network.manifest,
                network.name,
                (query, neighbour),
                (of_query, of_neighbour),
                vectors,
            )
            return explained, query, neighbour, pair

    async def add_upload(self, upload: Upload) -> UploadRecord:
        """Caches an upload for further queries, and describes it.

        Raises:
            ImageError: it cannot be read.
            RefusedError: it took too long, or takes too much memory.
        """
        cached = await self._decode(partial(self._prepare_upload, upload))
        self._uploads.add(cached)
        return self._describe_upload(cached)

    def upload(self, id_: str) -> UploadRecord:
        """Returns what is known of an upload.

        Raises:
            RefusedError: it is unknown, or not cached any more.
        """
        return self._describe_upload(self._uploads.get(id_))

    def remove_upload(self, id_: str) -> UploadRecord:
        """Removes an upload, and returns what was known of it.

        Raises:
            RefusedError: as `upload`.
        """
        return self._describe_upload(self._uploads.remove(id_))

    async def upload_thumbnail(self, id_: str, edge: int) -> Thumbnail:
        """Returns a thumbnail of an upload.

        Raises:
            RefusedError: as `upload`.
        """
        upload = self._uploads.get(id_)
        return await self._decode(partial(make_upload_thumbnail, upload, edge, max_pixels=self.limits.pixels))

    async def collections(self) -> ServedCollections:
        """Returns the served collections, counted exactly."""
        return await asyncio.wrap_future(self._opening.submit(self._describe_collections))

    async def overview(self) -> ServedCollections:
        """Returns `collections` for a page: those that are open, counted once, and no numbers of others."""
        return await asyncio.wrap_future(self._opening.submit(self._describe_open))

    async def samples(self, names: Sequence[str], count: int) -> Sequence[Payload]:
        """Returns some images of the first of some collections, of as many classes as it has.

        Raises:
            CollectionMissingError: it does not exist, or is not served.
        """
        async with self._leased(names) as leased:
            network = leased[0].network
            known = self._samples.get(network.name)
            if known is None or known[0] is not network or len(known[1]) > count:
                found = await self._search(leased, indexed_images.sample_payloads, network, count)
                self._samples[network.name] = known = network, found
            return known[1]

    async def image(self, id_: str, collections: Sequence[str]) -> IndexedImage:
        """Returns what is known of an indexed image.

        Raises:
            ImageError: the collection has no image of this id.
        """
        async with self._leased(collections) as leased:
            network, payload = await self._search(
                leased, indexed_images.find_payload, _networks_of(leased), id_
            )
            found = indexed_images.describe_image(network, payload)
        return found if self._shows_files else {**found, "file": None}

    async def images(self, collections: Sequence[str], wanted: indexed_images.Wanted) -> ListedImages:
        """Returns a page of the indexed images.

        Raises:
            UsageError: there is no such dataset or class.
            ImageError: the image after which to go on is not indexed.
        """
        async with self._leased(collections) as leased:
            network = leased[0].network
            order = await self._order_of(leased)
            return await self._search(leased, indexed_images.list_images, network, order, wanted)

    async def groups(self, collections: Sequence[str]) -> list[ImageGroup]:
        """Returns the datasets and classes of the indexed images, in the order of their lists."""
        async with self._leased(collections) as leased:
            return (await self._order_of(leased)).groups()

    async def thumbnail(self, payload_of: "ImageAddress", edge: int) -> tuple[bytes, str, str]:
        """Returns a thumbnail, its media type and the SHA-256 of the image.

        Raises:
            ImageError: the image is not indexed, or its file is gone or has changed.
        """
        payload, file = await self._find_file(payload_of)
        data, media_type = await self._decode(
            lambda: indexed_images.get_thumbnail(
                file, payload, edge, cache=self._thumbnails, pixels=self.limits.pixels
            )
        )
        return data, media_type, payload.sha256

    async def original(self, payload_of: "ImageAddress") -> tuple[bytes, Payload]:
        """Returns the bytes of an indexed image.

        Raises:
            ImageError: as `thumbnail`.
        """
        payload, file = await self._find_file(payload_of)
        most = self.limits.body_bytes
        return await self._decode(
            lambda: indexed_images.read_original(file, payload, most_bytes=most)
        ), payload

    async def count_points(self) -> None:
        """Updates the metric of the points of each open collection."""
        for name, points in (await self._search([], self.warm.count_points)).items():
            self.metrics.points.labels(name).set(points)

    async def refresh_for_ever(self) -> None:
        """Opens collections anew that were written to, in a thread of its own."""
        is_local = self.warm.store.local is not None
        with ThreadPoolExecutor(1, "lookalike-refresh") as thread:
            while True:
                await asyncio.sleep(self.limits.refresh_s if is_local else self.limits.refresh_server_s)
                self._uploads.remove_expired()
                try:
                    await asyncio.wrap_future(thread.submit(self.warm.refresh))
                except Exception as error:  # noqa: BLE001 - the next time may be better
                    _logger.warning("collections cannot be looked at for changes: %s", error)

    def close(self) -> None:
        """Waits for what runs, and closes the collections."""
        for pool in (self._decoding, self._models, self._searching, self._listing):
            pool.shutdown(cancel_futures=True)
        self._opening.shutdown()  # it has leases to give back
        self.warm.close()

    @asynccontextmanager
    async def _leased(self, names: Sequence[str]) -> AsyncIterator[list[Leased]]:
        leased = await self._take(names)
        try:
            yield leased
        finally:
            self._give_back(leased)

    def _give_back(self, leased: Sequence[Leased]) -> None:
        if any(each.is_retired for each in leased):  # the last one closes it
            self._opening.submit(self.warm.give_back, leased)
        else:
            self.warm.give_back(leased)

    def _start(
        self,
        pool: ThreadPoolExecutor,
        leased: Sequence[Leased],
        function: Callable[..., _Result],
        *arguments: Any,  # noqa: ANN401
    ) -> "Future[_Result]":
        """Starts work on snapshots, which stay open until it ends, even if its request has ended before."""
        work = pool.submit(function, *arguments)
        self.warm.keep(leased)
        work.add_done_callback(lambda _: self._give_back(leased))
        return work

    async def _take(self, names: Sequence[str]) -> list[Leased]:
        if (leased := self.warm.take_open(names)) is not None:
            return leased
        taking = self._opening.submit(lambda: self.warm.take(self.warm.choose(names)))
        try:
            return await asyncio.wrap_future(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(self._give_back_taken)
            raise

    def _give_back_taken(self, taken: "Future[list[Leased]]") -> None:
        if not taken.cancelled() and taken.exception() is None:
            self.warm.give_back(taken.result())

    async def _search(
        self,
        leased: Sequence[Leased],
        function: Callable[..., _Result],
        *arguments: Any,  # noqa: ANN401
    ) -> _Result:
        return await asyncio.wrap_future(self._start(self._searching, leased, function, *arguments))

    async def _decode(self, function: Callable[[], _Result]) -> _Result:
        try:
            async with asyncio.timeout(self.limits.decode_s):
                return await asyncio.wrap_future(self._decoding.submit(function))
        except TimeoutError:
            said = f"the image was not decoded within {self.limits.decode_s:g} s"
            raise RefusedError(Code.TOO_SLOW, said) from None

    async def _find_file(self, address: "ImageAddress") -> tuple[Payload, Any]:
        async with self._leased(address.collections) as leased:
            network, payload = await self._search(
                leased, indexed_images.find_payload, _networks_of(leased), address.id
            )
            return payload, indexed_images.find_indexed_file(network, payload)

    def _find_uploads(self, request: QueryRequest) -> QueryRequest:
        """Returns a query with the uploads that it names by their ids."""
        find = self._uploads.find
        return replace(
            request,
            image=find(request.image),
            positives=[*map(find, request.positives)],
            negatives=[*map(find, request.negatives)],
        )

    async def _read(self, leased: Sequence[Leased], searcher: Searcher, request: QueryRequest) -> "_Read":
        """Returns the examples of a query: uploads and parts are decoded and embedded, others are stored."""
        networks, region = searcher.networks, request.options.region
        reading = self._start(self._searching, leased, _read_indexed, searcher, request)
        cached = _find_cached(request, networks)
        uploads = {
            place: example
            for place, example in enumerate(request.examples)
            if isinstance(example, Upload) and place not in cached
        }
        decoded = await self._decode_uploads(uploads, region)
        known = await asyncio.wrap_future(reading)  # what is wrong is refused before the model runs
        if known.part is not None:
            decoded[0] = await self._decode(partial(self._decode_part, known.part))
        embedded = dict(zip(decoded, await self._embed_all(list(decoded.values()), networks), strict=True))
        self._cache_vectors(uploads, embedded, networks)
        ready, stored = cached | embedded, iter(known.examples)
        return _Read(
            options=known.options,
            examples=[
                ready[place] if place in ready else next(stored) for place in range(len(request.examples))
            ],
        )

    async def _compared_vector(
        self, network: SearchedCollection, found: FoundImage, image: ComparedImage, features: Features
    ) -> FloatVector:
        """Returns the vector of an image by which a search compares it, float32 `[D]`."""
        own = part_vector(image, features) if image.whole is not None else found.stored
        if own is not None:
            return own
        cached = found.image if isinstance(found.image, CachedUpload) else None
        identity = network.manifest.identity
        if cached is not None and identity in cached.vectors:
            return cached.vectors[identity]
        [vector] = await self._batches_of(network).embed([image.pixels])
        if vector is None:
            raise ImageError(
                f"{image.name} has no embedding: its vector is zero or not finite",
                reason=SkipReason.NO_EMBEDDING,
            )
        if cached is not None:
            self._uploads.add_vector(cached, identity, vector)
        return vector

    async def _decode_uploads(
        self, uploads: Mapping[int, Upload], region: Region | None
    ) -> dict[int, Decoded]:
        """Returns uploads by their place in a query; the region is that of its image."""
        decoding = (
            self._decode(partial(self._decode_upload, upload, None if place else region))
            for place, upload in uploads.items()
        )
        return dict(zip(uploads, await asyncio.gather(*decoding), strict=True))

    def _cache_vectors(
        self,
        uploads: Mapping[int, Upload],
        embedded: Mapping[int, Example],
        networks: Sequence[SearchedCollection],
    ) -> None:
        """Caches the vectors of uploads, but for those of parts."""
        for place, upload in uploads.items():
            if isinstance(upload, CachedUpload) and embedded[place].part is None:
                for network, vector in zip(networks, embedded[place].vectors, strict=True):
                    self._uploads.add_vector(upload, network.manifest.identity, vector)

    def _decode_upload(self, upload: Upload, region: Region | None) -> Decoded:
        with self.metrics.decode.time():
            return decode_upload(upload, region, max_pixels=self.limits.pixels)

    def _prepare_upload(self, upload: Upload) -> CachedUpload:
        with self.metrics.decode.time():
            return prepare_upload(upload, max_pixels=self.limits.pixels)

    def _describe_upload(self, upload: CachedUpload) -> UploadRecord:
        return {
            "schema": 1,
            "upload": upload.id,
            "name": upload.name,
            "width": upload.width,
            "height": upload.height,
            "expires_s": self.limits.upload_s,
        }

    def _read_pair_image(self, found: FoundImage, name: str) -> ComparedImage:
        with self.metrics.decode.time():
            return read_image(found, name, max_pixels=self.limits.pixels)

    def _compute_features(self, network: SearchedCollection, image: ComparedImage) -> Features:
        with self.metrics.embed.time():
            return compute_features(image, lambda pixels: network.features([pixels])[0])

    def _decode_part(self, source: Source) -> Decoded:
        with self.metrics.decode.time():
            return decode_indexed(source, max_pixels=self.limits.pixels)

    async def _embed_all(
        self, decoded: Sequence[Decoded], networks: Sequence[SearchedCollection]
    ) -> list[Example]:
        """Returns decoded images with the vectors of all networks."""
        started = time.perf_counter()
        vectors = await asyncio.gather(*(self._embed_for(network, decoded) for network in networks))
        embed_ms = milliseconds_since(started)
        return [
            make_example(each, [of_network[row] for of_network in vectors], networks, embed_ms + each.took_ms)
            for row, each in enumerate(decoded)
        ]

    async def _embed_for(
        self, network: SearchedCollection, decoded: Sequence[Decoded]
    ) -> list[FloatVector | None]:
        """Returns the vectors of a network; a part of an image is embedded alone, by the feature model."""
        is_part = [each.is_part_for(network) for each in decoded]
        parts = [each for each, alone in zip(decoded, is_part, strict=True) if alone]
        wholes = [each.pixels for each, alone in zip(decoded, is_part, strict=True) if not alone]
        of_parts, of_wholes = await asyncio.gather(
            asyncio.gather(*(self._run_model(self._embed_part, network, each) for each in parts)),
            self._batches_of(network).embed(wholes),
        )
        ones, others = iter(of_parts), iter(of_wholes)
        return [next(ones if alone else others) for alone in is_part]

    async def _run_model(self, function: Callable[..., _Result], *arguments: Any) -> _Result:  # noqa: ANN401
        """Embeds in the thread of the models, for which no snapshot has to stay open."""
        return await asyncio.wrap_future(self._models.submit(function, *arguments))

    async def _locate(self, leased: Sequence[Leased], found: FoundAnswer) -> FoundAnswer:
        """Returns an answer with the place of the similarity in each neighbour.

        Other requests have the model between two neighbours.
        """
        hits: list[Neighbour] = []
        for hit in found.hits:
            alone = replace(found, hits=[hit])
            work = self._start(self._models, leased, self._locate_one, alone, leased[0].network)
            hits += (await asyncio.wrap_future(work)).hits
        return replace(found, hits=hits)

    def _locate_one(self, found: FoundAnswer, network: SearchedCollection) -> FoundAnswer:
        with self.metrics.embed.time():
            return locate_neighbours(found, network, max_pixels=self.limits.pixels)

    async def _order_of(self, leased: Sequence[Leased]) -> ImageOrder:
        """Returns the order of a collection's images, which is made once for each snapshot.

        On a server it is made anew after a while, too, since others write there.
        """
        network = leased[0].network
        known = self._orders.get(network.name)
        is_current = known is not None and known.network is network and not self._is_stale(known)
        if known is None or not is_current:
            ordering = self._start(self._listing, leased, ImageOrder, network.collection.scan())
            known = _Order(network=network, since=time.monotonic(), order=asyncio.wrap_future(ordering))
            self._orders[network.name] = known
        try:
            return await asyncio.shield(known.order)
        except Exception:
            self._orders.pop(network.name, None)
            raise

    def _is_stale(self, known: "_Order") -> bool:
        is_local = self.warm.store.local is not None
        is_done = known.order.done()
        return is_done and not is_local and time.monotonic() - known.since > self.limits.reorder_s

    def _batches_of(self, network: SearchedCollection) -> Batches:
        """Returns the batches of a snapshot; a later one has its own, since its model may be another."""
        known, batches = self._batches.get(network.name, (None, None))
        if batches is None or known is not network:

            async def embed(pixels: Sequence[Pixels]) -> list[FloatVector | None]:
                return await self._run_model(self._embed, network, pixels)

            batches = Batches(
                embed,
                size=self.limits.batch,
                gather_s=self.limits.gather_s,
                most_wait_s=self.limits.queue_s,
                on_run=self._count_run,
            )
            self._batches[network.name] = network, batches
        return batches

    def _embed(self, network: SearchedCollection, pixels: Sequence[Pixels]) -> list[FloatVector | None]:
        with self.metrics.embed.time():
            return network.embed(pixels)

    def _embed_part(self, network: SearchedCollection, decoded: Decoded) -> FloatVector | None:
        with self.metrics.embed.time():
            return decoded.embed_part(network)

    def _count_run(self, waited_s: Sequence[float]) -> None:
        self.metrics.batch.observe(len(waited_s))
        for each in waited_s:
            self.metrics.queue.observe(each)

    def _answer_indexed(
        self, searcher: Searcher, request: QueryRequest, describe: "_Describe[_Result]"
    ) -> _Result:
        """Answers a query whose vectors are all stored, in one go."""
        known = _read_indexed(searcher, request)
        read = _Read(options=known.options, examples=known.examples)
        return self._answer(searcher, request, read, describe)

    def _answer(
        self, searcher: Searcher, request: QueryRequest, read: "_Read", describe: "_Describe[_Result]"
    ) -> _Result:
        found = self._find(searcher, request, read)
        return self._describe_by(describe, found, searcher.networks, read.options)

    def _find(self, searcher: Searcher, request: QueryRequest, read: "_Read") -> FoundAnswer:
        first, count = read.examples[0], len(request.positives)
        positives, negatives = read.examples[1 : 1 + count], read.examples[1 + count :]
        with self.metrics.search.time():
            return searcher.answer(
                first, read.options, positives=_named(positives), negatives=_named(negatives)
            )

    def _describe_by(
        self,
        describe: "_Describe[_Result]",
        answer: FoundAnswer,
        networks: Sequence[SearchedCollection],
        options: QueryOptions,
    ) -> _Result:
        """Returns what `describe` makes of an answer that names no file which clients may not know."""
        if not self._shows_files:
            answer = replace(answer, hits=[_without_files(hit) for hit in answer.hits])
            answer = replace(answer, left_out=[replace(each, file=None) for each in answer.left_out])
        return describe(answer, networks, options)

    def _describe(
        self, answer: FoundAnswer, networks: Sequence[SearchedCollection], options: QueryOptions
    ) -> Answer | FusedAnswer:
        return answer_json(answer, [network.manifest for network in networks], self._store_label, options)

    @property
    def _store_label(self) -> str:
        label = self.warm.store.label
        return label if self._shows_files or self.warm.store.local is None else label.partition(":")[0]

    def _describe_collections(self) -> ServedCollections:
        return self._list_collections(self._describe_collection)

    def _describe_open(self) -> ServedCollections:
        return self._list_collections(self._describe_if_open)

    def _list_collections(self, describe: Callable[[str], ServedCollection]) -> ServedCollections:
        found = []
        for name in self.warm.names():
            with suppress(CollectionMissingError):
                found.append(describe(name))
        return {
            "schema": 1,
            "store": self._store_label,
            "default": self.warm.default,
            "collections": found,
        }

    def _describe_if_open(self, name: str) -> ServedCollection:
        """Returns what is known of a collection; a snapshot's counts stay, others are renewed at times."""
        leased = self.warm.take_open([name])
        if leased is None:
            return _describe_space(name, self.warm.store.manifest(name))
        try:
            [network] = _networks_of(leased)
            counted = self._counted.get(name)
            if counted is None or counted[0] is not network or time.monotonic() >= counted[1]:
                is_local = self.warm.store.local is not None
                until = inf if is_local else time.monotonic() + self.limits.refresh_server_s
                self._counted[name] = counted = network, until, _count_open(network)
            return counted[2]
        finally:
            self._give_back(leased)

    def _describe_collection(self, name: str) -> ServedCollection:
        found = _describe_space(name, self.warm.store.manifest(name))
        try:
            counts: _Counts | None = self._count(name)
        except StoreLockedError:  # the last numbers are shown, if there are any
            counts = self._counts.get(name)
        if counts is not None:
            found["points"] = counts.points
            found["datasets"], found["classes"] = dict(counts.datasets), dict(counts.classes)
        return found

    def _count(self, name: str) -> "_Counts":
        """Returns the numbers of images of a collection; an embedded one is counted once for each version."""
        version = self.warm.version(name)
        known = self._counts.get(name)
        if known is not None and known.version == version and self.warm.store.local is not None:
            return known
        with self.warm.look(name) as collection:
            datasets = dict.fromkeys(collection.manifest.datasets, 0) | collection.tally("dataset")
            known = _Counts(
                version=version,
                points=collection.count(EVERYTHING),
                datasets=datasets,
                classes=collection.tally("class"),
            )
        self._counts[name] = known
        return known


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Counts:
    """How many images a version of a collection has, by dataset and by class."""

    version: str
    points: int
    datasets: Mapping[str, int]
    classes: Mapping[str, int]


def _networks_of(leased: Sequence[Leased]) -> list[SearchedCollection]:
    return [each.network for each in leased]


_Describe = Callable[[FoundAnswer, Sequence[SearchedCollection], QueryOptions], _Result]
"""Makes what is sent of an answer, of the collections that were searched, and of the resolved options."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """An answer, the manifests of the collections that were searched, and the resolved options.

    `has_chances` says whether the collection is calibrated, and `has_sets` whether it is so for prediction
    sets.
    """

    answer: FoundAnswer
    manifests: Sequence[CollectionManifest]
    options: QueryOptions
    has_chances: bool
    has_sets: bool


def _keep(answer: FoundAnswer, networks: Sequence[SearchedCollection], options: QueryOptions) -> Found:
    calibration = networks[0].calibration if len(networks) == 1 else None
    return Found(
        answer=answer,
        manifests=[network.manifest for network in networks],
        options=options,
        has_chances=calibration is not None,
        has_sets=calibration is not None and calibration.conformal is not None,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Order:
    """The order of the images of a snapshot, which is made in a thread."""

    network: SearchedCollection
    since: float
    order: "asyncio.Future[ImageOrder]"


class ImageAddress:
    """The id of an indexed image, and the collections that may have it; none is the default."""

    def __init__(self, id_: str, collections: Sequence[str]) -> None:
        self.id, self.collections = id_, collections


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Known:
    """The resolved options of a query, and its stored examples in their order.

    `part` is its image, if that is indexed and a part of it is meant, so that it has to be embedded.
    """

    options: QueryOptions
    examples: Sequence[Example]
    part: Source | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Read:
    """The resolved options of a query, and all its examples in their order."""

    options: QueryOptions
    examples: Sequence[Example]


def _read_indexed(searcher: Searcher, request: QueryRequest) -> _Known:
    """Returns the examples that are indexed; their vectors are the stored ones."""
    _check_fits(searcher.networks, request)
    options = searcher.resolve_options(request.options)
    names = [each for each in request.examples if isinstance(each, str)]
    sources = [find_named(name, searcher.networks, options.where.dataset) for name in names]
    part = None
    if isinstance(request.image, str) and options.region is not None:
        sources[0] = replace(sources[0], region=options.region)
        part = sources.pop(0) if is_indexed_part(sources[0]) else None
    examples = []
    for read in read_examples(sources, searcher.networks, max_pixels=options.max_pixels):
        if isinstance(read, ImageError):
            raise read
        examples.append(read)
    return _Known(options=options, examples=examples, part=part)


def _find_cached(request: QueryRequest, networks: Sequence[SearchedCollection]) -> dict[int, Example]:
    """Returns the uploads of a query by their place, where all networks have embedded them before."""
    found = {}
    for place, upload in enumerate(request.examples):
        is_whole = place > 0 or request.options.region is None
        if isinstance(upload, CachedUpload) and is_whole:
            example = upload.to_example(networks)
            if example is not None:
                found[place] = example
    return found


def _check_fits(networks: Sequence[SearchedCollection], request: QueryRequest) -> None:
    """Refuses a prediction set, chances and places of a similarity where there are none.

    Raises:
        UsageError: as `check_confidence`, `check_choice` and `require_locatable`.
    """
    has_examples = len(request.examples) > 1
    check_confidence(networks, request.options, has_examples=has_examples)
    check_choice(networks, request.options, has_examples=has_examples)
    if request.options.locate:
        require_locatable(networks)


def _named(examples: Sequence[Example]) -> ExampleSet:
    return ExampleSet(names=[each.name for each in examples], examples=examples)


def _without_files(hit: Any) -> Any:  # noqa: ANN401 - a neighbour, or a near-duplicate of one
    near = {"near": [replace(each, file=None) for each in hit.near]}
    return replace(hit, file=None, **near)


def _count_open(network: SearchedCollection) -> ServedCollection:
    """Returns what is known of an open collection, counted exactly."""
    found = _describe_space(network.name, network.manifest)
    found["points"] = network.collection.count(EVERYTHING)
    datasets = dict.fromkeys(network.manifest.datasets, 0)
    found["datasets"] = datasets | network.collection.tally("dataset")
    found["classes"] = network.collection.tally("class")
    return found


def _describe_space(name: str, manifest: CollectionManifest) -> ServedCollection:
    """Returns what the manifest tells; the numbers are null."""
    identity = manifest.identity
    found: ServedCollection = {
        "name": name,
        "backbone": identity.backbone,
        "layer": identity.layer,
        "pooling": identity.pooling,
        "distance": manifest.distance,
        "dimension": identity.dimension,
        "points": None,
        "datasets": None,
        "classes": None,
    }
    if identity.head is not None:
        found["head"] = identity.head
    return found
