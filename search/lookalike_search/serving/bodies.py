"""Reads the bodies of requests within limits: an image, a form with images, or JSON."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from lookalike_core.atomic import parse_json
from lookalike_core.errors import UsageError
from starlette.datastructures import FormData, QueryParams, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import Message, Receive

from lookalike_search.serving.limits import ServingLimits
from lookalike_search.serving.problems import Code, RefusedError
from lookalike_search.serving.query_fields import (
    ExplanationRequest,
    Fields,
    QueryRequest,
    Upload,
    read_explanation,
    read_query,
)

_FORM = "multipart/form-data"
_JSON = "application/json"
_BYTES = "application/octet-stream"
_IMAGE = "image/"

UPLOAD_TYPES = (_FORM, _BYTES, "image/*")
"""Media types of bodies that are one image."""

BODY_TYPES = (*UPLOAD_TYPES, _JSON)
"""Media types of bodies."""

_NAME = "upload"
_SMALL_FORM = 2**13
_MOST_FIELDS = 100_000
_LONGEST_NAME = 200


async def read_query_request(request: Request, limits: ServingLimits) -> QueryRequest:
    """Returns the query in a request's body and address.

    Raises:
        RefusedError: the body is too large or too slow, or of another type.
        UsageError: a field or the form is malformed.
    """
    body = await _read_body(request, limits, ("image", "and", "not"))
    query = read_query(
        body.fields,
        pixels=limits.pixels,
        image=body.one_image(),
        positives=body.images["and"],
        negatives=body.images["not"],
    )
    check_examples(query, limits)
    return query


def check_examples(query: QueryRequest, limits: ServingLimits) -> None:
    """Refuses a query with too many images.

    Raises:
        UsageError: it has.
    """
    if len(query.examples) > limits.examples:
        raise UsageError(f"a query has at most {limits.examples} images; this one has {len(query.examples)}")


async def read_explanation_request(request: Request, limits: ServingLimits) -> ExplanationRequest:
    """Returns the explanation that a request's body and address ask for.

    Raises:
        RefusedError, UsageError: as `read_query_request`.
    """
    body = await _read_body(request, limits, ("image",))
    return read_explanation(body.fields, image=body.one_image())


async def read_upload(request: Request, limits: ServingLimits) -> Upload:
    """Returns the one image in a request's body.

    Raises:
        RefusedError, UsageError: as `read_query_request`.
    """
    address_fields(request.query_params).require_all_read()
    return await read_image(request, limits)


async def read_image(request: Request, limits: ServingLimits) -> Upload:
    """Returns the one image in a request's body, whatever its address says.

    Raises:
        RefusedError, UsageError: as `read_query_request`.
    """
    kind = _kind_of(request)
    bounded = _bound_request(request, limits, limits.body_bytes)
    if _is_image(kind):
        return Upload(name=_NAME, content=await bounded.body())
    if kind != _FORM:
        raise _other_type(UPLOAD_TYPES)
    async with _form(bounded, max_files=1, max_fields=0, max_part_size=limits.form_bytes) as form:
        uploads = await _read_uploads(form, "image")
    if len(uploads) != 1:
        raise UsageError("the form has no image", argument="image")
    return uploads[0]


async def read_fields(request: Request, limits: ServingLimits) -> Fields:
    """Returns the fields in a body of JSON, or without a body those in the address.

    Raises:
        RefusedError, UsageError: as `read_query_request`.
    """
    if _kind_of(request) != _JSON:
        return address_fields(request.query_params)
    bounded = _bound_request(request, limits, limits.form_bytes)
    return _parse_fields(await bounded.body(), request.query_params)


async def read_form_field(request: Request, name: str, limits: ServingLimits) -> str:
    """Returns a text of a small form, which is "" where it is missing.

    Raises:
        RefusedError, UsageError: as `read_query_request`.
    """
    bounded = _bound_request(request, limits, _SMALL_FORM)
    try:
        async with bounded.form(max_files=0, max_fields=8) as form:
            value = form.get(name)
    except HTTPException as error:
        raise UsageError(f"the form cannot be read: {error.detail}") from None
    return value if isinstance(value, str) else ""


async def read_form_texts(request: Request, limits: ServingLimits) -> dict[str, list[str]]:
    """Returns the texts of a form with many fields.

    Raises:
        RefusedError, UsageError: as `read_query_request`.
    """
    bounded = _bound_request(request, limits, limits.form_bytes)
    try:
        async with bounded.form(max_files=0, max_fields=_MOST_FIELDS) as form:
            return {name: [each for each in form.getlist(name) if isinstance(each, str)] for name in form}
    except HTTPException as error:
        raise UsageError(f"the form cannot be read: {error.detail}") from None


def address_fields(params: QueryParams, **more: str) -> Fields:
    """Returns the fields in the query string of an address, and `more` of them."""
    values = {name: params.getlist(name) for name in params}
    return Fields(values | {name: [value] for name, value in more.items()}, is_text=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Body:
    """A body: its fields, and its images by the name of their field."""

    fields: Fields
    images: Mapping[str, Sequence[Upload]]

    def one_image(self) -> Upload | None:
        """Returns the image to search with; None where the fields name it.

        Raises:
            UsageError: there are several.
        """
        if len(self.images["image"]) > 1:
            raise UsageError(
                "a request has one image; the others of a query are and or not", argument="image"
            )
        return next(iter(self.images["image"]), None)


async def _read_body(request: Request, limits: ServingLimits, names: Sequence[str]) -> _Body:
    """Returns a body of any type, whose images may have these names.

    Raises:
        RefusedError, UsageError: as `read_query_request`.
    """
    kind = _kind_of(request)
    bounded = _bound_request(request, limits, _most_bytes(kind, limits))
    none: dict[str, Sequence[Upload]] = dict.fromkeys(names, ())
    if kind == _FORM:
        return await _read_form(bounded, limits, names)
    if kind == _JSON:
        return _Body(fields=_parse_fields(await bounded.body(), request.query_params), images=none)
    if _is_image(kind):
        image = Upload(name=_NAME, content=await bounded.body())
        return _Body(fields=address_fields(request.query_params), images=none | {"image": [image]})
    raise _other_type(BODY_TYPES)


def _parse_fields(body: bytes, params: QueryParams) -> Fields:
    if params:
        raise UsageError("fields go either into the JSON or into the address; put all into the JSON")
    try:
        return Fields.of_json(parse_json(body))
    except ValueError:
        raise UsageError("the body is no JSON") from None


async def _read_form(request: Request, limits: ServingLimits, names: Sequence[str]) -> _Body:
    sizes = {"max_fields": limits.examples + 20, "max_part_size": limits.form_bytes}
    async with _form(request, max_files=limits.examples, **sizes) as form:
        images = {name: await _read_uploads(form, name) for name in names}
        return _Body(fields=_form_fields(form, request.query_params, names), images=images)


@asynccontextmanager
async def _form(request: Request, **most: int) -> AsyncIterator[FormData]:
    """Yields the form in a body, whose files stay in memory: no image of a client is written to the disk.

    Raises:
        UsageError: the form is malformed.
    """
    try:
        form = await _Parser(request.headers, request.stream(), **most).parse()
    except MultiPartException as error:
        raise UsageError(f"the form cannot be read: {error.message}") from None
    try:
        yield form
    finally:
        await form.close()


class _Parser(MultiPartParser):
    """Reads forms, whose bodies are bounded before."""

    spool_max_size = 2**62


async def _read_uploads(form: FormData, name: str) -> Sequence[Upload]:
    files = [each for each in form.getlist(name) if isinstance(each, UploadFile)]
    return [Upload(name=_name_of(each), content=await each.read()) for each in files]


def _name_of(file: UploadFile) -> str:
    """Returns the name that a client gives a file, without folders, and cut: it may be as long as a form."""
    name = (file.filename or "").replace("\\", "/").rpartition("/")[2]
    return name[:_LONGEST_NAME] or _NAME


def _form_fields(form: FormData, params: QueryParams, names: Sequence[str]) -> Fields:
    if params:
        raise UsageError("fields go either into the form or into the address; put all into the form")
    files = {name for name, value in form.multi_items() if isinstance(value, UploadFile)}
    if strange := files.difference(names):
        raise UsageError("an image of the form has an unknown name", argument=min(strange)[:_LONGEST_NAME])
    values = {name: [each for each in form.getlist(name) if isinstance(each, str)] for name in form}
    return Fields({name: each for name, each in values.items() if each}, is_text=True)


def _kind_of(request: Request) -> str:
    """Returns the media type of a body, "" without one."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_image(kind: str) -> bool:
    return kind == _BYTES or kind.startswith(_IMAGE)


