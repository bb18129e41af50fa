"""Requests to the embedded engine: a collection's configuration, filters, search parameters."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, VectorQuantization
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.points import (
    CLASS,
    FOLDERS,
    INDEXED_FIELDS,
    OVERSAMPLING,
    SEARCH_EF,
    TAKEN_AT,
    FieldKind,
    PointFilter,
)
from lookalike_core.text import unicode_forms

if TYPE_CHECKING:
    import qdrant_edge

LINKS, CONSTRUCTION_EF = 16, 100
"""Of each point in the graph, and candidates while they are chosen: the engine's defaults."""

LINKED_FIELDS = (CLASS, "dataset", FOLDERS)
"""Payload fields whose values many points share. The graph links those, so that it must know the fields
before it is built; the others are indexed after it, since an index takes memory while points are written."""

ACORN_UP_TO = 0.6
"""The share of points that a filter selects up to which ACORN finds them."""


def config_of(manifest: CollectionManifest, tuning: EngineTuning) -> "qdrant_edge.EdgeConfig":
    """Returns the configuration of a new shard for the collection.

    Vectors, short ones too, stay in mapped files, of which a query reads what it looks at. The engine's
    default reads all of them at each opening (ADR 51).
    """
    import qdrant_edge as edge

    distances = {Distance.COSINE: edge.Distance.Cosine, Distance.EUCLID: edge.Distance.Euclid}
    mapped = edge.Memory.Cold
    quantization = {
        VectorQuantization.NONE: None,
        VectorQuantization.INT8: edge.ScalarQuantizationConfig(edge.ScalarType.Int8, memory=mapped),
        VectorQuantization.INT4: edge.TurboQuantQuantizationConfig(
            bits=edge.TurboQuantBitSize.Bits4, memory=mapped
        ),
    }
    return edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(
            size=manifest.identity.dimension,
            distance=distances[manifest.distance],
            quantization_config=quantization[manifest.vector_quantization],
            memory=mapped,
        ),
        hnsw_config=edge.HnswIndexConfig(
            m=LINKS, ef_construct=CONSTRUCTION_EF, full_scan_threshold=tuning.exact_below_kb
        ),
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=tuning.indexed_above_kb),
    )


def index_of(field: str) -> "qdrant_edge.UpdateOperation":
    """Returns the operation that indexes a payload field.

    The index of a segment that has its graph stays in mapped files. In memory it would be built at each
    opening, which takes 8 microseconds a point, and so most of the time of a query's process. Only
    `LINKED_FIELDS` have links of their own in the graph: those of ranges take as long to build as all others
    together, and double the time of a query without a filter (ADR 49).
    """
    import qdrant_edge as edge

    params_of = {
        FieldKind.KEYWORD: edge.KeywordIndexParams,
        FieldKind.INTEGER: edge.IntegerIndexParams,
        FieldKind.DATETIME: edge.DatetimeIndexParams,
    }
    params = params_of[INDEXED_FIELDS[field]](memory=edge.Memory.Cold, enable_hnsw=field in LINKED_FIELDS)
    return edge.UpdateOperation.create_field_index(field, params)


def search_params(quantize: VectorQuantization, *, exact: bool) -> "qdrant_edge.SearchParams":
    """Returns search parameters; an exact search uses whole vectors only.

    With a filter, ACORN also looks at the neighbours of neighbours, since those that match may have no links
    to each other.
    """
    import qdrant_edge as edge

    oversampling = OVERSAMPLING.get(quantize)
    short = edge.QuantizationSearchParams(ignore=exact, rescore=True, oversampling=oversampling)
    return edge.SearchParams(
        exact=exact,
        hnsw_ef=SEARCH_EF,
        quantization=short if oversampling else None,
        acorn=edge.AcornSearchParams(enable=True, max_selectivity=ACORN_UP_TO),
    )


def filter_of(where: PointFilter, *, lacking: str | None = None) -> "qdrant_edge.Filter | None":
    """Returns the engine's filter; None if all points match.

    With `lacking`, points must also have no value of this payload field.
    """
    import qdrant_edge as edge

    must: list[Any] = [_without(lacking)] if lacking is not None else []
    if where.classes:
        of_classes = _class_conditions(where.classes)
        must.append(of_classes[0] if len(of_classes) == 1 else edge.Filter(should=of_classes))
    if where.dataset is not None:
        must.append(edge.FieldCondition("dataset", match=edge.MatchValue(where.dataset)))
    if where.folders:
        must.append(edge.FieldCondition(FOLDERS, match=_match(where.folders)))
    if where.since is not None or where.until is not None:
        must.append(edge.FieldCondition(TAKEN_AT, range=edge.RangeDateTime(gte=where.since, lte=where.until)))
    if where.min_width is not None:
        must.append(edge.FieldCondition("width", range=edge.RangeFloat(gte=where.min_width)))
    if where.only_sha256:
        must.append(edge.FieldCondition("sha256", match=edge.MatchAny(sorted(where.only_sha256))))
    must_not: list[Any] = _class_conditions(where.not_classes)
    if where.labelled:
        must_not.append(_without(CLASS))
    if where.excluded_sha256:
        any_of = edge.MatchAny(sorted(where.excluded_sha256))
        must_not.append(edge.FieldCondition("sha256", match=any_of))
    return edge.Filter(must=must or None, must_not=must_not or None) if must or must_not else None


def with_ids(ids: "list[str] | set[str]") -> "qdrant_edge.Filter":
    """Returns a filter for points of these ids, which need not exist."""
    import qdrant_edge as edge

    return edge.Filter(must=[edge.HasIdCondition(set(ids))])


def _without(field: str) -> "qdrant_edge.IsEmptyCondition":
    """Returns the condition that a point has no value of a payload field."""
    import qdrant_edge as edge

    return edge.IsEmptyCondition(field)


def _class_conditions(classes: frozenset[str]) -> list[Any]:
    """Returns conditions of which a point meets one if it has one of the classes; `""` is none."""
    import qdrant_edge as edge

    conditions: list[Any] = [_without(CLASS)] if "" in classes else []
    if names := {form for name in classes if name for form in unicode_forms(name)}:
        conditions.append(edge.FieldCondition(CLASS, match=_match(names)))
    return conditions


def _match(values: Collection[str]) -> "qdrant_edge.MatchAny | qdrant_edge.MatchValue":
    import qdrant_edge as edge

    return edge.MatchAny(sorted(values)) if len(values) > 1 else edge.MatchValue(next(iter(values)))
