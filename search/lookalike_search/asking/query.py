"""Stage 3 itself: open collections, and the models behind them, answer any number of pictures."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Self

from lookalike_core.arrays import FloatVector
from lookalike_core.errors import PictureError, SkipReason
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.images.scan import OtherFiles
from lookalike_core.neighbours.vote import Verdict, VoteRule, vote, wants_voters
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import PointFilter, SearchHit
from lookalike_core.stores.protocol import Store, opened_together

from lookalike_search.asking.answers import Answer, Findings, Neighbour, QueryOptions
from lookalike_search.asking.estimates import estimated
from lookalike_search.asking.examples import NO_EXAMPLES, Example, ExampleSet, combined, read_examples
from lookalike_search.asking.fused_search import check_fusion, fused_neighbours
from lookalike_search.asking.query_sources import QueryInput, Source, find_sources
from lookalike_search.asking.searched_collection import Network, milliseconds_since
from lookalike_search.collection_choice import file_of, require_dataset


class Searcher:
    """Answers by one network, or by several whose rankings are fused."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = networks

    @classmethod
    @contextmanager
    def opened(cls, *names: str, store: Store, settings: Settings) -> Iterator[Self]:
        """Opens the collections, all at once; a model is loaded when a picture has to be embedded.

        Raises:
            CollectionMissingError: there is no such collection.
        """
        with ExitStack() as stack:

            def open_one(name: str) -> Network:
                return stack.enter_context(Network.opened(name, store=store, settings=settings))

            yield cls(opened_together(names, open_one))

    @property
    def manifest(self) -> CollectionManifest:
        """Of the collection that is searched, the first of several."""
        return self.networks[0].manifest

    def find(
        self,
        query: QueryInput,
        *,
        dataset: str | None = None,
        others: OtherFiles | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> list[Source]:
        """The pictures that are asked with: see `find_sources`."""
        collections = [network.collection for network in self.networks]
        return find_sources(query, collections, dataset=dataset, others=others, max_pixels=max_pixels)

    def check(self, options: QueryOptions) -> None:
        """Says before anything is read that it cannot be answered as the options want it.

        Raises:
            UsageError: the rankings of these collections cannot be fused so, or none has such a dataset.
        """
        check_fusion(self.networks, options)
        self._dataset(options)

    def read(self, source: Source, options: QueryOptions) -> Example:
        """A picture and its vectors: see `read_examples`.

        Raises:
            PictureError: it cannot be read; or it is in one collection only, and its file is gone or changed.
        """
        [example] = self.read_all([source], options)
        if isinstance(example, PictureError):
            raise example
        return example

    def read_all(self, sources: Iterable[Source], options: QueryOptions) -> Iterator[Example | PictureError]:
        """As `read`, for any number: those that are embedded are so in batches.

        Raises:
            UsageError: as `check`, before anything is read.
        """
        self.check(options)
        return read_examples(sources, self.networks, max_pixels=options.max_pixels)

    def answer(
        self,
        asked: Source | Example,
        options: QueryOptions,
        *,
        positives: ExampleSet = NO_EXAMPLES,
        negatives: ExampleSet = NO_EXAMPLES,
    ) -> Answer:
        """The neighbours of a picture, which is read if it is not yet, or of it together with other examples.

        None of the examples is among them, nor a copy of its bytes, unless `include_self` says so.

        Raises:
            PictureError: the picture cannot be read, or the examples leave nothing to search for.
            UsageError: as `check`.
        """
        self.check(options)
        example = self.read(asked, options) if isinstance(asked, Source) else asked
        started = time.perf_counter()
        vectors = self._vectors(example, positives, negatives)
        others = (*positives.examples, *negatives.examples)
        where = PointFilter(
            class_name=options.class_name,
            dataset=self._dataset(options),
            excluded_sha256=frozenset()
            if options.include_self
            else example.sha256.union(*(other.sha256 for other in others)),
        )
        found = self._found(vectors, where, options)
        if len(self.networks) == 1 and not others and _asks_everything(options):
            found = _with_estimates(found, self.networks[0], options)
        return Answer(
            query=example.name,
            file=example.file,
            indexed=example.indexed,
            hits=found.hits[: options.limit],
            verdict=found.verdict,
            verdict_chance=found.verdict_chance,
            unlike_anything=found.unlike_anything,
            provider=next((each.provider for each in (example, *others) if each.provider), None),
            load_ms=self._load_ms(),
            embed_ms=example.embed_ms,
            search_ms=milliseconds_since(started),
            positives=positives.names,
            negatives=negatives.names,
        )

    def _dataset(self, options: QueryOptions) -> str | None:
        return require_dataset([network.manifest for network in self.networks], options.dataset)

    def _vectors(self, example: Example, positives: ExampleSet, negatives: ExampleSet) -> list[FloatVector]:
        """What to search with, one for each network."""
        vectors = []
        for i, network in enumerate(self.networks):
            vector = combined(
                [example.vectors[i], *(each.vectors[i] for each in positives.examples)],
                [each.vectors[i] for each in negatives.examples],
                network.manifest.distance,
            )
            if vector is None:
                raise PictureError(
                    f"{example.name} and its examples cancel each other out and leave nothing to search for",
                    reason=SkipReason.NO_EMBEDDING,
                    hint=Hint(Action.LEAVE_ONE_OUT, {Argument.AND: None, Argument.NOT: None}),
                )
            vectors.append(vector)
        return vectors

    def _found(self, vectors: Sequence[FloatVector], where: PointFilter, options: QueryOptions) -> Findings:
        if len(self.networks) > 1:
            hits, verdict = fused_neighbours(self.networks, vectors, where, options)
            return Findings(hits=hits, verdict=verdict)
        return _nearest(self.networks[0], vectors[0], where, options)

    def _load_ms(self) -> float:
        """What opening and loading took that no answer has shown yet."""
        total = sum(network.load_ms for network in self.networks)
        for network in self.networks:
            network.load_ms = 0.0
        return total


def _asks_everything(options: QueryOptions) -> bool:
    """Whether a picture asks all others, as those did that a calibration was learned from."""
    return options.class_name is None and options.dataset is None and not options.include_self


def _with_estimates(found: Findings, network: Network, options: QueryOptions) -> Findings:
    """With what the collection's calibration says, where it has one."""
    if network.calibration is None:
        return found
    estimates = estimated(
        network.calibration,
        scores=[hit.score for hit in found.hits],
        classes=[hit.payload.class_name for hit in found.hits],
        verdict=found.verdict,
        rule=options.vote,
    )
    chances = zip(found.hits, estimates.neighbours, strict=True)
    return Findings(
        hits=[replace(hit, chance=chance) for hit, chance in chances],
        verdict=None if estimates.unlike_anything else found.verdict,
        verdict_chance=None if estimates.unlike_anything else estimates.verdict,
        unlike_anything=estimates.unlike_anything,
    )


def _nearest(network: Network, vector: FloatVector, where: PointFilter, options: QueryOptions) -> Findings:
    """At least as many as are asked for or vote."""
    limit = max(options.limit, options.k)
    hits = network.collection.query(vector, limit=limit, where=where, exact=options.exact)
    neighbours = [
        Neighbour(
            rank=rank,
            score=hit.score,
            payload=hit.payload,
            file=file_of(network.manifest, hit.payload.dataset, hit.payload.path),
        )
        for rank, hit in enumerate(hits, start=1)
    ]
    return Findings(hits=neighbours, verdict=_verdict(network, vector, hits, where, options))


def _verdict(
    network: Network,
    vector: FloatVector,
    hits: Sequence[SearchHit],
    where: PointFilter,
    options: QueryOptions,
) -> Verdict | None:
    """What the k nearest with a class vote for, which are searched for where `hits` do not hold them all.

    Where each class' own nearest count, they are searched for, too.
    """
    if options.class_name is not None:
        return None
    if wants_voters([hit.payload.class_name for hit in hits], k=options.k):
        labelled = replace(where, labelled=True)
        hits = network.collection.query(vector, limit=options.k, where=labelled, exact=options.exact)
    voters = [hit for hit in hits if hit.payload.class_name][: options.k]
    higher_is_nearer = network.manifest.distance.higher_is_nearer
    if options.vote is VoteRule.NEAREST_CLASS:
        classes = {hit.payload.class_name for hit in voters}
        own = [
            network.collection.query(
                vector, limit=options.k, where=replace(where, class_name=name), exact=options.exact
            )
            for name in classes
        ]
        sign = -1 if higher_is_nearer else 1
        voters = sorted((hit for hits in own for hit in hits), key=lambda hit: sign * hit.score)
    return vote(
        [hit.payload.class_name or "" for hit in voters],
        [hit.score for hit in voters],
        rule=options.vote,
        k=options.k,
        higher_is_nearer=higher_is_nearer,
    )
