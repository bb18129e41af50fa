"""The page of `search query --html`: each query with its verdict and its neighbours."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lookalike_core.stores.collection_manifest import CollectionManifest

from lookalike_search.asking.answers import Answer, QueryOptions, Unanswered
from lookalike_search.reports.answer_view import AnswerView
from lookalike_search.reports.page import Page
from lookalike_search.reports.thumbnail_gallery import Gallery


def query_page(
    outcomes: Sequence[Answer | Unanswered],
    manifests: Sequence[CollectionManifest],
    options: QueryOptions,
    *,
    gallery: Gallery | None = None,
) -> Page:
    """Returns the page of answers from these collections.

    `gallery` holds the thumbnails of their files; by default it is made of them.
    """
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    view = AnswerView(manifests=manifests, options=options)
    return Page(
        "query.html",
        outcomes=outcomes,
        options=options,
        view=view,
        has_chances=any(hit.chance is not None for answer in answers for hit in answer.hits),
        is_right=[is_right for answer in answers if (is_right := view.is_verdict_right(answer)) is not None],
        gallery=gallery or Gallery.of(_files(outcomes), max_pixels=options.max_pixels),
    )


def _files(outcomes: Sequence[Answer | Unanswered]) -> Iterator[Path | None]:
    for outcome in outcomes:
        yield outcome.file
        if isinstance(outcome, Answer):
            yield from (hit.file for hit in outcome.hits)
