"""Stage 3 itself: open collections, and the models behind them, answer any number of images."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Self

from lookalike_core.arrays import FloatVector
from lookalike_core.errors import ImageError, SkipReason, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.images.scan import OtherFiles
from lookalike_core.neighbours.rank_fusion import CANDIDATES
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.overlapping_roots import other_places
from lookalike_core.stores.points import Payload, PointFilter
from lookalike_core.stores.protocol import Store, opened_together

from lookalike_search.asking.answers import Answer, Findings, Neighbour, QueryOptions
from lookalike_search.asking.estimates import estimated
from lookalike_search.asking.exact_duplicates import find_exact_duplicates
from lookalike_search.asking.examples import NO_EXAMPLES, Example, ExampleSet, combined, read_examples
from lookalike_search.asking.fused_search import check_fusion, fused_neighbours
from lookalike_search.asking.query_sources import QueryInput, Source, find_sources
from lookalike_search.asking.searched_collection import Network, milliseconds_since
from lookalike_search.asking.single_search import nearest_neighbours
from lookalike_search.class_names import stored_class
from lookalike_search.collection_choice import require_dataset


class Searcher:
    """Answers by one network, or by several whose rankings are fused."""

    def __init__(self, networks: Sequence[Network], *, candidates: int = CANDIDATES) -> None:
        self.networks = networks
        self._candidates = candidates
        """Of each network, where several are fused."""
        self._classes: dict[str | None, str | None] = {}

    @classmethod
    @contextmanager
    def opened(cls, *names: str, store: Store, settings: Settings) -> Iterator[Self]:
        """Opens the collections, all at once; a model is loaded when an image has to be embedded.

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
        """The images that are asked with: see `find_sources`."""
        collections = [network.collection for network in self.networks]
        return find_sources(query, collections, dataset=dataset, others=others, max_pixels=max_pixels)

    def check(self, options: QueryOptions) -> None:
        """Says before anything is read that it cannot be answered as the options want it.

        Raises:
            UsageError: the rankings of these collections cannot be fused so, their scores cannot be cut off
                so, or none has such a dataset or class.
        """
        check_fusion(self.networks, options)
        _check_cut_off(self.networks, options)
        self._dataset(options)
        self._stored_class(options.class_name)

    def _stored_class(self, name: str | None) -> str | None:
        """As the collections spell it, who are asked once."""
        if name not in self._classes:
            self._classes[name] = stored_class(name, [network.collection for network in self.networks])
        return self._classes[name]

    def read(self, source: Source, options: QueryOptions) -> Example:
        """An image and its vectors: see `read_examples`.

        Raises:
            ImageError: it cannot be read; or it is in one collection only, and its file is gone or changed.
        """
        [example] = self.read_all([source], options)
        if isinstance(example, ImageError):
            raise example
        return example

    def read_all(self, sources: Iterable[Source], options: QueryOptions) -> Iterator[Example | ImageError]:
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
        """The neighbours of an image, which is read if it is not yet, or of it together with other examples.

        None of the examples is among them, nor a copy of its bytes, unless `include_self` says so.

        Raises:
            ImageError: the image cannot be read, or the examples leave nothing to search for.
            UsageError: as `check`.
        """
        self.check(options)
        example = self.read(asked, options) if isinstance(asked, Source) else asked
        started = time.perf_counter()
        vectors = self._vectors(example, positives, negatives)
        examples = (example, *positives.examples, *negatives.examples)
        known = frozenset() if options.include_self else frozenset().union(*(e.sha256 for e in examples))
        where = PointFilter(class_name=self._stored_class(options.class_name), dataset=self._dataset(options))
        left_out = find_exact_duplicates(self.networks, examples, replace(where, only_sha256=known))
        found = self._found(vectors, replace(where, excluded_sha256=known), options)
        if len(self.networks) == 1 and len(examples) == 1 and _asks_everything(options):
            found = _with_estimates(found, self.networks[0], options)
        asked_for = [hit.score for hit in found.hits[options.offset : options.last]]
        cut_off = [score for score in asked_for if not options.is_near_enough(score)]
        return Answer(
            query=example.name,
            file=example.file,
            indexed=example.indexed,
            hits=self._shown(found.hits, options),
            verdict=found.verdict,
            verdict_chance=found.verdict_chance,
            unlike_anything=found.unlike_anything,
            provider=next((each.provider for each in examples if each.provider), None),
            load_ms=self._load_ms(),
            embed_ms=example.embed_ms,
            search_ms=milliseconds_since(started),
            positives=positives.names,
            negatives=negatives.names,
            left_out=left_out[: options.limit],
            left_out_total=len(left_out),
            passed_over=min(options.offset, len(found.hits)),
            cut_off=len(cut_off),
            cut_off_score=cut_off[0] if cut_off else None,
        )

    def _dataset(self, options: QueryOptions) -> str | None:
        return require_dataset([network.manifest for network in self.networks], options.dataset)

    def _shown(self, hits: Sequence[Neighbour], options: QueryOptions) -> list[Neighbour]:
        """The part of all neighbours that is asked for, each with the other datasets that its file is in."""
        shown = [
            replace(hit, near=[near for near in hit.near if options.is_near_enough(near.score)])
            for hit in hits[options.offset : options.last]
            if options.is_near_enough(hit.score)
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
                raise ImageError(
                    f"{example.name} and its examples cancel each other out and leave nothing to search for",
                    reason=SkipReason.NO_EMBEDDING,
                    hint=Hint(Action.LEAVE_ONE_OUT, {Argument.AND: None, Argument.NOT: None}),
                )
            vectors.append(vector)
        return vectors

    def _found(self, vectors: Sequence[FloatVector], where: PointFilter, options: QueryOptions) -> Findings:
        if len(self.networks) > 1:
            hits, verdict = fused_neighbours(
                self.networks, vectors, where, options, candidates=self._candidates
            )
            return Findings(hits=hits, verdict=verdict)
        return nearest_neighbours(self.networks[0], vectors[0], where, options)

    def _load_ms(self) -> float:
        """What opening and loading took that no answer has shown yet."""
        total = sum(network.load_ms for network in self.networks)
        for network in self.networks:
            network.load_ms = 0.0
        return total


def _check_cut_off(networks: Sequence[Network], options: QueryOptions) -> None:
    """Refuses a cut-off by what the scores are not."""
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


def _asks_everything(options: QueryOptions) -> bool:
    """Whether an image asks all others, as those did that a calibration was learned from."""
    is_narrowed = options.class_name is not None or options.dataset is not None
    return not is_narrowed and not options.include_self and options.without_near_above is None


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
