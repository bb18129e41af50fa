"""What the pages share: their frame, the collections that links keep, and problems shown as a page."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from lookalike_core.errors import UsageError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

from lookalike_search.reports.page import Page
from lookalike_search.serving.access import Access
from lookalike_search.serving.jobs import Jobs
from lookalike_search.serving.places import Places
from lookalike_search.serving.responses import CLIENT_GONE, error_response
from lookalike_search.serving.service import Service
from lookalike_search.serving.static_files import static_address
from lookalike_search.serving.until_gone import until_gone

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

_WITHOUT_BODY = ("GET", "HEAD")

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""The content security policy of pages: what they load is the server's own."""


LONGEST_QUERY = 2**13
"""The number of characters in the query string of a page's address: many links of the page repeat it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """An entry of the navigation."""

    path: str
    name: str


VIEWS = (
    View(path="/", name="Ask"),
    View(path="/browse", name="Browse"),
    View(path="/map", name="Map"),
    View(path="/duplicates", name="Duplicates"),
    View(path="/evaluation", name="Evaluation"),
    View(path="/audit", name="Audit"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Renders pages by a service and its jobs."""

    service: Service
    jobs: Jobs
    access: Access
    places: Places
    serves_originals: bool

    def render(
        self,
        request: Request,
        template: str,
        *,
        status: int = HTTPStatus.OK,
        view: str = "",
        **values: object,
    ) -> Response:
        """Returns a page of `reports/templates/served`; `view` is the module of `static/` that it starts.

        Links of the navigation keep the collections of the request.
        """
        page = Page(
            f"served/{template}",
            view=view,
            path=request.url.path,
            navigation=VIEWS,
            scope=self.scope(request),
            asset=static_address,
            **values,
        )
        return HTMLResponse(page.html(), status_code=status, headers={"Content-Security-Policy": PAGE_POLICY})

    def scope(self, request: Request) -> str:
        """Returns the query string that names the collections of a request, with its question mark."""
        names = request.query_params.getlist("collection")
        return f"?{urlencode([('collection', name) for name in names])}" if names else ""

    async def choose_collection(self, request: Request) -> str:
        """Returns the name of the one collection that a view is about: the first one named, or the default.

        All are checked, since each link of the view names them.

        Raises:
            CollectionMissingError: there is none, or one is not served.
            UsageError: one is named twice.
        """
        names = request.query_params.getlist("collection")
        if len(set(names)) < len(names):
            raise UsageError("a collection is named twice", argument="collection")
        return (await asyncio.to_thread(self.service.warm.choose, names))[0]

    async def link_collections(self, request: Request, chosen: str) -> list[tuple[str, str, bool]]:
        """Returns the served collections, each with the address of the view for it, and whether it is chosen.

        None where there is only one.
        """
        names = await asyncio.to_thread(self.service.warm.names)
        if len(names) < 2:  # noqa: PLR2004 - there is nothing to choose
            return []
        path = request.url.path
        return [(name, f"{path}?{urlencode({'collection': name})}", name == chosen) for name in names]

    def answering(self, handler: Handler) -> Handler:
        """Returns a handler that takes a place, and shows errors as pages."""

        @wraps(handler)
        async def answer(request: Request) -> Response:
            try:
                _check_length(request)
                with self.places.take():
                    if request.method in _WITHOUT_BODY:
                        return await until_gone(request, handler(request))
                    return await handler(request)
            except ClientDisconnect:
                return Response(status_code=CLIENT_GONE)
            except Exception as error:  # noqa: BLE001 - every one has a page
                return self.problem(request, error)

        return answer

    def problem(self, request: Request, error: Exception) -> Response:
        """Returns the page of an error, with the status and the headers that the API's answer would have."""
        plain, problem = error_response(error, shows_paths=self.access.is_local)
        self.service.metrics.rejected.labels(problem["code"]).inc()
        page = self.render(request, "problem.html", status=problem["status"], problem=problem)
        pass_headers(plain, page)
        return page


def _check_length(request: Request) -> None:
    """Refuses an address that is too long.

    Raises:
        UsageError: it is.
    """
    if len(request.scope["query_string"]) > LONGEST_QUERY:
        raise UsageError(f"the address has more than {LONGEST_QUERY:,} characters; ask the API instead")


def pass_headers(plain: Response, page: Response) -> None:
    """Gives the page of a problem what the API's answer says of trying again and of the connection."""
    for name in ("Retry-After", "Connection"):
        if name in plain.headers:
            page.headers[name] = plain.headers[name]
