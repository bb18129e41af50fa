"""Answers a batch of queries, images and folders of images, one by one, together with examples."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lookalike_core.errors import ImageError
from lookalike_core.images.region import Region
from lookalike_core.images.scan import OtherFiles

from lookalike_search.asking.answers import Answer, QueryOptions, Unanswered
from lookalike_search.asking.chosen_neighbours import check_choice
from lookalike_search.asking.examples import Example, ExampleSet
from lookalike_search.asking.prediction_sets import check_confidence
from lookalike_search.asking.query import Searcher
from lookalike_search.asking.query_sources import QueryInput, Source


def answer_all(
    searcher: Searcher,
    queries: Sequence[QueryInput],
    options: QueryOptions,
    *,
    positives: Sequence[QueryInput] = (),
    negatives: Sequence[QueryInput] = (),
    on_other_files: Callable[[str, OtherFiles], None] = lambda _name, _others: None,
    on_left_out: Callable[[ImageError], None] = lambda _: None,
) -> Iterator[Answer | Unanswered]:
    """Yields for each query its answer or why there is none; for a folder, one for each image, by name.

    `positives` and `negatives` are examples of what is wanted and of what is not, which go with every query;
    the region of the options is one of the queries, not of these.
    All names are looked up before any image is read, so that a wrong name is refused at once; images are
    embedded in batches. The first answer shows the time of opening and loading. `on_other_files` is called
    for a folder that holds files of other kinds, `on_left_out` for an unreadable image in a folder of
    examples.

    Raises:
        UsageError: as `find_sources`, `check_confidence`, `check_choice` and `Searcher.resolve_options`.
        ImageError: an example cannot be read, or no image of a folder of them.
    """
    has_examples = bool(positives or negatives)
    check_confidence(searcher.networks, options, has_examples=has_examples)
    check_choice(searcher.networks, options, has_examples=has_examples)
    batch = _Batch(
        searcher=searcher,
        options=searcher.resolve_options(options),
        on_other_files=on_other_files,
        on_left_out=on_left_out,
    )
    wanted, unwanted = batch.find_examples(positives), batch.find_examples(negatives)
    sources = [source for query in queries for source in batch.find(query, options.region)]
    examples = {"positives": batch.read_examples(wanted), "negatives": batch.read_examples(unwanted)}
    shown_ms = 0.0
    for source, read in zip(sources, batch.read(sources), strict=True):
        outcome: Answer | Unanswered
        try:
            if isinstance(read, ImageError):
                raise read
            loaded_ms = searcher.load_ms
            outcome = searcher.answer(read, batch.options, load_ms=loaded_ms - shown_ms, **examples)
            shown_ms = loaded_ms
        except ImageError as error:
            outcome = Unanswered(query=source.name, file=source.file, error=error)
        yield outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """What all queries share; `options` are resolved."""

    searcher: Searcher
    options: QueryOptions
    on_other_files: Callable[[str, OtherFiles], None]
    on_left_out: Callable[[ImageError], None]

    def find(self, query: QueryInput, region: Region | None = None) -> list[Source]:
        others, options = OtherFiles(), self.options
        found = self.searcher.find(
            query, dataset=options.where.dataset, others=others, max_pixels=options.max_pixels, region=region
        )
        if others.total:
            self.on_other_files(str(query), others)
        return found

    def find_examples(self, queries: Sequence[QueryInput]) -> dict[str, list[Source]]:
        """Returns the images of examples by the names in answers; a repeated name keeps all its images."""
        found: dict[str, list[Source]] = {}
        for query in queries:
            sources = self.find(query)
            name = str(query) if isinstance(query, str | os.PathLike) else sources[0].name
            found.setdefault(name, []).extend(sources)
        return found

    def read(self, sources: Sequence[Source]) -> Iterator[Example | ImageError]:
        return self.searcher.read_all(sources, max_pixels=self.options.max_pixels)

    def read_examples(self, found: dict[str, list[Source]]) -> ExampleSet:
        examples = [example for sources in found.values() for example in self._skip_unreadable(sources)]
        return ExampleSet(names=list(found), examples=examples)

    def _skip_unreadable(self, sources: Sequence[Source]) -> Iterator[Example]:
        """Yields readable examples; raises for an unreadable single image, and for a folder of them."""
        missing = 0
        for read in self.read(sources):
            if not isinstance(read, ImageError):
                yield read
                continue
            missing += 1
            if missing == len(sources):
                raise read
            self.on_left_out(read)
