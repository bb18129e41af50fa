"""The HTTP server: a socket, the app behind it, and an end at which requests in hand are answered."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from lookalike_core.errors import LookalikeError
from lookalike_core.logs import get_logger
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from lookalike_search.serving.jobs import Jobs
from lookalike_search.serving.limits import ServingLimits
from lookalike_search.serving.service import Service

_logger = get_logger("serving")


def listen(host: str, port: int, *, limits: ServingLimits) -> socket.socket:
    """Returns a socket that listens on a host and a port; port 0 is a free one.

    Raises:
        LookalikeError: the port is in use, or the host is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise LookalikeError(f"there is no host {host} ({error.strerror or error})") from error
    bound = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let others take the port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(limits.connections)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise LookalikeError(
                f"port {port} of {host} is in use; choose another, or 0 for a free one"
            ) from error
        raise LookalikeError(f"port {port} of {host} cannot be used ({error.strerror or error})") from error
    return bound


def url_of(bound: socket.socket) -> str:
    """Returns the URL of a listening socket; every address of this machine is shown as its loopback one."""
    host, port, *_ = bound.getsockname()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound to it
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class HttpServer:
    """Serves an app on a listening socket until it is stopped."""

    def __init__(self, app: ASGIApp, service: Service, jobs: Jobs) -> None:
        self._service, self._jobs = service, jobs
        self._server = _Server(_config(app, service.limits))

    def run(self, bound: socket.socket, *, on_ready: Callable[[], None]) -> None:
        """Serves until `stop` is called, then answers the requests in hand; `on_ready` is called before."""
        asyncio.run(self._run(bound, on_ready))

    def stop(self) -> None:
        """Ends `run`; signal handlers and other threads may call it."""
        self._server.should_exit = True

    async def _run(self, bound: socket.socket, on_ready: Callable[[], None]) -> None:
        refreshing = asyncio.create_task(self._service.refresh_for_ever())
        on_ready()
        logger, handler = logging.getLogger("uvicorn.error"), _Errors(logging.ERROR)
        logger.addHandler(handler)
        try:
            await self._server.serve(sockets=[bound])
        finally:
            logger.removeHandler(handler)
            refreshing.cancel()
            await asyncio.wait({refreshing})
            await self._jobs.close()


class _Errors(logging.Handler):
    """Passes what uvicorn logs on to the library's log; warnings are about requests that others sent."""

    def emit(self, record: logging.LogRecord) -> None:
        _logger.error("%s", record.getMessage().strip(), exc_info=record.exc_info)


class _Server(uvicorn.Server):
    """A server that leaves signals to the command."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: ASGIApp, limits: ServingLimits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=_protocol(limits.head_s, limits.stall_s),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.connections,
        h11_max_incomplete_event_size=limits.head_bytes,
        timeout_graceful_shutdown=limits.shutdown_s,
    )


class _Forgiving(H11Protocol):
    """uvicorn's protocol that expects malformed bodies while a response is made, or after it has begun.

    The request's response has no receiver any more: it is dropped, as after the client has closed.
    """

    def send_400_response(self, msg: str) -> None:
        """Sends the response where one can still be sent, and closes the connection."""
        cycle: RequestResponseCycle | None = getattr(self, "cycle", None)
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.close()


class _ReaderTimed(_Forgiving):
    """A protocol that ends the connection of a client that takes nothing of a response."""

    _stall_s: float
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_stall_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._time_stall()

    def resume_writing(self) -> None:
        self._end_stall_timer()
        super().resume_writing()

    def _time_stall(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self._stall_timer = self.loop.call_later(self._stall_s, self._end_stalled, unsent)

    def _end_stalled(self, unsent: int) -> None:
        """Ends the connection unless less is unsent than before."""
        if self.transport.get_write_buffer_size() < unsent:
            self._time_stall()
        else:
            self.transport.abort()

    def _end_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def _protocol(head_s: float, stall_s: float) -> type[asyncio.Protocol]:
    """Returns uvicorn's protocol with a timeout for the head of a request, too, of which it has none."""

    class Protocol(_ReaderTimed):
        _stall_s = stall_s
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - as uvicorn has it
            super().connection_made(transport)
            self._time_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._end_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._time_head()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._time_head()

        def _time_head(self) -> None:
            """Starts the timer while a head is awaited, and stops it once that has arrived."""
            if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
                self._end_timer()
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(head_s, self.transport.close)

        def _end_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

    return Protocol
