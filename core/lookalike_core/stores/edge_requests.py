"""Requests to the embedded engine: a collection's configuration, filters, search parameters."""

from typing import TYPE_CHECKING, Any

from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, VectorQuantization
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.points import OVERSAMPLING, SEARCH_EF, PointFilter
from lookalike_core.text import unicode_forms

if TYPE_CHECKING:
    import qdrant_edge


def config_of(manifest: CollectionManifest, tuning: EngineTuning) -> "qdrant_edge.EdgeConfig":
    """Returns the configuration of a new shard for the collection."""
    import qdrant_edge as edge

    distances = {Distance.COSINE: edge.Distance.Cosine, Distance.EUCLID: edge.Distance.Euclid}
    pinned, short = edge.Memory.Pinned, manifest.vector_quantization
    quantization = {
        VectorQuantization.NONE: None,
        VectorQuantization.INT8: edge.ScalarQuantizationConfig(edge.ScalarType.Int8, memory=pinned),
        VectorQuantization.INT4: edge.TurboQuantQuantizationConfig(
            bits=edge.TurboQuantBitSize.Bits4, memory=pinned
        ),
    }
    return edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(
            size=manifest.identity.dimension,
            distance=distances[manifest.distance],
            quantization_config=quantization[short],
            memory=None if short is VectorQuantization.NONE else edge.Memory.Cold,
        ),
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=tuning.indexed_above_kb),
    )


def search_params(quantize: VectorQuantization, *, exact: bool) -> "qdrant_edge.SearchParams":
    """Returns search parameters; an exact search uses whole vectors only."""
    import qdrant_edge as edge

    oversampling = OVERSAMPLING.get(quantize)
    short = edge.QuantizationSearchParams(ignore=exact, rescore=True, oversampling=oversampling)
    return edge.SearchParams(exact=exact, hnsw_ef=SEARCH_EF, quantization=short if oversampling else None)


def filter_of(where: PointFilter) -> "qdrant_edge.Filter | None":
    """Returns the engine's filter; None if all points match."""
    import qdrant_edge as edge

    must: list[Any] = []
    if where.class_name is not None:
        must.append(
            edge.FieldCondition("class", match=_match_class(where.class_name))
            if where.class_name
            else edge.IsEmptyCondition("class")
        )
    if where.dataset is not None:
        must.append(edge.FieldCondition("dataset", match=edge.MatchValue(where.dataset)))
    if where.only_sha256:
        must.append(edge.FieldCondition("sha256", match=edge.MatchAny(sorted(where.only_sha256))))
    must_not: list[Any] = [edge.IsEmptyCondition("class")] if where.labelled else []
    if where.excluded_sha256:
        any_of = edge.MatchAny(sorted(where.excluded_sha256))
        must_not.append(edge.FieldCondition("sha256", match=any_of))
    return edge.Filter(must=must or None, must_not=must_not or None) if must or must_not else None


def with_ids(ids: "list[str] | set[str]") -> "qdrant_edge.Filter":
    """Returns a filter for points of these ids, which need not exist."""
    import qdrant_edge as edge

    return edge.Filter(must=[edge.HasIdCondition(set(ids))])


def _match_class(name: str) -> "qdrant_edge.MatchAny | qdrant_edge.MatchValue":
    import qdrant_edge as edge

    forms = unicode_forms(name)
    return edge.MatchAny(forms) if len(forms) > 1 else edge.MatchValue(name)
