"""The description of the API (OpenAPI 3.1), made of the records that are sent and fields that are read."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from lookalike_core.stores.point_filters import EXAMPLE_DATES

from lookalike_search.analysis.collection_map import MOST
from lookalike_search.analysis.explanation_json import Explanation
from lookalike_search.asking.answer_records import Answer, FusedAnswer
from lookalike_search.asking.ranking import MAX_LIMIT, MAX_OFFSET
from lookalike_search.serving import indexed_images, problems
from lookalike_search.serving.jobs import JobFields, JobKind, JobList, JobRecord
from lookalike_search.serving.problems import Problem
from lookalike_search.serving.query_fields import (
    LONGEST_REGION,
    MOST_PIXELS_WIDE,
    MOST_VOTERS,
    ExplanationFields,
    QueryFields,
)
from lookalike_search.serving.records import (
    Embedding,
    IndexedImage,
    ListedImages,
    ServedCollections,
    UploadRecord,
)

_JSON = "application/json"


def describe_api() -> dict[str, Any]:
    """Returns the OpenAPI document."""
    schemas = _Schemas()
    paths = _paths(schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lookalike",
            "version": version("lookalike"),
            "description": "Finds the indexed images that are most like a given one.",
        },
        "security": [{}, {"token": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.found,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "lookalike"},
            },
        },
    }


def _paths(schemas: "_Schemas") -> dict[str, Any]:
    answer = {"oneOf": [schemas.of(Answer), schemas.of(FusedAnswer)]}
    collection = _parameter(
        "collection", {"type": "string", "minLength": 1}, "The collection; by default the first served."
    )
    id_ = {
        **_parameter("id", {"type": "string"}, "The id of an indexed image."),
        "in": "path",
        "required": True,
    }
    edge = {
        "type": "integer",
        "minimum": indexed_images.LEAST_EDGE,
        "maximum": indexed_images.MOST_EDGE,
        "default": 256,
    }
    image = "/api/v1/images/{id}"
    thumbnail = {
        kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("image/webp", "image/jpeg")
    }

    refusals = _refusals(schemas)

    def responses(content: Mapping[str, Any]) -> dict[str, Any]:
        return {"200": {"description": "The answer.", "content": content}, **refusals}

    def record(schema: Mapping[str, Any]) -> dict[str, Any]:
        return responses({_JSON: {"schema": schema}})

    def get(summary: str, responses: Mapping[str, Any], *parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"get": {"summary": summary, "parameters": list(parameters), "responses": responses}}

    def post(summary: str, responses: Mapping[str, Any], read: Any = QueryFields) -> dict[str, Any]:  # noqa: ANN401
        body = {"required": True, "content": _bodies(schemas, read)}
        return {"post": {"summary": summary, "requestBody": body, "responses": responses}}

    neighbours = get(
        "Find the nearest neighbours of an indexed image.", record(answer), id_, *_field_parameters(schemas)
    )
    job = record(schemas.of(JobRecord))
    kind = {**_parameter("name", schemas.of(JobKind), "What the job does."), "in": "path", "required": True}
    edge_parameter = _parameter("edge", edge, "The longer side in pixels.")
    upload = "/api/v1/uploads/{id}"
    upload_id = id_ | {"description": "The id of an upload."}
    uploaded = record(schemas.of(UploadRecord))
    added = {"201": {**uploaded["200"], "description": "The upload, whose address is `Location`."}}
    its_id = {**_parameter("name", {"type": "string"}, "The id of the job."), "in": "path", "required": True}
    started = {"202": {**job["200"], "description": "The job, whose address is `Location`."}}
    return {
        "/api/v1/jobs": get("List the jobs.", record(schemas.of(JobList))),
        "/api/v1/jobs/{name}": {
            "post": {
                "summary": "Start an evaluation, an audit, a search for duplicates, a map or an explanation.",
                "parameters": [kind],
                "requestBody": {"content": {_JSON: {"schema": schemas.of(JobFields)}}},
                "responses": started | refusals,
            },
            "get": {"summary": "Tell how far a job is.", "parameters": [its_id], "responses": job},
            "delete": {"summary": "End a job.", "parameters": [its_id], "responses": job},
        },
        "/api/v1/query": post("Find the nearest neighbours of an image.", record(answer)),
        "/api/v1/embed": post("Compute the feature vector of an image.", record(schemas.of(Embedding))),
        "/api/v1/explain": post(
            "Explain the similarity of an image and an indexed one.",
            record(schemas.of(Explanation)),
            ExplanationFields,
        ),
        f"{image}/explain": get(
            "Explain the similarity of two indexed images.",
            record(schemas.of(Explanation)),
            id_,
            *_field_parameters(schemas, ExplanationFields),
        ),
        "/api/v1/uploads": {
            "post": {
                "summary": "Cache an image, to search with it by its id.",
                "requestBody": {"required": True, "content": _image_bodies()},
                "responses": added | refusals,
            }
        },
        upload: {
            **get("Describe an upload.", uploaded, upload_id),
            "delete": {"summary": "Remove an upload.", "parameters": [upload_id], "responses": uploaded},
        },
        f"{upload}/neighbours": get(
            "Find the nearest neighbours of an upload.",
            record(answer),
            upload_id,
            *_field_parameters(schemas),
        ),
        f"{upload}/thumbnail": get(
            "Show an upload, uncropped and small.", responses(thumbnail), upload_id, edge_parameter
        ),
        "/api/v1/collections": get("List the collections.", record(schemas.of(ServedCollections))),
        "/api/v1/images": get(
            "List the indexed images, by dataset, class and path.",
            record(schemas.of(ListedImages)),
            collection,
            *_list_parameters(),
        ),
        image: get("Describe an indexed image.", record(schemas.of(IndexedImage)), id_, collection),
        f"{image}/neighbours": neighbours,
        f"{image}/thumbnail": get(
            "Show an indexed image, uncropped and small.",
            responses(thumbnail),
            id_,
            collection,
            edge_parameter,
        ),
        f"{image}/original": get(
            "Download the file of an indexed image, where originals are served.",
            responses({"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}),
            id_,
            collection,
        ),
    }


def _refusals(schemas: "_Schemas") -> dict[str, Any]:
    """Returns the responses without an answer, by their status."""
    problem = {problems.MEDIA_TYPE: {"schema": schemas.of(Problem)}}
    seconds = {"schema": {"type": "integer"}, "description": "After how many seconds to try again."}
    found: dict[str, Any] = {}
    for status in problems.STATUSES:
        found[str(int(status))] = {"description": f"{status.phrase}.", "content": problem}
    found["503"]["headers"] = {"Retry-After": seconds}
    return found


def _bodies(schemas: "_Schemas", read: Any) -> dict[str, Any]:  # noqa: ANN401 - a record of fields
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"image": binary, **_field_schemas(schemas, read)}}
    return {
        **_image_bodies(),
        _JSON: {"schema": schemas.of(read)},
        "multipart/form-data": {"schema": form},
    }


def _image_bodies() -> dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"image": binary}, "required": ["image"]}
    return {
        "multipart/form-data": {"schema": form},
        "application/octet-stream": {"schema": binary},
        "image/*": {"schema": binary},
    }


def _field_schemas(schemas: "_Schemas", read: Any = QueryFields) -> dict[str, Any]:  # noqa: ANN401
    """Returns the fields of a form or an address, where a region is text."""
    found = _bound({name: schemas.of(hint) for name, hint in get_type_hints(read).items()})
    return found | {"region": _REGION_TEXT}


def _bound(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the schemas of fields with their bounds; no name is empty but that of no class."""
    return {name: schema | BOUNDS.get(name, {}) for name, schema in properties.items()}


