"""The page of `search query --html`: each query with its verdict and its neighbours."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from lookalike_core.stores.collection_manifest import CollectionManifest

from lookalike_search.asking.answers import Answer, QueryOptions, Unanswered, paths_collide, why_empty
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
    score = f"{options.fusion} score"
    if len(manifests) == 1:
        score = manifests[0].distance.score_name
    return Page(
        "query.html",
        outcomes=outcomes,
        options=options,
        searched=" and ".join(manifest.collection for manifest in manifests),
        score=score,
        is_fused=len(manifests) > 1,
        networks=_short_names(manifests),
        has_chances=any(hit.chance is not None for answer in answers for hit in answer.hits),
        is_right=[is_right for answer in answers if (is_right := is_verdict_right(answer)) is not None],
        is_verdict_right=is_verdict_right,
        has_ambiguous_paths=_has_ambiguous_paths,
        count_classes=_count_classes,
        say_why_empty=why_empty,
        gallery=gallery or Gallery.of(_files(outcomes), max_pixels=options.max_pixels),
    )


def is_verdict_right(answer: Answer) -> bool | None:
    """Returns whether the verdict is the query's class; None where one of the two is unknown."""
    if answer.verdict is None or answer.class_name is None:
        return None
    return answer.verdict.class_name == answer.class_name


def _short_names(manifests: Sequence[CollectionManifest]) -> dict[str, str]:
    """Returns backbones by collection, where no two collections share one."""
    networks = [manifest.identity.backbone for manifest in manifests]
    if len(set(networks)) < len(networks):
        return {}
    return {manifest.collection: manifest.identity.backbone for manifest in manifests}


def _has_ambiguous_paths(answer: Answer) -> bool:
    """Returns whether two of the images shown have the same path, in different datasets."""
    return paths_collide([each for hit in answer.hits for each in hit.scene])


def _count_classes(answer: Answer) -> list[tuple[str, int]]:
    """Returns the classes of the neighbours with the number of each, the most frequent first."""
    return Counter(name for hit in answer.hits if (name := hit.payload.class_name)).most_common()


def _files(outcomes: Sequence[Answer | Unanswered]) -> Iterator[Path | None]:
    for outcome in outcomes:
        yield outcome.file
        if isinstance(outcome, Answer):
            yield from (hit.file for hit in outcome.hits)
