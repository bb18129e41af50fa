"""What goes wrong on the way to a server and back: which of our errors it is, and whether it may pass.

Whatever httpx, gRPC and qdrant-client raise is judged by `fault_of` and becomes one of ours by
`error_for`; nothing that a server said is passed on before `Secrets` has been taken out of it.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from lookalike_core.errors import (
    CollectionMissingError,
    LookalikeError,
    ManifestError,
    StoreError,
    StoreRefusedError,
)
from lookalike_core.hints import Action, Hint
from lookalike_core.stores.address import NO_SECRETS, Secrets

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
    FULL = auto()
    """It has no room for more: its disk is full, or a quota of it is used up."""
    OTHER = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failure with its reason in one line; `retry_after_s` is what the server asked us to wait."""

    kind: FaultKind
    reason: str
    retry_after_s: float | None = None

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.kind in (FaultKind.UNREACHABLE, FaultKind.BUSY, FaultKind.FULL)


class TooLargeError(StoreError):
    """A request has more bytes, or asks for more at once, than the server or a proxy in front of it takes."""


class RemoteError(Exception):
    """Stands in a traceback for what a library raised, in words that hold no secret."""


def fault_of(error: Exception, secrets: Secrets = NO_SECRETS) -> Fault:
    """Returns what `error`, raised by the client or a library below it, means."""
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    if isinstance(error, UnexpectedResponse):
        return _answered(error, secrets)
    if isinstance(error, QdrantException):  # ResourceExhaustedResponse, or a Retry-After that is a date
        wait_s, said = getattr(error, "retry_after_s", None), _one_line(str(error), secrets)
        kind = _judge(FaultKind.BUSY, str(error))
        reason = f"its rate limit is exceeded ({said})" if kind is FaultKind.BUSY else said
        return Fault(kind=kind, reason=reason, retry_after_s=wait_s)
    if isinstance(error, ResponseHandlingException):
        return _transport_fault(error.source, secrets)
    if isinstance(error, json.JSONDecodeError):
        return Fault(kind=FaultKind.OTHER, reason=_NOT_QDRANT)
    if callable(getattr(error, "code", None)):
        return _grpc_fault(error, secrets)
    kind = FaultKind.BUSY if isinstance(error, TimeoutError) else FaultKind.OTHER
    return Fault(kind=kind, reason=_one_line(str(error), secrets) or type(error).__name__)


def error_for(fault: Fault, message: str, *, collection: str | None) -> LookalikeError:
    """Returns our error, with what to do next.

    Without a `collection` in play, "not found" means that this is no Qdrant.
    """
    if fault.kind is FaultKind.MISSING and collection is not None:
        return CollectionMissingError(message, collection=collection)
    if fault.kind is FaultKind.EXISTS and collection is not None:
        return ManifestError(f"{message}; it is left alone", collection=collection)
    kind, hint = _ERRORS.get(fault.kind, StoreError), _HINTS.get(fault.kind)
    if fault.kind is FaultKind.REFUSED:
        return kind(message, hint=hint)
    return kind(f"{message}; {_NEXT_STEPS.get(fault.kind, _SEE_THE_LOG)}", hint=hint)


_ERRORS = {FaultKind.REFUSED: StoreRefusedError, FaultKind.TOO_LARGE: TooLargeError}
_NEXT_STEPS = {
    FaultKind.TOO_LARGE: "the limit is that of the server, or of a proxy in front of it",
    FaultKind.UNREACHABLE: "start the server (docker compose up qdrant)",
    FaultKind.FULL: "the server has no room for more: make some on its disk, or raise its quota",
}
_HINTS = {
    FaultKind.REFUSED: Hint(Action.SET_KEY),
    FaultKind.UNREACHABLE: Hint(Action.CHANGE_STORE),
    FaultKind.FULL: Hint(Action.REPEAT),
}
_SEE_THE_LOG = "see what runs at this address and what its log says"


def without_secrets(error: Exception, fault: Fault, secrets: Secrets) -> Exception:
    """Returns what a traceback may show: `error`, or where there are secrets, its place and its reason.

    Libraries quote answers in their messages, and shorten them, which leaves parts of a key.
    """
    if not secrets:
        return error
    shown = RemoteError(f"{type(error).__name__}: {fault.reason}")
    return shown.with_traceback(error.__traceback__)