_REGION_TEXT = {"type": "string", "minLength": 7, "maxLength": LONGEST_REGION}
_REGION_NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}

BOUNDS: Mapping[str, dict[str, Any]] = {
    **{key: {"minLength": 1} for key in ("id", "path", "upload", "dataset", "query", "neighbour")},
    **{key: {"items": {"type": "string", "minLength": 1}} for key in ("and", "not", "collection")},
    **{key: {"minimum": 0, "maximum": 1} for key in ("near_above", "above", "diverse")},
    "limit": {"minimum": 1, "maximum": MAX_LIMIT},
    "offset": {"minimum": 0, "maximum": MAX_OFFSET},
    "min_score": {"minimum": -1, "maximum": 1},
    "max_distance": {"minimum": 0},
    "k": {"minimum": 1, "maximum": MOST_VOTERS},
    "min_width": {"minimum": 1, "maximum": MOST_PIXELS_WIDE},
    **{key: {"examples": list(EXAMPLE_DATES)} for key in ("since", "until")},
    **{key: {"exclusiveMinimum": 0, "exclusiveMaximum": 1} for key in ("confidence", "min_chance", "fdr")},
    "region": {"anyOf": [_REGION_TEXT, _REGION_NUMBERS]},
    "seed": {"minimum": 0, "maximum": 2**32 - 1},
}
"""The bounds of fields, which reading them checks."""


