"""Faults of requests to a server: which of our errors each is, and whether it is transient.

`fault_of` classifies exceptions of httpx, gRPC and qdrant-client, and `error_for` makes one of ours;
credentials are always removed from a server's text by `Secrets`.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from lookalike_core.errors import (
    CollectionMissingError,
    LookalikeError,
    ManifestError,
    PeersMissingError,
    StoreError,
    StoreRefusedError,
)
from lookalike_core.hints import Action, Hint
from lookalike_core.stores.address import NO_SECRETS, Secrets
from lookalike_core.stores.peer_faults import PeerFault, find_peer_fault

if TYPE_CHECKING:
    import httpx

_REASON_LENGTH = 200
_NOT_QDRANT = "the answer is not Qdrant's"

_STOPPED_READING = "it stopped reading the request"
"""How Qdrant reacts to a far too large request: it answers while the client still writes, and the client does
not read the answer (https://github.com/The-PR-Agent/pr-agent/issues/3545)."""


class FaultKind(Enum):
    """The kinds of faults that are handled differently."""

    REFUSED = auto()
    MISSING = auto()
    EXISTS = auto()
    TOO_LARGE = auto()
    UNFIT = auto()
    """The request does not match what the server stores."""
    UNREACHABLE = auto()
    BUSY = auto()
    """The server is running and cannot do it now."""
    FULL = auto()
    """The server has no room: its disk is full, or a quota is used up."""
    OTHER = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failure with its reason in one line.

    `retry_after_s` is the wait that the server asked for, `peers` what it says of others of its cluster.
    """

    kind: FaultKind
    reason: str
    retry_after_s: float | None = None
    peers: PeerFault | None = None

    @property
    def is_transient(self) -> bool:
        """Returns whether the same request may succeed a little later."""
        return self.kind in (FaultKind.UNREACHABLE, FaultKind.BUSY, FaultKind.FULL)

    @property
    def lacks_peers(self) -> bool:
        """Returns whether the request failed for peers that the server could not reach."""
        return self.kind is FaultKind.BUSY and self.peers is not None


class TooLargeError(StoreError):
    """A request exceeds the limit of bytes or items of the server, or of a proxy in front of it."""


class RemoteError(Exception):
    """Replaces a library's exception in a traceback, with text that has no credentials."""


def fault_of(error: Exception, secrets: Secrets = NO_SECRETS) -> Fault:
    """Returns the fault that `error`, raised by the client or a library below it, stands for."""
    import httpx
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    if isinstance(error, UnexpectedResponse):
        return _answered(error, secrets)
    if isinstance(error, QdrantException):  # ResourceExhaustedResponse, or a Retry-After that is a date
        wait_s, said = getattr(error, "retry_after_s", None), _one_line(str(error), secrets)
        kind = _judge(FaultKind.BUSY, str(error))
        reason = f"its rate limit is exceeded ({said})" if kind is FaultKind.BUSY else said
        return Fault(kind=kind, reason=reason, retry_after_s=wait_s)
    if isinstance(error, ResponseHandlingException | httpx.HTTPError):
        return _transport_fault(getattr(error, "source", error), secrets)
    if isinstance(error, json.JSONDecodeError):
        return Fault(kind=FaultKind.OTHER, reason=_NOT_QDRANT)
    if callable(getattr(error, "code", None)):
        return _grpc_fault(error, secrets)
    kind = FaultKind.BUSY if isinstance(error, TimeoutError) else FaultKind.OTHER
    return Fault(kind=kind, reason=_one_line(str(error), secrets) or type(error).__name__)


def refuse_answer(response: "httpx.Response") -> None:
    """Refuses a read answer that is not a success.

    Raises:
        UnexpectedResponse: it is not; `fault_of` says what it stands for.
    """
    from qdrant_client.http.exceptions import UnexpectedResponse

    if not response.is_success:
        raise UnexpectedResponse.for_response(response)


def error_for(
    fault: Fault, message: str, *, collection: str | None, missing_peers: str = ""
) -> LookalikeError:
    """Returns our error, with the remedy; `missing_peers` says which peers were missing and has it.

    Without a `collection`, "not found" means that the server is not Qdrant.
    """
    if missing_peers:
        return PeersMissingError(f"{message}; {missing_peers}", hint=Hint(Action.REPEAT))
    if fault.kind is FaultKind.MISSING and collection is not None:
        return CollectionMissingError(message, collection=collection)
    if fault.kind is FaultKind.EXISTS and collection is not None:
        return ManifestError(f"{message}; it was not changed", collection=collection)
    kind = PeersMissingError if fault.lacks_peers else _ERRORS.get(fault.kind, StoreError)
    hint = _HINTS.get(fault.kind)
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
_SEE_THE_LOG = "check what runs at this address, and its log"


def without_secrets(error: Exception, fault: Fault, secrets: Secrets) -> Exception:
    """Returns the exception for a traceback: `error`, or if there are credentials, its type and reason alone.

    Libraries quote answers in their messages, and shorten them, which can leave parts of a key.
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
"""The meaning of HTTP statuses and gRPC codes; any other is `OTHER`.

Each line has a status of Qdrant's and its codes over gRPC, from
`lib/storage/src/content_manager/conversions.rs` and `src/actix/helpers.rs` in its source. 499 (nginx) and 520
to 524 (Cloudflare) are of proxies; ABORTED, CANCELLED and UNKNOWN are gRPC's own, for a stream that was cut
off.
"""

_KIND_OF_STATUS = {status: kind for kind, statuses, _ in _MEANINGS for status in statuses}
_KIND_OF_CODE = {code: kind for kind, _, codes in _MEANINGS for code in codes}

_OVER_THE_LIMIT = re.compile(
    "larger than allowed|larger than max|message length too large|please try to split your request"
    r'|Limit exceeded \S+ > \S+ for "(upsert limit|update limit|limit|search batch size)"'
)
"""Matches messages that a request is too large: of Qdrant itself (with status 400,
https://github.com/qdrant/qdrant/issues/2537), gRPC's own library, the one that Qdrant is built with, a rate
limit below the size of one request, and strict mode."""

_NO_ROOM = ("No space left on device", "Insufficient storage:")
"""Qdrant's messages of a full disk (status 500) and of a used-up quota (507). gRPC has one code for quotas
and rate limits."""

_QUOTA_MARK = "qdrant-insufficient-storage"
"""The text that, with that code, means a quota in Qdrant's messages."""

_LOCKED = "Storage locked"
"""The message of a lock set by the server's operator; 403 over HTTP, but no other key helps."""

_OF_A_PROXY = re.compile(r"http2 header with status: (\d{3})")
"""gRPC's messages when something other than a gRPC server answered."""

_OF_THE_SERVER = ("Timeout:", "Shard temporarily unavailable:")
"""How Qdrant's messages begin, for codes that the gRPC library also gives when nothing answers."""

_TLS_FAULTS = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER")
"""OpenSSL's messages about faults that a retry does not solve."""


def _judge(kind: FaultKind | None, text: str) -> FaultKind:
    """Returns the fault for a status or code of a kind, with the server's message."""
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
        peers=find_peer_fault(text),
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
    """Returns the fault for errors of httpx, or for an answer that the client cannot parse."""
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
    kind, peers = _judge(meant, details), find_peer_fault(details)
    unheard = code in ("UNAVAILABLE", "DEADLINE_EXCEEDED") and not details.startswith(_OF_THE_SERVER)
    unheard = unheard and peers is None
    if kind is FaultKind.BUSY and unheard and not of_a_proxy:
        kind = FaultKind.UNREACHABLE
    metadata = dict(getattr(error, "trailing_metadata", tuple)() or ())
    if kind is FaultKind.BUSY and _QUOTA_MARK in metadata:
        kind = FaultKind.FULL
    return Fault(
        kind=kind,
        reason=f"{_one_line(details, secrets)} ({code})",
        retry_after_s=_seconds(metadata.get("retry-after")),
        peers=peers,
    )


def _one_line(text: str, secrets: Secrets) -> str:
    """Returns a text on one line.

    Credentials are removed before it is cut, or a part of one would be left.
    """
    line = " ".join(secrets.redact(text).split())
    return line if len(line) <= _REASON_LENGTH else f"{line[:_REASON_LENGTH]}..."
