"""Requests to a server: filters, and search parameters within its limits."""

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lookalike_core.stores.collection_manifest import VectorQuantization
from lookalike_core.stores.points import (
    CLASS,
    FOLDERS,
    INDEXED_FIELDS,
    OVERSAMPLING,
    SEARCH_EF,
    TAKEN_AT,
    PointFilter,
)
from lookalike_core.stores.strict_mode import Limits, within
from lookalike_core.text import unicode_forms

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models


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


def make_index(client: "QdrantClient", name: str, field: str) -> None:
    """Creates the index of a payload field."""
    from qdrant_client import models

    schema = models.PayloadSchemaType(INDEXED_FIELDS[field])
    client.create_payload_index(name, field, schema, wait=True)


def filter_of(where: PointFilter, limits: Limits, *, lacking: str | None = None) -> "models.Filter | None":
    """Returns a filter; long lists of values are split into conditions that the server accepts.

    With `lacking`, points must also have no value of this payload field.
    """
    from qdrant_client import models

    must: list[Any] = [_without(lacking)] if lacking is not None else []
    if where.classes:
        must.append(_any_of(_class_conditions(where.classes, limits)))
    if where.dataset is not None:
        must.append(models.FieldCondition(key="dataset", match=models.MatchValue(value=where.dataset)))
    if where.folders:
        must.append(_any_of(_match(FOLDERS, where.folders, limits)))
    if where.since is not None or where.until is not None:
        dates = models.DatetimeRange(gte=_time(where.since), lte=_time(where.until))
        must.append(models.FieldCondition(key=TAKEN_AT, range=dates))
    if where.min_width is not None:
        must.append(models.FieldCondition(key="width", range=models.Range(gte=where.min_width)))
    must_not: list[Any] = _class_conditions(where.not_classes, limits)
    if where.labelled:
        must_not.append(_without(CLASS))
    must_not += _match(_SHA256, where.excluded_sha256, limits)
    if where.only_sha256:
        must.append(_any_of(_match(_SHA256, where.only_sha256, limits)))
    return models.Filter(must=must or None, must_not=must_not or None) if must or must_not else None


def _without(field: str) -> "models.IsEmptyCondition":
    """Returns the condition that a point has no value of a payload field."""
    from qdrant_client import models

    return models.IsEmptyCondition(is_empty=models.PayloadField(key=field))


_SHA256 = "sha256"


def _class_conditions(classes: frozenset[str], limits: Limits) -> list[Any]:
    """Returns conditions of which a point meets one if it has one of the classes; `""` is none."""
    names = {form for name in classes if name for form in unicode_forms(name)}
    return [_without(CLASS)] * ("" in classes) + _match(CLASS, names, limits)


def _match(field: str, values: Collection[str], limits: Limits) -> list[Any]:
    """Returns conditions of which a point meets one if a field has one of the values."""
    from qdrant_client import models

    listed = sorted(values)
    if len(listed) == 1:
        return [models.FieldCondition(key=field, match=models.MatchValue(value=listed[0]))]
    size = within(len(listed) or 1, limits.listed)
    return [
        models.FieldCondition(key=field, match=models.MatchAny(any=listed[start : start + size]))
        for start in range(0, len(listed), size)
    ]


def _any_of(conditions: list[Any]) -> Any:  # noqa: ANN401 - of any kind
    """Returns the condition that a point meets one of these."""
    from qdrant_client import models

    return conditions[0] if len(conditions) == 1 else models.Filter(should=conditions)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