def _field_parameters(schemas: "_Schemas", read: Any = QueryFields) -> list[dict[str, Any]]:  # noqa: ANN401
    """Returns the fields as parameters of an address, where an object is written as JSON."""
    found = []
    for name, schema in _field_schemas(schemas, read).items():
        if name in ("id", "path", "upload"):
            continue
        parameter: dict[str, Any] = {"name": name, "in": "query"}
        if name in read.__required_keys__:
            parameter["required"] = True
        is_object = "$ref" in schema and name == "where"
        found.append(
            parameter | ({"content": {_JSON: {"schema": schema}}} if is_object else {"schema": schema})
        )
    return found


def _list_parameters() -> list[dict[str, Any]]:
    id_, text = {"type": "string", "format": "uuid"}, {"type": "string"}
    limit = {"type": "integer", "minimum": 1, "maximum": indexed_images.MOST_LISTED, "default": 100}
    offset = {"type": "integer", "minimum": 0, "maximum": indexed_images.MOST_OFFSET, "default": 0}
    return [
        _parameter("class", text, "Only images of this class, empty for those without one."),
        _parameter("dataset", text | {"minLength": 1}, "Only images of this dataset."),
        _parameter("limit", limit, "At most so many images."),
        _parameter("offset", offset, "The place of the first one."),
        _parameter("after", id_, "Those after the one of this id, in place of `offset`."),
    ]


def _parameter(name: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


class _Schemas:
    """The JSON schemas of records, by name; a record is described when it is first referred to."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def of(self, hint: Any) -> dict[str, Any]:  # noqa: ANN401, PLR0911 - a return for each kind
        """Returns the schema of a type hint."""
        origin, args = get_origin(hint), get_args(hint)
        if origin in (NotRequired, Required):
            return self.of(args[0])
        if origin is Literal:
            return {"enum": list(args)}
        if origin in (Union, UnionType):
            return {"anyOf": [self.of(each) for each in args]}
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(args[1])}
        if isinstance(origin, type) and issubclass(origin, Sequence):
            return {"type": "array", "items": self.of(args[0])}
        if is_typeddict(hint) or is_dataclass(hint):
            return self._refer_to(hint)
        if isinstance(hint, type) and issubclass(hint, StrEnum):
            return {"enum": [str(each) for each in hint]}
        return _PLAIN[hint]

    def _refer_to(self, record: Any) -> dict[str, Any]:  # noqa: ANN401
        name = record.__name__
        if name not in self.found:
            self.found[name] = {}  # so that a record may hold itself
            self.found[name] = self._describe(record)
        return {"$ref": f"#/components/schemas/{name}"}

    def _describe(self, record: Any) -> dict[str, Any]:  # noqa: ANN401
        hints = get_type_hints(record)
        is_read = record in (QueryFields, ExplanationFields, JobFields) or record.__name__ == "Where"
        required = getattr(record, "__required_keys__", None)
        names = {field.name for field in fields(record)} if required is None else required
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {key: self.of(hint) for key, hint in hints.items()},
            "required": sorted(names),
        }
        if is_read:
            schema["additionalProperties"] = False
            schema["properties"] = _bound(schema["properties"])
        if record is JobFields:
            schema["properties"]["limit"] |= {"maximum": MOST}
        if record in (QueryFields, ExplanationFields):
            schema["oneOf"] = [{"required": [name]} for name in ("id", "path", "upload")]
        if record.__doc__ and not record.__doc__.startswith("dict("):
            schema["description"] = record.__doc__.partition("\n\n")[0]
        return schema


_PLAIN: Mapping[Any, dict[str, Any]] = {
    Any: {},
    str: {"type": "string"},
    Path: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
}
