"""Answers one query, for tests that are not about batches."""

from collections.abc import Sequence

from lookalike_search.asking.answers import Answer, QueryOptions, Unanswered
from lookalike_search.asking.query import Searcher
from lookalike_search.asking.query_batch import answer_all
from lookalike_search.asking.query_sources import QueryInput


def answer_of(
    searcher: Searcher,
    query: QueryInput,
    options: QueryOptions,
    *,
    positives: Sequence[QueryInput] = (),
    negatives: Sequence[QueryInput] = (),
) -> Answer:
    """Returns the answer for one image.

    Raises:
        ImageError: it cannot be read.
    """
    [outcome] = answer_all(searcher, [query], options, positives=positives, negatives=negatives)
    if isinstance(outcome, Unanswered):
        raise outcome.error
    return outcome
