"""Answers any number of queries by open collections and their models."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Self

from lookalike_core.arrays import FloatVector
from lookalike_core.errors import ImageError, SkipReason, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.images.region import Region
from lookalike_core.images.scan import OtherFiles
from lookalike_core.neighbours.rank_fusion import CANDIDATES
from lookalike_core.settings import Settings
from lookalike_core.stores.overlapping_roots import other_places
from lookalike_core.stores.points import EVERYTHING, Payload
from lookalike_core.stores.protocol import Store, open_together

from lookalike_search.asking.answers import Answer, Neighbour, QueryOptions
from lookalike_search.asking.calibration_use import check_is_whole
from lookalike_search.asking.candidates import Query, check_fusion
from lookalike_search.asking.chosen_neighbours import choose_neighbours
from lookalike_search.asking.estimates import estimate
from lookalike_search.asking.exact_duplicates import find_exact_duplicates
from lookalike_search.asking.examples import NO_EXAMPLES, Example, ExampleSet, combine, read_examples
from lookalike_search.asking.neighbour_search import rank_neighbours
from lookalike_search.asking.prediction_sets import find_prediction_set
from lookalike_search.asking.query_sources import QueryInput, Source, find_sources
from lookalike_search.asking.searched_collection import SearchedCollection, milliseconds_since
from lookalike_search.collection_choice import resolve_filter


class Searcher:
    """Answers by one network, or by several whose rankings are fused."""

    def __init__(
        self, networks: Sequence[SearchedCollection], *, candidates: int = CANDIDATES, open_ms: float = 0.0
    ) -> None:
        self.networks = networks
        self._candidates = candidates
        """How many of each network are candidates of a fusion."""
        self._open_ms = open_ms
        self._loaded_before_ms = self._loaded_ms

    @classmethod
    @contextmanager
    def opened(cls, *names: str, store: Store, settings: Settings) -> Iterator[Self]:
        """Opens all collections; a model is loaded when an image has to be embedded.

        Raises:
            CollectionMissingError: there is no such collection.
        """
        started = time.perf_counter()
        with ExitStack() as stack:
            collections = open_together(names, lambda name: stack.enter_context(store.open(name)))
            networks = [SearchedCollection(collection, settings=settings) for collection in collections]
            yield cls(networks, open_ms=milliseconds_since(started))

    @property
    def load_ms(self) -> float:
        """Milliseconds that opening the collections and loading their models has taken so far."""
        return self._open_ms + self._loaded_ms - self._loaded_before_ms

    @property
    def _loaded_ms(self) -> float:
        return sum(network.load_ms for network in self.networks)

    def find(
        self,
        query: QueryInput,
        *,
        dataset: str | None = None,
        others: OtherFiles | None = None,
        max_pixels: int = MAX_PIXELS,
        region: Region | None = None,
    ) -> list[Source]:
        """Returns the images of a query: see `find_sources`."""
        collections = [network.collection for network in self.networks]
        return find_sources(
            query, collections, dataset=dataset, others=others, max_pixels=max_pixels, region=region
        )

    def resolve_options(self, options: QueryOptions) -> QueryOptions:
        """Returns the options with the names of the filter as the collections spell them.

        Raises:
            UsageError: the rankings of these collections cannot be fused so, their scores cannot be cut off
                so, or none has such a dataset, class or folder; or a collection cannot be filtered so.
        """
        check_fusion(self.networks, options)
        _check_cut_off(self.networks, options)
        collections = [network.collection for network in self.networks]
        return replace(options, where=resolve_filter(options.where, *collections))

    def read_all(self, sources: Iterable[Source], *, max_pixels: int) -> Iterator[Example | ImageError]:
        """Yields each image with its vectors, or why it cannot be read: see `read_examples`."""
        return read_examples(sources, self.networks, max_pixels=max_pixels)

    def answer(
        self,
        example: Example,
        options: QueryOptions,
        *,
        positives: ExampleSet = NO_EXAMPLES,
        negatives: ExampleSet = NO_EXAMPLES,
        load_ms: float = 0.0,
    ) -> Answer:
        """Returns the neighbours of an image, or of it together with other examples, by resolved `options`.

        Neither the examples nor images with the same bytes are neighbours, unless `include_self` keeps them.
        `load_ms` is the loading time that the answer shows.

        Raises:
            ImageError: the examples leave nothing to search for.
            UsageError: a confidence or a chance was asked for, and the calibration is not usable any more, or
                the example is a part of an image.
        """
        if options.confidence is not None:
            check_is_whole(example, "prediction sets", Argument.CONFIDENCE)
        if options.choice.min_chance is not None:
            check_is_whole(example, "chances", Argument.MIN_CHANCE)
        started = time.perf_counter()
        examples = (example, *positives.examples, *negatives.examples)
        known = frozenset() if options.include_self else frozenset().union(*(e.sha256 for e in examples))
        query = Query(
            networks=self.networks,
            vectors=self._vectors(example, positives, negatives),
            where=replace(options.where, excluded_sha256=known),
            options=options,
            candidates=self._candidates,
        )
        left_out = find_exact_duplicates(self.networks, examples, replace(options.where, only_sha256=known))
        ranking = rank_neighbours(query)
        verdict = ranking.verdict
        is_single = len(examples) == 1 and example.is_whole
        is_calibrated_for = len(self.networks) == 1 and is_single and _is_unrestricted(options)
        calibration = self.networks[0].calibration if is_calibrated_for else None
        estimates = estimate(ranking.nearest, verdict, calibration=calibration, rule=options.vote)
        prediction_set = None
        if options.confidence is not None:
            prediction_set = find_prediction_set(query, options.confidence)
        chosen = choose_neighbours(query, ranking, calibration)
        shown, below = chosen.page(options.offset, options.last)
        return Answer(
            query=example.name,
            file=example.file,
            indexed=example.indexed,
            hits=self._with_places(shown, options),
            verdict=None if estimates.unlike_anything else verdict,
            verdict_chance=estimates.verdict,
            unlike_anything=estimates.unlike_anything,
            prediction_set=prediction_set,
            provider=next((each.provider for each in examples if each.provider), None),
            load_ms=load_ms,
            embed_ms=example.embed_ms,
            search_ms=milliseconds_since(started),
            positives=positives.names,
            negatives=negatives.names,
            left_out=left_out[: options.limit],
            left_out_total=len(left_out),
            passed_over=min(options.offset, len(chosen.shown) + len(chosen.below)),
            cut_off=len(below),
            cut_off_score=below[0].score if below else None,
            cut_off_chance=below[0].chance if below else None,
            part=example.part,
            vectors=query.vectors,
        )

    def _vectors(self, example: Example, positives: ExampleSet, negatives: ExampleSet) -> list[FloatVector]:
        """Returns the vectors to search with, float32 `[D]` for each network."""
        vectors = []
        for i, network in enumerate(self.networks):
            vector = combine(
                [example.vectors[i], *(each.vectors[i] for each in positives.examples)],
                [each.vectors[i] for each in negatives.examples],
                network.manifest.distance,
            )
            if vector is None:
                raise ImageError(
                    f"{example.name} and its examples cancel each other out and leave nothing to search for",
                    reason=SkipReason.NO_EMBEDDING,
                    hint=Hint(Action.LEAVE_ONE_OUT, {Argument.AND: None, Argument.NOT: None}),
                )
            vectors.append(vector)
        return vectors

    def _with_places(self, hits: Sequence[Neighbour], options: QueryOptions) -> list[Neighbour]:
        """Returns the neighbours of a page, each with the other datasets that hold its file."""
        shown = [
            replace(hit, rank=rank, near=[near for near in hit.near if options.is_near_enough(near.score)])
            for rank, hit in enumerate(hits, start=options.offset + 1)
        ]
        payloads = [each.payload for hit in shown for each in hit.scene]
        places: dict[str, list[Payload]] = {}
        for network in self.networks:
            places = other_places(payloads, network.collection) | places
        return [
            replace(
                hit,
                also_in=places.get(hit.payload.id, ()),
                near=[replace(near, also_in=places.get(near.payload.id, ())) for near in hit.near],
            )
            for hit in shown
        ]


def _check_cut_off(networks: Sequence[SearchedCollection], options: QueryOptions) -> None:
    """Refuses a cut-off by similarity where scores are distances, and the reverse."""
    given = {Argument.MIN_SCORE: options.min_score, Argument.MAX_DISTANCE: options.max_distance}
    arguments = [argument for argument, value in given.items() if value is not None]
    if arguments and len(networks) > 1:
        raise UsageError(
            "a fused score is neither a similarity nor a distance; search one collection",
            argument=arguments[0],
        )
    manifest, name = networks[0].manifest, networks[0].name
    if options.max_distance is not None and manifest.distance.higher_is_nearer:
        raise UsageError(
            f"the scores of {name} are cosine similarities",
            argument=Argument.MAX_DISTANCE,
            hint=Hint(Action.USE, {Argument.MIN_SCORE: None}),
        )
    if options.min_score is not None and not manifest.distance.higher_is_nearer:
        raise UsageError(
            f"the scores of {name} are Euclidean distances",
            argument=Argument.MIN_SCORE,
            hint=Hint(Action.USE, {Argument.MAX_DISTANCE: None}),
        )


def _is_unrestricted(options: QueryOptions) -> bool:
    """Returns whether all other images may be neighbours, as when a calibration was learned."""
    return options.where == EVERYTHING and not options.include_self and options.without_near_above is None
