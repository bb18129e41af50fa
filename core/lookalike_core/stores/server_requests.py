"""Requests to a server: filters, and search parameters within its limits."""

from typing import TYPE_CHECKING, Any

from lookalike_core.stores.collection_manifest import VectorQuantization
from lookalike_core.stores.points import OVERSAMPLING, SEARCH_EF, PointFilter
from lookalike_core.stores.strict_mode import Limits, within
from lookalike_core.text import unicode_forms

if TYPE_CHECKING:
    from qdrant_client import models


def quantization_of(
    quantize: VectorQuantization,
) -> "models.ScalarQuantization | models.TurboQuantization | None":
    """Returns the configuration of a new collection; https://qdrant.tech/documentation/guides/quantization/."""
    from qdrant_client import models

    if quantize is VectorQuantization.INT8:
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
        return models.ScalarQuantization(scalar=scalar)
    if quantize is VectorQuantization.INT4:
        turbo = models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.BITS4, always_ram=True)
        return models.TurboQuantization(turbo=turbo)
    return None


def search_params(quantize: VectorQuantization, limits: Limits, *, exact: bool) -> "models.SearchParams":
    """Returns search parameters; an exact search uses whole vectors only, and no graph."""
    from qdrant_client import models

    oversampling = OVERSAMPLING.get(quantize)
    if oversampling is None:
        short = None
    else:
        allowed = min(oversampling, limits.oversampling or oversampling)
        short = models.QuantizationSearchParams(
            ignore=exact, rescore=True, oversampling=allowed if allowed >= 1 else None
        )
    ef = None if exact else within(SEARCH_EF, limits.search_ef)
    return models.SearchParams(exact=exact, hnsw_ef=ef, quantization=short)


def filter_of(where: PointFilter, limits: Limits) -> "models.Filter | None":
    """Returns a filter; long lists of values are split into conditions that the server accepts."""
    from qdrant_client import models

    must: list[Any] = []
    if where.class_name is not None:
        must.append(
            models.FieldCondition(key="class", match=_match_class(where.class_name))
            if where.class_name
            else models.IsEmptyCondition(is_empty=models.PayloadField(key="class"))
        )
    if where.dataset is not None:
        must.append(models.FieldCondition(key="dataset", match=models.MatchValue(value=where.dataset)))
    must_not: list[Any] = []
    if where.labelled:
        must_not.append(models.IsEmptyCondition(is_empty=models.PayloadField(key="class")))
    must_not += _hash_conditions(where.excluded_sha256, limits)
    if where.only_sha256:
        must.append(models.Filter(should=_hash_conditions(where.only_sha256, limits)))
    return models.Filter(must=must or None, must_not=must_not or None) if must or must_not else None


def _hash_conditions(hashes: frozenset[str], limits: Limits) -> list[Any]:
    """Returns conditions of which a point meets one if its file has one of the hashes."""
    from qdrant_client import models

    listed = sorted(hashes)
    size = within(len(listed) or 1, limits.listed)
    return [
        models.FieldCondition(key="sha256", match=models.MatchAny(any=listed[start : start + size]))
        for start in range(0, len(listed), size)
    ]


def _match_class(name: str) -> "models.MatchAny | models.MatchValue":
    from qdrant_client import models

    forms = unicode_forms(name)
    return models.MatchAny(any=forms) if len(forms) > 1 else models.MatchValue(value=name)
