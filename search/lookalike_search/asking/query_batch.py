"""Any number of images, and folders of them, are asked about one after the other, beside examples."""

import os
from collections.abc import Callable, Iterator, Sequence

from lookalike_core.errors import ImageError
from lookalike_core.images.scan import OtherFiles

from lookalike_search.asking.answers import Answer, QueryOptions, Unanswered
from lookalike_search.asking.examples import Example, ExampleSet
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
    """Yields the answer for each query or why there is none; of a folder, for each image in it by name.

    `positives` and `negatives` are examples of what is wanted and of what is not, which go with every query.
    All are looked up before anything is read, so that a wrong one is known at once; images that have to be
    embedded are so in batches. `on_other_files` is called for a folder that holds files of other kinds, and
    `on_left_out` for an image of a folder of examples that cannot be read.

    Raises:
        UsageError: as `find_sources` and `Searcher.check`.
        ImageError: an example cannot be read, or no image of a folder of them.
    """
    searcher.check(options)
    batch = _Batch(searcher, options, on_other_files, on_left_out)
    wanted, unwanted = batch.found(positives), batch.found(negatives)
    sources = [source for query in queries for source in batch.find(query)]
    ands, nots = batch.examples(wanted), batch.examples(unwanted)
    for source, read in zip(sources, searcher.read_all(sources, options), strict=True):
        yield batch.answer(source, read, ands, nots)


class _Batch:
    """What is the same for every query."""

    def __init__(
        self,
        searcher: Searcher,
        options: QueryOptions,
        on_other_files: Callable[[str, OtherFiles], None],
        on_left_out: Callable[[ImageError], None],
    ) -> None:
        self._searcher, self._options = searcher, options
        self._on_other_files, self._on_left_out = on_other_files, on_left_out

    def find(self, query: QueryInput) -> list[Source]:
        others, options = OtherFiles(), self._options
        found = self._searcher.find(
            query, dataset=options.dataset, others=others, max_pixels=options.max_pixels
        )
        if others.total:
            self._on_other_files(str(query), others)
        return found

    def found(self, queries: Sequence[QueryInput]) -> dict[str, list[Source]]:
        """By the names that examples go by in an answer; of the same name, all."""
        found: dict[str, list[Source]] = {}
        for query in queries:
            sources = self.find(query)
            name = str(query) if isinstance(query, str | os.PathLike) else sources[0].name
            found.setdefault(name, []).extend(sources)
        return found

    def examples(self, found: dict[str, list[Source]]) -> ExampleSet:
        examples = [example for sources in found.values() for example in self._read(sources)]
        return ExampleSet(names=list(found), examples=examples)

    def _read(self, sources: Sequence[Source]) -> Iterator[Example]:
        """What was named must be readable; of a folder, at least one image."""
        missing = 0
        for read in self._searcher.read_all(sources, self._options):
            if not isinstance(read, ImageError):
                yield read
                continue
            missing += 1
            if missing == len(sources):
                raise read
            self._on_left_out(read)

    def answer(
        self, source: Source, read: Example | ImageError, positives: ExampleSet, negatives: ExampleSet
    ) -> Answer | Unanswered:
        if isinstance(read, ImageError):
            return Unanswered(query=source.name, file=source.file, error=read)
        try:
            return self._searcher.answer(read, self._options, positives=positives, negatives=negatives)
        except ImageError as error:
            return Unanswered(query=source.name, file=source.file, error=error)
