"""Builds the JSON of answers to queries, for `search query --json` and for `search serve`."""

from collections.abc import Sequence

from lookalike_core.errors import SkipReason
from lookalike_core.images.region import Box, Part
from lookalike_core.stores.collection_manifest import CollectionManifest

from lookalike_search.asking import answer_records as records
from lookalike_search.asking.answers import (
    Answer,
    ExactDuplicate,
    NearDuplicate,
    Neighbour,
    QueryOptions,
    Unanswered,
)


def answer_json(
    answer: Answer, manifests: Sequence[CollectionManifest], store: str, options: QueryOptions
) -> records.Answer | records.FusedAnswer:
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


def unanswered_json(outcome: Unanswered) -> records.Unreadable:
    """Returns the JSON of a query that could not be read."""
    return {"schema": 1, "query": outcome.query, "error": outcome.error.reason}


def _query_json(answer: Answer) -> records.Query:
    data: records.Query = {"schema": 1, "query": answer.query}
    if answer.part is not None:
        data["region"] = _box_json(answer.part.box)
    if answer.positives:
        data["positives"] = list(answer.positives)
    if answer.negatives:
        data["negatives"] = list(answer.negatives)
    return data


def region_json(part: Part | None) -> records.Regional:
    """Returns the JSON of a query's region, if it has one."""
    return {} if part is None else {"region": _box_json(part.box)}


def _box_json(box: Box) -> records.RegionBox:
    return {"x": box.left, "y": box.top, "width": box.width, "height": box.height}


def _space_json(manifest: CollectionManifest) -> records.Space:
    identity = manifest.identity
    return {
        "collection": manifest.collection,
        "backbone": identity.backbone,
        "layer": identity.layer,
        "pooling": identity.pooling,
        "distance": manifest.distance,
    }


def _spaces_json(manifests: Sequence[CollectionManifest], options: QueryOptions) -> records.FusedSpaces:
    spaces = [_space_json(manifest) for manifest in manifests]
    return {
        "collection": [space["collection"] for space in spaces],
        "backbone": [space["backbone"] for space in spaces],
        "layer": [space["layer"] for space in spaces],
        "pooling": [space["pooling"] for space in spaces],
        "distance": [space["distance"] for space in spaces],
        "fusion": options.fusion,
    }


def _outcome_json(answer: Answer, store: str, options: QueryOptions) -> records.Outcome:
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
        **_prediction_set_json(answer),
        "left_out": [_image_json(each) for each in answer.left_out],
        "left_out_total": answer.left_out_total,
        "passed_over": answer.passed_over,
        "cut_off": answer.cut_off,
    }


def _verdict_json(answer: Answer, options: QueryOptions) -> records.Verdict | None:
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


def _prediction_set_json(answer: Answer) -> records.WithPredictionSet:
    found = answer.prediction_set
    if found is None:
        return {}
    return {
        "prediction_set": {
            "confidence": found.confidence,
            "classes": list(found.classes),
            "every_class": found.is_every_class,
            "pictures": found.images,
            "pictures_needed": found.images_needed,
        }
    }


def _hit_json(hit: Neighbour, options: QueryOptions) -> records.Hit:
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
        **_located_json(hit),
    }


def _located_json(hit: Neighbour) -> records.Locatable:
    found = hit.located
    if found is None:
        return {}
    if isinstance(found, SkipReason):
        return {"located": {"error": found}}
    x, y, width, height = found.box
    return {
        "located": {
            "place": found.place,
            "part": found.part,
            "cell": {"x": x, "y": y, "width": width, "height": height},
            "cell_part": found.box_part,
            "shares": found.shares.tolist(),
        }
    }


def _also_in_json(hit: Neighbour | NearDuplicate) -> records.AlsoIn:
    if not hit.also_in:
        return {}
    return {
        "also_in": [
            {"class": each.class_name, "dataset": each.dataset, "path": each.path} for each in hit.also_in
        ]
    }


def _folded_json(hit: Neighbour, options: QueryOptions) -> records.Folded:
    if options.without_near_above is None:
        return {}
    return {
        "near": [{"score": near.score, **_image_json(near), **_also_in_json(near)} for near in hit.near],
    }


def _image_json(found: NearDuplicate | ExactDuplicate) -> records.ExactDuplicate:
    payload = found.payload
    return {
        "class": payload.class_name,
        "dataset": payload.dataset,
        "path": payload.path,
        "file": found.file,
        "id": payload.id,
    }
