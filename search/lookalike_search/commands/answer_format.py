"""Formats an answer of `search query` as a table and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lookalike_core.cli.table import align_columns
from lookalike_core.models.calibration_curves import percent
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.text import format_count

from lookalike_search.asking.answers import (
    Answer,
    ExactDuplicate,
    NearDuplicate,
    Neighbour,
    QueryOptions,
    Unanswered,
    paths_collide,
    why_empty,
)

if TYPE_CHECKING:
    from lookalike_search.commands import json_records as records


def answer_lines(
    answer: Answer, manifests: Sequence[CollectionManifest], options: QueryOptions
) -> Iterator[str]:
    """Yields a title and plain columns; a path is never cut or wrapped, so that it can be copied."""
    yield f"{_query_names(answer)} in {' and '.join(manifest.collection for manifest in manifests)}"
    calibrated = any(hit.chance is not None for hit in answer.hits)
    numbers = _number_headings(manifests, options, calibrated)
    places = _Places(has_dataset=paths_collide(answer.hits))
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


def _folded_lines(answer: Answer, options: QueryOptions) -> Iterator[str]:
    """Yields a line with the number of folded near-duplicates, if there are any."""
    if count := sum(len(hit.near) for hit in answer.hits):
        what = "1 near-duplicate is" if count == 1 else f"{count} near-duplicates are"
        over = f"similarity over {options.without_near_above:g}"
        yield f"{what} folded into a nearer neighbour ({over}); --json names each"


def _verdict(answer: Answer, options: QueryOptions) -> str:
    if answer.verdict is None:
        return "none; the image is unlike anything indexed"
    voters = answer.verdict.voters
    votes = "1 neighbour's vote" if voters == 1 else f"{voters} neighbours' votes"
    share = f"{answer.verdict.share:.0%} of {votes} ({options.vote})"
    right = "" if answer.verdict_chance is None else f", {percent(answer.verdict_chance)} right"
    return f"{answer.verdict.class_name}, {share}{right}"


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
    """Returns the names of the query and of the other examples."""
    parts = [" and ".join([answer.query, *answer.positives]), *answer.negatives]
    return " and not ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """The columns that identify a neighbour's image; `has_dataset` where paths alone are ambiguous."""

    has_dataset: bool

    @property
    def headings(self) -> list[str]:
        return ["class", "dataset", "path"] if self.has_dataset else ["class", "path"]

    def cells(self, hit: Neighbour) -> list[str]:
        payload = hit.payload
        dataset = [payload.dataset] if self.has_dataset else []
        return [payload.class_name or "-", *dataset, payload.path]


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


def answer_json(
    answer: Answer, manifests: Sequence[CollectionManifest], store: str, options: QueryOptions
) -> "records.Answer | records.FusedAnswer":
    """Returns the JSON of an answer; that of a fused one has lists, in the order of its collections."""
    query, outcome = _query_json(answer), _outcome_json(answer, store, options)
    hits = [_hit_json(hit, options) for hit in answer.hits]
    if len(manifests) == 1:
        single: records.Answer = {**query, **_space_json(manifests[0]), **outcome, "hits": hits}
        return single
    fused: records.FusedAnswer = {
        **query,
        **_spaces_json(manifests, options),
        **outcome,
        "hits": [{**data, "networks": hit.placings} for data, hit in zip(hits, answer.hits, strict=True)],
    }
    return fused


def unanswered_json(outcome: Unanswered) -> "records.Unreadable":
    """Returns the JSON of a query that could not be read."""
    return {"schema": 1, "query": outcome.query, "error": outcome.error.reason}


def _query_json(answer: Answer) -> "records.Query":
    data: records.Query = {"schema": 1, "query": answer.query}
    if answer.positives:
        data["positives"] = list(answer.positives)
    if answer.negatives:
        data["negatives"] = list(answer.negatives)
    return data


def _space_json(manifest: CollectionManifest) -> "records.Space":
    identity = manifest.identity
    return {
        "collection": manifest.collection,
        "backbone": identity.backbone,
        "layer": identity.layer,
        "pooling": identity.pooling,
        "distance": manifest.distance,
    }


def _spaces_json(manifests: Sequence[CollectionManifest], options: QueryOptions) -> "records.FusedSpaces":
    spaces = [_space_json(manifest) for manifest in manifests]
    return {
        "collection": [space["collection"] for space in spaces],
        "backbone": [space["backbone"] for space in spaces],
        "layer": [space["layer"] for space in spaces],
        "pooling": [space["pooling"] for space in spaces],
        "distance": [space["distance"] for space in spaces],
        "fusion": options.fusion,
    }


def _outcome_json(answer: Answer, store: str, options: QueryOptions) -> "records.Outcome":
    return {
        "provider": answer.provider,
        "store": store,
        "took_ms": {
            "load": round(answer.load_ms, 1),
            "embed": round(answer.embed_ms, 1),
            "search": round(answer.search_ms, 1),
        },
        "verdict": _verdict_json(answer, options),
        "unlike_anything": answer.unlike_anything,
        "left_out": [_image_json(each) for each in answer.left_out],
        "left_out_total": answer.left_out_total,
        "passed_over": answer.passed_over,
        "cut_off": answer.cut_off,
    }


def _verdict_json(answer: Answer, options: QueryOptions) -> "records.Verdict | None":
    verdict = answer.verdict
    if verdict is None:
        return None
    return {
        "rule": options.vote,
        "k": options.k,
        "voters": verdict.voters,
        "class": verdict.class_name,
        "share": verdict.share,
        "chance": answer.verdict_chance,
    }


def _hit_json(hit: Neighbour, options: QueryOptions) -> "records.Hit":
    payload = hit.payload
    synset: records.Synset = {"synset": payload.synset} if payload.synset else {}
    return {
        "rank": hit.rank,
        "score": hit.score,
        "chance": hit.chance,
        "class": payload.class_name,
        **synset,
        "dataset": payload.dataset,
        "path": payload.path,
        "file": hit.file,
        "id": payload.id,
        **_also_in_json(hit),
        **_folded_json(hit, options),
    }


def _also_in_json(hit: Neighbour | NearDuplicate) -> "records.AlsoIn":
    if not hit.also_in:
        return {}
    return {
        "also_in": [
            {"class": each.class_name, "dataset": each.dataset, "path": each.path} for each in hit.also_in
        ]
    }


def _folded_json(hit: Neighbour, options: QueryOptions) -> "records.Folded":
    if options.without_near_above is None:
        return {}
    return {
        "near": [{"score": near.score, **_image_json(near), **_also_in_json(near)} for near in hit.near],
    }


def _image_json(found: NearDuplicate | ExactDuplicate) -> "records.ExactDuplicate":
    payload = found.payload
    return {
        "class": payload.class_name,
        "dataset": payload.dataset,
        "path": payload.path,
        "file": found.file,
        "id": payload.id,
    }
