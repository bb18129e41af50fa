"""The app: addresses and what answers them. All checks of `guard` come before."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from lookalike_search.serving import indexed_images, metrics
from lookalike_search.serving.access import COOKIE, Access
from lookalike_search.serving.bodies import (
    address_fields,
    read_explanation_request,
    read_fields,
    read_form_field,
    read_query_request,
    read_upload,
)
from lookalike_search.serving.guard import Guard
from lookalike_search.serving.jobs import Jobs
from lookalike_search.serving.login import login_page
from lookalike_search.serving.openapi import describe_api
from lookalike_search.serving.pages import ask, audit, browse, duplicates, evaluation
from lookalike_search.serving.pages import map as map_page
from lookalike_search.serving.pages.site import Site
from lookalike_search.serving.places import Places
from lookalike_search.serving.problems import Code, RefusedError
from lookalike_search.serving.query_fields import Fields, QueryRequest, read_explanation, read_query
from lookalike_search.serving.responses import CLIENT_GONE, error_response, json_response
from lookalike_search.serving.service import ImageAddress, Service
from lookalike_search.serving.static_files import static_response
from lookalike_search.serving.until_gone import until_gone

API = "/api/v1"

VIEWS = (ask, browse, map_page, duplicates, evaluation, audit)
"""The modules of the pages, in the order of the navigation."""

_Handler = Callable[[Request], Awaitable[Response]]

_A_DAY = "private, max-age=86400"


def create_app(service: Service, jobs: Jobs, access: Access, *, serves_originals: bool = False) -> ASGIApp:
    """Returns the ASGI app of a service and its jobs, which answers what `access` allows."""
    places = Places(service.limits.waiting, service.metrics.waiting)
    site = Site(service=service, jobs=jobs, access=access, places=places, serves_originals=serves_originals)
    endpoints = _Endpoints(
        service=service,
        jobs=jobs,
        access=access,
        places=places,
        site=site,
        serves_originals=serves_originals,
    )
    app = Starlette(
        routes=endpoints.routes(),
        exception_handlers={HTTPException: endpoints.not_found, Exception: endpoints.failed},
    )
    app.router.redirect_slashes = False
    return Guard(app, access, service.metrics)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Endpoints:
    """What answers each address."""

    service: Service
    jobs: Jobs
    access: Access
    places: Places
    site: Site
    serves_originals: bool

    def routes(self) -> list[Route]:
        """Returns the addresses."""
        image, upload = f"{API}/images/{{id:str}}", f"{API}/uploads/{{id:str}}"
        return [
            Route(f"{API}/query", self._answering(self.query), methods=["POST"]),
            Route(f"{API}/embed", self._answering(self.embed), methods=["POST"]),
            Route(f"{API}/explain", self._answering(self.explain), methods=["POST"]),
            Route(f"{API}/uploads", self._answering(self.add_upload), methods=["POST"]),
            Route(upload, self._answering(self.upload), methods=["GET", "DELETE"]),
            Route(f"{upload}/neighbours", self._answering(self.upload_neighbours)),
            Route(f"{upload}/thumbnail", self._answering(self.upload_thumbnail)),
            Route(f"{API}/collections", self._answering(self.collections)),
            Route(f"{API}/images", self._answering(self.images)),
            Route(image, self._answering(self.image)),
            Route(f"{image}/neighbours", self._answering(self.neighbours)),
            Route(f"{image}/explain", self._answering(self.explain_indexed)),
            Route(f"{image}/thumbnail", self._answering(self.thumbnail)),
            Route(f"{image}/original", self._answering(self.original)),
            Route(f"{API}/jobs", self._answering(self.all_jobs)),
            Route(f"{API}/jobs/{{name:str}}", self._answering(self.job), methods=["GET", "POST", "DELETE"]),
            Route("/openapi.json", self._answering(self.openapi)),
            Route("/metrics", self._translating(self.metrics)),
            Route("/livez", self.live),
            Route("/readyz", self.live),
            Route("/login", self._translating(self.login), methods=["GET", "POST"]),
            Route("/static/{name:str}", self._translating(self.static)),
            *(route for view in VIEWS for route in view.routes(self.site)),
        ]

    async def query(self, request: Request) -> Response:
        """Answers a query."""
        query = await read_query_request(request, self.service.limits)
        return await self._answer(request, query)

    async def embed(self, request: Request) -> Response:
        """Embeds an image."""
        query = await read_query_request(request, self.service.limits)
        return json_response(await until_gone(request, self.service.embed(query)))

    async def explain(self, request: Request) -> Response:
        """Explains the similarity of an image and an indexed one."""
        asked = await read_explanation_request(request, self.service.limits)
        return json_response(await until_gone(request, self.service.explain(asked)))

    async def explain_indexed(self, request: Request) -> Response:
        """Explains the similarity of two indexed images."""
        fields = address_fields(request.query_params, id=request.path_params["id"])
        return json_response(await until_gone(request, self.service.explain(read_explanation(fields))))

    async def add_upload(self, request: Request) -> Response:
        """Caches an image for further queries."""
        image = await read_upload(request, self.service.limits)
        added = await until_gone(request, self.service.add_upload(image))
        response = json_response(added)
        response.status_code = HTTPStatus.CREATED
        response.headers["Location"] = f"{API}/uploads/{added['upload']}"
        return response

    async def upload(self, request: Request) -> Response:
        """Describes an upload, or removes it."""
        address_fields(request.query_params).require_all_read()
        id_ = request.path_params["id"]
        is_removed = request.method == "DELETE"
        return json_response(self.service.remove_upload(id_) if is_removed else self.service.upload(id_))

    async def upload_neighbours(self, request: Request) -> Response:
        """Answers a query by an upload."""
        fields = address_fields(request.query_params, upload=request.path_params["id"])
        return await self._answer(request, read_query(fields, pixels=self.service.limits.pixels))

    async def upload_thumbnail(self, request: Request) -> Response:
        """Returns a small image of an upload; nobody may cache it."""
        fields = address_fields(request.query_params)
        edge = _edge(fields)
        fields.require_all_read()
        made = self.service.upload_thumbnail(request.path_params["id"], edge)
        thumbnail = await until_gone(request, made)
        return Response(thumbnail.data, media_type=thumbnail.media_type)

    async def collections(self, request: Request) -> Response:
        """Lists the served collections."""
        address_fields(request.query_params).require_all_read()
        return json_response(await self.service.collections())

    async def images(self, request: Request) -> Response:
        """Lists indexed images."""
        fields = address_fields(request.query_params)
        limit = fields.whole("limit", 100, low=1, high=indexed_images.MOST_LISTED)
        collections, wanted = fields.texts("collection"), indexed_images.read_wanted(fields, limit=limit)
        fields.require_all_read()
        listed = await until_gone(request, self.service.images(collections, wanted))
        return json_response(listed)

    async def image(self, request: Request) -> Response:
        """Describes an indexed image."""
        address = _address(request)
        return json_response(await self.service.image(address.id, address.collections))

    async def neighbours(self, request: Request) -> Response:
        """Answers a query by an indexed image."""
        fields = address_fields(request.query_params, id=request.path_params["id"])
        query = read_query(fields, pixels=self.service.limits.pixels)
        return await self._answer(request, query)

    async def _answer(self, request: Request, query: QueryRequest) -> Response:
        answer = await until_gone(request, self.service.query(query))
        if len(answer["hits"]) > _MANY:
            return await asyncio.to_thread(json_response, answer)
        return json_response(answer)

    async def thumbnail(self, request: Request) -> Response:
        """Returns a small image of an indexed one."""
        fields = address_fields(request.query_params)
        edge = _edge(fields)
        address = ImageAddress(request.path_params["id"], fields.texts("collection"))
        fields.require_all_read()
        made = await until_gone(request, self.service.thumbnail(address, edge))
        data, media_type, sha256 = made
        tag = f'"{sha256[:32]}-{edge}"'
        headers = {"ETag": tag, "Cache-Control": _A_DAY}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(data, media_type=media_type, headers=headers)

    async def original(self, request: Request) -> Response:
        """Returns the file of an indexed image."""
        if not self.serves_originals:
            raise RefusedError(Code.NOT_FOUND, "originals are not served here")
        data, payload = await self.service.original(_address(request))
        headers = {
            "Content-Disposition": "attachment",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "ETag": f'"{payload.sha256}"',
        }
        return Response(data, media_type="application/octet-stream", headers=headers)

    async def all_jobs(self, request: Request) -> Response:
        """Lists the jobs."""
        address_fields(request.query_params).require_all_read()
        return json_response(self.jobs.all())

    async def job(self, request: Request) -> Response:
        """Starts a job of a kind, or tells how far the one of an id is, or ends it."""
        name = request.path_params["name"]
        if request.method == "POST":
            job = self.jobs.start(name, await read_fields(request, self.service.limits))
            response = json_response(job.to_json())
            response.status_code = HTTPStatus.ACCEPTED
            response.headers["Location"] = f"{API}/jobs/{job.id}"
            return response
        job = await self.jobs.cancel(name) if request.method == "DELETE" else self.jobs.get(name)
        return StreamingResponse(_in_turn(job.body()), media_type="application/json")

    async def openapi(self, _request: Request) -> Response:
        """Describes the API."""
        return json_response(describe_api())

    async def metrics(self, _request: Request) -> Response:
        """Shows what is counted and timed."""
        await self.service.count_points()
        return Response(self.service.metrics.text(), headers={"Content-Type": metrics.MEDIA_TYPE})

    async def live(self, _request: Request) -> Response:
        """Says that the server answers; it is ready from its first moment on."""
        return Response("ok\n", media_type="text/plain")

    async def static(self, request: Request) -> Response:
        """Returns a style sheet or a script of the pages."""
        return static_response(request)

    async def login(self, request: Request) -> Response:
        """Asks for the token, and sets a cookie for it."""
        if request.method != "POST":
            return login_page()
        given = await read_form_field(request, "token", self.service.limits)
        if not self.access.is_token(given.strip()):
            self.service.metrics.rejected.labels(Code.TOKEN).inc()
            return login_page(is_wrong=True)
        response = RedirectResponse("/", status_code=HTTPStatus.SEE_OTHER)
        is_secure = request.headers.get("origin", "").startswith("https:")
        response.set_cookie(COOKIE, self.access.cookie, httponly=True, samesite="lax", secure=is_secure)
        return response

    async def not_found(self, request: Request, error: Exception) -> Response:
        """Answers what has no address, or none for this method."""
        status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.NOT_FOUND
        is_method = status == HTTPStatus.METHOD_NOT_ALLOWED
        code = Code.METHOD if is_method else Code.NOT_FOUND
        said = "this address does not take this method" if is_method else "there is nothing at this address"
        refused = RefusedError(code, said)
        is_page = not is_method and "text/html" in request.headers.get("accept", "")
        response = self.site.problem(request, refused) if is_page else self._respond(refused)
        response.headers.update((isinstance(error, HTTPException) and error.headers) or {})  # what is allowed
        return response

    async def failed(self, _request: Request, error: Exception) -> Response:
        """Answers where nothing else does."""
        return self._respond(error)

    def _answering(self, handler: _Handler) -> _Handler:
        """Returns a handler that takes a place, and answers errors as problems."""

        @wraps(handler)
        async def answer(request: Request) -> Response:
            with self.places.take():
                return await handler(request)

        return self._translating(answer)

    def _translating(self, handler: _Handler) -> _Handler:
        """Returns a handler that answers errors as problems."""

        @wraps(handler)
        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except ClientDisconnect:
                return Response(status_code=CLIENT_GONE)
            except Exception as error:  # noqa: BLE001 - every one has a response
                return self._respond(error)

        return answer

    def _respond(self, error: Exception) -> Response:
        response, problem = error_response(error, shows_paths=self.access.is_local)
        self.service.metrics.rejected.labels(problem["code"]).inc()
        return response


_MANY = 200
"""Neighbours above which an answer is written in a thread: it takes milliseconds."""


def _edge(fields: Fields) -> int:
    return fields.whole("edge", 256, low=indexed_images.LEAST_EDGE, high=indexed_images.MOST_EDGE)


async def _in_turn(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yields parts of a body; the event loop sends each before the next."""
    for part in parts:
        yield part


def _address(request: Request) -> ImageAddress:
    fields = address_fields(request.query_params)
    address = ImageAddress(request.path_params["id"], fields.texts("collection"))
    fields.require_all_read()
    return address