def _other_type(types: Sequence[str]) -> RefusedError:
    return RefusedError(Code.MEDIA_TYPE, f"the body is of none of these types: {', '.join(types)}")


def _bound_request(request: Request, limits: ServingLimits, most: int) -> Request:
    """Returns a request whose body is refused where it is too large or too slow; see `_bound`."""
    _check_length(request.headers.get("content-length"), most)
    return Request(request.scope, _bound(request.receive, limits, most))


def _most_bytes(kind: str, limits: ServingLimits) -> int:
    return limits.form_bytes if kind == _JSON else limits.body_bytes


def _check_length(header: str | None, most: int) -> None:
    if header is not None and header.isdecimal() and int(header) > most:
        raise _too_large(most)


def _bound(receive: Receive, limits: ServingLimits, most: int) -> Receive:
    """Returns a function that receives parts of a body until they are too many, or take too long."""
    read, until = 0, time.monotonic() + limits.body_s

    async def receive_part() -> Message:
        nonlocal read
        try:
            async with asyncio.timeout(until - time.monotonic()):
                message = await receive()
        except TimeoutError:
            said = f"the body did not arrive within {limits.body_s:g} s"
            raise RefusedError(Code.TOO_SLOW, said) from None
        read += len(message.get("body", b""))
        if read > most:
            raise _too_large(most)
        return message

    return receive_part


def _too_large(most: int) -> RefusedError:
    return RefusedError(Code.TOO_LARGE, f"the body has more than {most:,} bytes, the limit")
