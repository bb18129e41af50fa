"""What goes wrong on the way to a server and back: which of our errors it is, and whether it may pass.

Whatever httpx, gRPC and qdrant-client raise is judged by `fault_of` and becomes one of ours by
`error_for`; nothing that a server said is passed on before `Secrets` has been taken out of it.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, cast

from lookalike.errors import (
    CollectionMissingError,
    LookalikeError,
    ManifestError,
    StoreError,
    StoreRefusedError,
)
from lookalike.stores.address import NO_SECRETS, Secrets

_REASON_LENGTH = 200
_NOT_QDRANT = "the answer is not one that Qdrant gives"

_STOPPED_READING = "it stopped reading the request"
"""What Qdrant does with a request that is far too large: its answer comes while the client still writes,
and is not looked at (https://github.com/The-PR-Agent/pr-agent/issues/3545)."""


class FaultKind(Enum):
    """What kind of failure it is, as far as it decides about what to do."""

    REFUSED = auto()
    MISSING = auto()
    EXISTS = auto()
    TOO_LARGE = auto()
    UNFIT = auto()
    """The request does not fit what the server has."""
    UNREACHABLE = auto()
    BUSY = auto()
    """It is there and cannot do it now."""
    OTHER = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failure with its reason in one line; `retry_after_s` is what the server asked us to wait."""

    kind: FaultKind
    reason: str
    retry_after_s: float | None = None

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.kind in (FaultKind.UNREACHABLE, FaultKind.BUSY)


class TooLargeError(StoreError):
    """A request has more bytes than the server, or a proxy in front of it, takes."""


class RemoteError(Exception):
    """Stands in a traceback for what a library raised, in words that hold no secret."""


def fault_of(error: Exception, secrets: Secrets = NO_SECRETS) -> Fault:
    """What `error`, raised by the client or a library below it, means."""
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    if isinstance(error, UnexpectedResponse):
        return _answered(error, secrets)
    if isinstance(error, QdrantException):  # ResourceExhaustedResponse, or a Retry-After that is a date
        wait_s, said = getattr(error, "retry_after_s", None), _one_line(str(error), secrets)
        return Fault(kind=FaultKind.BUSY, reason=f"it is asked too much ({said})", retry_after_s=wait_s)
    if isinstance(error, ResponseHandlingException):
        return _transport_fault(error.source, secrets)
    if isinstance(error, json.JSONDecodeError):
        return Fault(kind=FaultKind.OTHER, reason=_NOT_QDRANT)
    if callable(getattr(error, "code", None)):
        return _grpc_fault(error, secrets)
    kind = FaultKind.BUSY if isinstance(error, TimeoutError) else FaultKind.OTHER
    return Fault(kind=kind, reason=_one_line(str(error), secrets) or type(error).__name__)


def error_for(fault: Fault, message: str, *, collection: str | None) -> LookalikeError:
    """Our error, with what to do next.

    Without a `collection` in play, "not found" means that this is no Qdrant.
    """
    if fault.kind is FaultKind.REFUSED:
        return StoreRefusedError(
            f"{message}; set QDRANT_API_KEY to a key that may do this, or use another store with --store"
        )
    if fault.kind is FaultKind.MISSING and collection is not None:
        return CollectionMissingError(message)
    if fault.kind is FaultKind.EXISTS and collection is not None:
        return ManifestError(f"{message}; it is left alone")
    if fault.kind is FaultKind.TOO_LARGE:
        return TooLargeError(f"{message}; the limit is that of the server, or of a proxy in front of it")
    if fault.kind is FaultKind.UNREACHABLE:
        return StoreError(
            f"{message}; start the server (docker compose up qdrant), or use another store with --store"
        )
    return StoreError(f"{message}; see what runs at this address and what its log says")


def without_secrets(error: Exception, fault: Fault, secrets: Secrets) -> Exception:
    """What a traceback may show of `error`: itself, or where there are secrets, its place and its reason.

    Libraries quote answers in their messages, and shorten them, which leaves parts of a key.
    """
    if not secrets:
        return error
    shown = RemoteError(f"{type(error).__name__}: {fault.reason}")
    return shown.with_traceback(error.__traceback__)


_KIND_OF_STATUS = {
    HTTPStatus.BAD_REQUEST: FaultKind.UNFIT,
    HTTPStatus.UNAUTHORIZED: FaultKind.REFUSED,
    HTTPStatus.FORBIDDEN: FaultKind.REFUSED,
    HTTPStatus.NOT_FOUND: FaultKind.MISSING,
    HTTPStatus.REQUEST_TIMEOUT: FaultKind.BUSY,
    HTTPStatus.CONFLICT: FaultKind.EXISTS,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: FaultKind.TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY: FaultKind.UNFIT,
    HTTPStatus.TOO_MANY_REQUESTS: FaultKind.BUSY,
    HTTPStatus.INTERNAL_SERVER_ERROR: FaultKind.BUSY,
    HTTPStatus.BAD_GATEWAY: FaultKind.BUSY,
    HTTPStatus.SERVICE_UNAVAILABLE: FaultKind.BUSY,
    HTTPStatus.GATEWAY_TIMEOUT: FaultKind.BUSY,
}
_KIND_OF_CODE = {
    "UNAUTHENTICATED": FaultKind.REFUSED,
    "PERMISSION_DENIED": FaultKind.REFUSED,
    "NOT_FOUND": FaultKind.MISSING,
    "ALREADY_EXISTS": FaultKind.EXISTS,
    "INVALID_ARGUMENT": FaultKind.UNFIT,
    "UNAVAILABLE": FaultKind.UNREACHABLE,
    "DEADLINE_EXCEEDED": FaultKind.UNREACHABLE,
    "RESOURCE_EXHAUSTED": FaultKind.BUSY,
}

_OVER_THE_LIMIT = ("larger than allowed", "larger than max", "message length too large")
"""How Qdrant itself (with status 400, https://github.com/qdrant/qdrant/issues/2537), gRPC's own library and
the one that Qdrant is built with say that a request is too large."""

_TLS_FAULTS = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER")
"""OpenSSL's words for what no second try mends."""


def _answered(error: Any, secrets: Secrets) -> Fault:  # noqa: ANN401 - UnexpectedResponse, not loaded here
    text = _answer_text(error)
    kind = _KIND_OF_STATUS.get(cast("HTTPStatus", error.status_code), FaultKind.OTHER)
    if kind is FaultKind.UNFIT and any(words in text for words in _OVER_THE_LIMIT):
        kind = FaultKind.TOO_LARGE
    said = _one_line(text, secrets) or str(error.reason_phrase)
    return Fault(
        kind=kind,
        reason=f"it answered {error.status_code} ({said})",
        retry_after_s=_seconds(error.headers.get("Retry-After")),
    )


def _answer_text(error: Any) -> str:  # noqa: ANN401 - as above
    try:
        return str(error.structured()["status"]["error"])
    except (ValueError, KeyError, TypeError):
        return bytes(error.content).decode(errors="replace")


def _seconds(text: str | None) -> float | None:
    with suppress(ValueError):
        return float(int(text or ""))
    return None


def _transport_fault(source: Exception, secrets: Secrets) -> Fault:
    """The client wraps both what httpx raises and an answer that it cannot read."""
    import httpx

    if isinstance(source, httpx.WriteTimeout):
        return Fault(kind=FaultKind.TOO_LARGE, reason=_STOPPED_READING)
    if isinstance(source, httpx.TimeoutException):
        return Fault(kind=FaultKind.UNREACHABLE, reason="no answer in time")
    if not isinstance(source, httpx.TransportError):
        return Fault(kind=FaultKind.OTHER, reason=_NOT_QDRANT)
    text = str(source)
    kind = FaultKind.OTHER if any(words in text for words in _TLS_FAULTS) else FaultKind.UNREACHABLE
    return Fault(kind=kind, reason=_one_line(text, secrets) or type(source).__name__)


def _grpc_fault(error: Any, secrets: Secrets) -> Fault:  # noqa: ANN401 - gRPC's module has no types
    code = error.code().name
    details = str(getattr(error, "details", str)())
    kind = _KIND_OF_CODE.get(code, FaultKind.OTHER)
    if any(words in details for words in _OVER_THE_LIMIT):
        kind = FaultKind.TOO_LARGE
    return Fault(kind=kind, reason=f"{_one_line(details, secrets)} ({code})")


def _one_line(text: str, secrets: Secrets) -> str:
    """Secrets go before it is cut, or a part of one would be left."""
    line = " ".join(secrets.hidden_in(text).split())
    return line if len(line) <= _REASON_LENGTH else f"{line[:_REASON_LENGTH]}..."
