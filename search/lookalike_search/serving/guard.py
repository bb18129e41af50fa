"""The first layer of the server: every request passes its checks, and every response has its headers."""

import time
from collections.abc import Mapping
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike_search.serving.access import PAGES, Access
from lookalike_search.serving.metrics import Metrics
from lookalike_search.serving.problems import Code, RefusedError
from lookalike_search.serving.responses import refusal_response

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every response that does not say otherwise: pages load their own scripts and styles."""

_ASKED_HEADERS = "authorization, content-type"
_METHODS = "GET, HEAD, POST, DELETE"


class Guard:
    """Refuses what `access` does not allow before the app sees it; counts and times all requests."""

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics) -> None:
        self._app, self._access, self._metrics = app, access, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = self._access.allowed_origin(headers)
        sending = _Sending(send, origin)
        started = time.perf_counter()
        try:
            await self._serve(scope, receive, sending, headers, origin)
        finally:
            endpoint = getattr(scope.get("endpoint"), "__name__", "other")
            seconds = time.perf_counter() - started
            self._metrics.whole.labels(endpoint, str(sending.status)).observe(seconds)

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str], origin: str | None
    ) -> None:
        is_preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        if origin is not None and is_preflight:
            await Response(status_code=HTTPStatus.NO_CONTENT)(scope, receive, send)
            return
        try:
            _check_framing(headers)
            self._access.check(scope["method"], scope["path"], headers)
        except RefusedError as error:
            self._metrics.rejected.labels(error.code).inc()
            await _refuse(error, scope, headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _check_framing(headers: Mapping[str, str]) -> None:
    """Refuses a body with two lengths, as RFC 9112 (6.3) asks for: a proxy might take another end of it.

    Raises:
        RefusedError: it has.
    """
    if "transfer-encoding" in headers and "content-length" in headers:
        raise RefusedError(Code.FRAMING, "the body has both a Content-Length and a Transfer-Encoding")


def _refuse(error: RefusedError, scope: Scope, headers: Mapping[str, str]) -> Response:
    """Returns the response to a refused request; people are sent to where they can give the token."""
    is_page = scope["path"] in PAGES and scope["method"] in ("GET", "HEAD")
    if error.code is Code.TOKEN and is_page and "text/html" in headers.get("accept", ""):
        return RedirectResponse("/login", status_code=HTTPStatus.SEE_OTHER)
    return refusal_response(error)


class _Sending:
    """Sends messages with `HEADERS`, and with those of CORS where a foreign `origin` may ask."""

    def __init__(self, send: Send, origin: str | None) -> None:
        self._send, self._origin = send, origin
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
            headers.add_vary_header("Origin")
            if self._origin is not None:
                _allow_origin(headers, self._origin)
        await self._send(message)


def _allow_origin(headers: MutableHeaders, origin: str) -> None:
    headers["Access-Control-Allow-Origin"] = origin
    headers["Access-Control-Allow-Methods"] = _METHODS
    headers["Access-Control-Allow-Headers"] = _ASKED_HEADERS
    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
