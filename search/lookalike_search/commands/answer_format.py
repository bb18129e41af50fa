"""Formats an answer of `search query` as a table and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lookalike_core.cli.table import align_columns
from lookalike_core.models.calibration_curves import percent
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.text import format_count

from lookalike_search.asking.answers import (
    Answer,
    Neighbour,
    PredictionSet,
    QueryOptions,
    describe_place,
    paths_collide,
    why_empty,
)


def answer_lines(
    answer: Answer, manifests: Sequence[CollectionManifest], options: QueryOptions
) -> Iterator[str]:
    """Yields a title and plain columns; a path is never cut or wrapped, so that it can be copied."""
    yield f"{_query_names(answer)} in {' and '.join(manifest.collection for manifest in manifests)}"
    calibrated = any(hit.chance is not None for hit in answer.hits)
    numbers = _number_headings(manifests, options, calibrated)
    places = _Places(has_dataset=paths_collide(answer.hits), is_located=options.locate)
    heading = [*numbers, *places.headings]
    rows = [[*_numbers(hit, manifests, options, calibrated), *places.cells(hit)] for hit in answer.hits]
    yield from align_columns([heading, *rows], ">" * len(numbers) + "<" * (len(places.headings) - 1))
    if not answer.hits:
        by = "; a smaller --offset shows them" if answer.passed_over and not answer.cut_off else ""
        yield f"{why_empty(answer, options)}{by}"
    yield from _folded_lines(answer, options)
    if answer.left_out:
        yield left_out_line(answer)
    if answer.verdict is not None or answer.unlike_anything:
        yield f"verdict: {_verdict(answer, options)}"
    if answer.prediction_set is not None:
        yield prediction_set_line(answer.prediction_set, is_unlike=bool(answer.unlike_anything))


def _folded_lines(answer: Answer, options: QueryOptions) -> Iterator[str]:
    """Yields a line with the number of folded near-duplicates, if there are any."""
    if count := sum(len(hit.near) for hit in answer.hits):
        what = "1 near-duplicate is" if count == 1 else f"{count} near-duplicates are"
        over = f"similarity over {options.without_near_above:g}"
        yield f"{what} folded into a nearer neighbour ({over}); --json names each"


def _verdict(answer: Answer, options: QueryOptions) -> str:
    if answer.verdict is None:
        return "none; the image is out-of-distribution (unlike all indexed images)"
    voters = answer.verdict.voters
    votes = "1 neighbour's vote" if voters == 1 else f"{voters} neighbours' votes"
    share = f"{answer.verdict.share:.0%} of {votes} ({options.vote})"
    right = "" if answer.verdict_chance is None else f", {percent(answer.verdict_chance)} right"
    return f"{answer.verdict.class_name}, {share}{right}"


def prediction_set_line(found: PredictionSet, *, is_unlike: bool) -> str:
    """Returns a line with the classes of the prediction set, and whether they are meant for such an image."""
    unlike = " (for an image of the same kind; this one is out-of-distribution)" * is_unlike
    return f"{found.percent} % prediction set: {_set_classes(found)}{unlike}"


def _set_classes(found: PredictionSet) -> str:
    if found.is_every_class:
        every = f"any of the {len(found.classes)} classes"
        few = f"; it needs {found.images_needed} calibrated images, and there are {found.images}"
        return every + few * (found.images < found.images_needed)
    more = len(found.classes) - _CLASSES
    rest = f" and {more} more classes; --json names each" if more > 0 else ""
    return f"{', '.join(found.classes[:_CLASSES])}{rest}"


_CLASSES = 20
"""How many classes of a prediction set are named."""


def left_out_line(answer: Answer) -> str:
    """Returns a line with the number of exact duplicates left out, and the paths of the first of them."""
    count = answer.left_out_total
    named = [each.place for each in answer.left_out[:_NAMED]]
    more = [f"{count - len(named)} more"] if count > len(named) else []
    *first, last = [*named, *more]
    places = f"{', '.join(first)} and {last}" if first else last
    return f"{format_count(count, 'image')} with the same bytes left out: {places}; --include-self keeps them"


_NAMED = 3
"""How many images with the same bytes are named; there may be thousands."""


def _query_names(answer: Answer) -> str:
    """Returns the names of the query, with its region, and of the other examples."""
    query = answer.query if answer.part is None else f"{answer.query} (region {answer.part.box})"
    parts = [" and ".join([query, *answer.positives]), *answer.negatives]
    return " and not ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """The columns that identify a neighbour's image; `has_dataset` where paths alone are ambiguous.

    With `is_located` the place of the similarity in the image comes first.
    """

    has_dataset: bool
    is_located: bool

    @property
    def headings(self) -> list[str]:
        where = ["where"] if self.is_located else []
        return [*where, "class", *(["dataset"] if self.has_dataset else []), "path"]

    def cells(self, hit: Neighbour) -> list[str]:
        payload = hit.payload
        where = [describe_place(hit.located)] if self.is_located else []
        dataset = [payload.dataset] if self.has_dataset else []
        return [*where, payload.class_name or "-", *dataset, payload.path]


def _number_headings(
    manifests: Sequence[CollectionManifest], options: QueryOptions, calibrated: bool
) -> list[str]:
    near = [] if options.without_near_above is None else ["near"]
    if len(manifests) == 1:
        chance = ["same class"] if calibrated else []
        return ["rank", manifests[0].distance.score_name, *chance, *near]
    names = [manifest.identity.backbone for manifest in manifests]
    if len(set(names)) < len(names):
        names = [manifest.collection for manifest in manifests]
    columns = [
        column
        for name, manifest in zip(names, manifests, strict=True)
        for column in (f"{name} rank", manifest.distance.score_name)
    ]
    return ["rank", options.fusion, *columns, *near]


def _numbers(
    hit: Neighbour, manifests: Sequence[CollectionManifest], options: QueryOptions, calibrated: bool
) -> list[str]:
    """Returns a neighbour's rank, scores and chance as text; `-` for an unknown one."""
    cells = [str(hit.rank), f"{hit.score:.4f}"]
    if calibrated:
        cells.append("-" if hit.chance is None else percent(hit.chance))
    if len(manifests) > 1:
        for placing in hit.placings.values():
            cells.append(str(placing.rank) if placing and placing.rank else "-")
            cells.append(f"{placing.score:.4f}" if placing else "-")
    if options.without_near_above is not None:
        cells.append(f"+{len(hit.near)}" if hit.near else "-")
    return cells