_MEANINGS: tuple[tuple[FaultKind, tuple[int, ...], tuple[str, ...]], ...] = (
    (FaultKind.UNFIT, (400, 422), ("INVALID_ARGUMENT", "OUT_OF_RANGE", "DATA_LOSS")),
    (FaultKind.REFUSED, (401, 403), ("UNAUTHENTICATED", "PERMISSION_DENIED")),
    (FaultKind.MISSING, (404,), ("NOT_FOUND",)),
    (FaultKind.EXISTS, (409,), ("ALREADY_EXISTS",)),
    (FaultKind.TOO_LARGE, (413,), ()),
    (FaultKind.FULL, (507,), ()),
    (FaultKind.BUSY, (408, 421, 425, 499), ("CANCELLED",)),
    (FaultKind.BUSY, (429,), ("RESOURCE_EXHAUSTED",)),
    (FaultKind.BUSY, (500,), ("ABORTED", "FAILED_PRECONDITION", "INTERNAL", "UNKNOWN")),
    (FaultKind.BUSY, (502, 503, 504, *range(520, 525)), ("UNAVAILABLE", "DEADLINE_EXCEEDED")),
)
"""What a status over HTTP and a code over gRPC mean; any other is `OTHER`.

Qdrant answers with the status of a line where it answers with the codes of that line over gRPC; from
`lib/storage/src/content_manager/conversions.rs` and `src/actix/helpers.rs` in its source. Of a proxy in front
of it are 499 (nginx) and 520 to 524 (Cloudflare); ABORTED, CANCELLED and UNKNOWN are gRPC's own, for a stream
that was cut off."""

_KIND_OF_STATUS = {status: kind for kind, statuses, _ in _MEANINGS for status in statuses}
_KIND_OF_CODE = {code: kind for kind, _, codes in _MEANINGS for code in codes}

_OVER_THE_LIMIT = re.compile(
    "larger than allowed|larger than max|message length too large|please try to split your request"
    r'|Limit exceeded \S+ > \S+ for "(upsert limit|update limit|limit|search batch size)"'
)
"""How a server says that a request is too large: Qdrant itself (with status 400,
https://github.com/qdrant/qdrant/issues/2537), gRPC's own library, the one that Qdrant is built with, a rate
limit that one request alone is over, and strict mode."""

_NO_ROOM = ("No space left on device", "Insufficient storage:")
"""How Qdrant says so: with 500 of its disk and with 507 of a quota. gRPC has one code for a quota and for
a rate limit."""

_QUOTA_MARK = "qdrant-insufficient-storage"
"""Beside a code that Qdrant means a quota with."""

_LOCKED = "Storage locked"
"""By whoever runs the server; 403 over HTTP, but no key helps."""

_OF_A_PROXY = re.compile(r"http2 header with status: (\d{3})")
"""What gRPC's library says where no gRPC server has answered."""

_OF_THE_SERVER = ("Timeout:", "Shard temporarily unavailable:")
"""How Qdrant begins what it says with codes that gRPC's library also gives where nothing answers."""

_TLS_FAULTS = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER")
"""OpenSSL's words for what no second try mends."""


def _judge(kind: FaultKind | None, text: str) -> FaultKind:
    """Returns what a server means by a status or code of this kind, with what it says about it."""
    kind = kind or FaultKind.OTHER
    if kind in (FaultKind.UNFIT, FaultKind.BUSY) and _OVER_THE_LIMIT.search(text):
        return FaultKind.TOO_LARGE
    if kind is FaultKind.BUSY and any(words in text for words in _NO_ROOM):
        return FaultKind.FULL
    return FaultKind.OTHER if _LOCKED in text else kind


def _answered(error: Any, secrets: Secrets) -> Fault:  # noqa: ANN401 - UnexpectedResponse, not loaded here
    text = _answer_text(error)
    said = _one_line(text, secrets) or str(error.reason_phrase)
    return Fault(
        kind=_judge(_KIND_OF_STATUS.get(error.status_code), text),
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
    """Judges what the client wraps: what httpx raises, or an answer that it cannot read."""
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
    of_a_proxy = _OF_A_PROXY.search(details)
    meant = _KIND_OF_STATUS.get(int(of_a_proxy[1])) if of_a_proxy else _KIND_OF_CODE.get(code)
    kind = _judge(meant, details)
    unheard = code in ("UNAVAILABLE", "DEADLINE_EXCEEDED") and not details.startswith(_OF_THE_SERVER)
    if kind is FaultKind.BUSY and unheard and not of_a_proxy:
        kind = FaultKind.UNREACHABLE
    metadata = dict(getattr(error, "trailing_metadata", tuple)() or ())
    if kind is FaultKind.BUSY and _QUOTA_MARK in metadata:
        kind = FaultKind.FULL
    return Fault(
        kind=kind,
        reason=f"{_one_line(details, secrets)} ({code})",
        retry_after_s=_seconds(metadata.get("retry-after")),
    )


def _one_line(text: str, secrets: Secrets) -> str:
    """Returns a text without secrets, which go before it is cut, or a part of one would be left."""
    line = " ".join(secrets.redact(text).split())
    return line if len(line) <= _REASON_LENGTH else f"{line[:_REASON_LENGTH]}..."
