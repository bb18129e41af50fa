"""The options of a view's job: read from its address, and offered by its form."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from lookalike_core.errors import StoreLockedError
from starlette.requests import Request

from lookalike_search.serving.pages.site import Site
from lookalike_search.serving.query_fields import Fields

Option = str | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The collections that are served, and what is in the chosen one."""

    collections: Sequence[str]
    datasets: Sequence[str]
    total: int | None
    """The number of images; None while a job reads a collection that is not open here."""
    examples: Mapping[str, str]
    """The id of an image of each class."""


async def find_choices(site: Site, collection: str) -> Choices:
    """Returns what a form offers for a collection.

    Raises:
        CollectionMissingError: it is gone.
    """
    names = await asyncio.to_thread(site.service.warm.names)
    try:
        groups = await site.service.groups([collection])
    except StoreLockedError:
        return Choices(collections=names, datasets=[], total=None, examples={})
    return Choices(
        collections=names,
        datasets=sorted({group.dataset for group in groups}),
        total=sum(group.count for group in groups),
        examples={group.class_name: group.first_id for group in reversed(groups)},
    )


async def find_score_name(site: Site, collection: str) -> str:
    """Returns the name of a collection's scores.

    Raises:
        CollectionMissingError: it is gone.
    """
    manifest = await asyncio.to_thread(site.service.warm.store.manifest, collection)
    return manifest.distance.score_name


def thumbnail_address(request: Request, id_: str, edge: int) -> str:
    """Returns the address of a thumbnail of an indexed image, in the collections of a request."""
    names = request.query_params.getlist("collection")
    query = urlencode([("edge", edge), *(("collection", name) for name in names)])
    return f"/api/v1/images/{id_}/thumbnail?{query}"


def query_address(request: Request, id_: str) -> str:
    """Returns the address of a search with an indexed image, in the collections of a request."""
    return address_of("/", request, {}, id=id_)


def class_address(request: Request, name: str) -> str:
    """Returns the address of the images of a class, in the collections of a request."""
    return address_of("/browse", request, {}, **{"class": name})


def read_options(request: Request) -> Fields:
    """Returns the fields in an address but its collections; empty ones of a form are as if not there."""
    params = request.query_params
    given = {name: [value for value in params.getlist(name) if value] for name in params}
    return Fields(
        {name: values for name, values in given.items() if values and name != "collection"}, is_text=True
    )


def job_fields(collection: str, options: Mapping[str, Option]) -> dict[str, str]:
    """Returns the fields of a job, as a form would send them; options that are not set are left out."""
    return {"collection": collection} | dict(_texts(options))


def address_of(path: str, request: Request, options: Mapping[str, Option], **more: str | int) -> str:
    """Returns the address of a view with these options, which keeps the collections of a request.

    `more` are further fields.
    """
    names = request.query_params.getlist("collection")
    pairs: list[tuple[str, Any]] = [("collection", name) for name in names]
    pairs += [*_texts(options), *more.items()]
    return f"{path}?{urlencode(pairs)}" if pairs else path


def _texts(options: Mapping[str, Option]) -> list[tuple[str, str]]:
    return [
        (name, "true" if value is True else str(value))
        for name, value in options.items()
        if value not in (None, "", False)
    ]
