"""Errors as `application/problem+json` (RFC 9457), with the names of the commands' exit codes."""

from enum import StrEnum
from http import HTTPStatus
from typing import NotRequired, TypedDict

from lookalike_core.errors import (
    CollectionMissingError,
    ImageError,
    LookalikeError,
    SkipReason,
    StoreLockedError,
    UsageError,
)
from lookalike_core.memory import is_caused_by_memory_error, is_out_of_memory

MEDIA_TYPE = "application/problem+json"

MOST_CHOICES = 20
"""How many valid values a problem lists; a collection may have thousands of classes."""


class Code(StrEnum):
    """What went wrong: first what the exit codes 1 to 7 of the commands say, then what only HTTP knows."""

    FAILED = "failed"
    """Anything else failed; exit code 1."""
    USAGE = "usage"
    """A field or a combination of fields is invalid; exit code 2."""
    MODEL = "model"
    """A model cannot be loaded or run; exit code 3."""
    IMAGE = "image"
    """An image cannot be read, or is not indexed; exit code 4."""
    STORE = "store"
    """The store cannot be reached or refuses; exit code 5."""
    COLLECTION = "collection"
    """The collection does not exist or cannot be used; exit code 6."""
    LOCKED = "locked"
    """Another process is writing to the collection; exit code 7."""
    BUSY = "busy"
    """Too many requests are waiting."""
    TOO_SLOW = "too-slow"
    """The request's body did not arrive, or its image was not decoded, in time."""
    TOO_LARGE = "too-large"
    """The request has too many bytes."""
    FRAMING = "framing"
    """The body has two lengths."""
    MEDIA_TYPE = "media-type"
    """The body is neither an image, nor a form, nor JSON."""
    NOT_FOUND = "not-found"
    """There is nothing at this address, or originals are not served."""
    UPLOAD = "upload"
    """There is no such upload, or it is not cached any more."""
    METHOD = "method"
    """The address takes other methods."""
    TOKEN = "token"  # noqa: S105 - the name of a code
    """The token is missing or wrong."""
    HOST = "host"
    """The `Host` of the request is not this server."""
    ORIGIN = "origin"
    """The request comes from a page of another origin."""


_BY_EXIT_CODE = list(Code)[:7]

_STATUS = {
    Code.FAILED: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.USAGE: HTTPStatus.BAD_REQUEST,
    Code.MODEL: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.IMAGE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.STORE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.COLLECTION: HTTPStatus.CONFLICT,
    Code.LOCKED: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.TOO_SLOW: HTTPStatus.REQUEST_TIMEOUT,
    Code.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.FRAMING: HTTPStatus.BAD_REQUEST,
    Code.MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.UPLOAD: HTTPStatus.NOT_FOUND,
    Code.METHOD: HTTPStatus.METHOD_NOT_ALLOWED,
    Code.TOKEN: HTTPStatus.UNAUTHORIZED,
    Code.HOST: HTTPStatus.MISDIRECTED_REQUEST,
    Code.ORIGIN: HTTPStatus.FORBIDDEN,
}


STATUSES = sorted(set(_STATUS.values()))
"""The statuses of all problems."""


class Problem(TypedDict):
    """Why a request has no answer."""

    type: str
    """`about:blank`: `code` says more."""
    title: str
    """The status in words."""
    status: int
    """The status of the response."""
    detail: str
    """What is wrong, and what to do."""
    code: Code
    """What went wrong, for programs."""
    exit_code: NotRequired[int]
    """The exit code with which a command would have ended."""
    reason: NotRequired[SkipReason]
    """Why the image cannot be read."""
    argument: NotRequired[str]
    """The field whose value is invalid."""
    choices: NotRequired[list[str]]
    """Valid values of that field, the most likely first."""


class RefusedError(Exception):
    """A request that is refused for a reason that only HTTP knows."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def describe_problem(error: Exception, *, shows_paths: bool) -> Problem:
    """Returns the problem that an error is; without `shows_paths` it names no file of this machine."""
    if isinstance(error, RefusedError):
        return _problem(error.code, _STATUS[error.code], str(error))
    if isinstance(error, LookalikeError) and not is_caused_by_memory_error(error):
        return _describe_own(error, shows_paths)
    what = "the server is out of memory" if is_out_of_memory(error) else "the server failed"
    return _problem(Code.FAILED, _STATUS[Code.FAILED], f"{what}; its log says more") | {"exit_code": 1}


def problem_of_exit_code(exit_code: int, detail: str) -> Problem:
    """Returns the problem of a command that ended with an exit code."""
    code = _BY_EXIT_CODE[exit_code - 1] if 0 < exit_code <= len(_BY_EXIT_CODE) else Code.FAILED
    return _problem(code, _STATUS[code], detail) | {"exit_code": exit_code}


def is_fault(problem: Problem) -> bool:
    """Returns whether a problem is the server's, so that its log has to say more."""
    is_passing = problem["code"] in (Code.BUSY, Code.LOCKED)
    return problem["status"] >= HTTPStatus.INTERNAL_SERVER_ERROR and not is_passing


def _describe_own(error: LookalikeError, shows_paths: bool) -> Problem:
    code = _BY_EXIT_CODE[error.exit_code - 1]
    is_shown = shows_paths or (error.path is None and code in (Code.USAGE, Code.IMAGE, Code.LOCKED))
    problem = _problem(code, _status(error, code), str(error) if is_shown else _plain_detail(error))
    problem["exit_code"] = error.exit_code
    if isinstance(error, ImageError):
        problem["reason"] = error.reason
    if isinstance(error, UsageError) and error.argument is not None:
        problem["argument"] = str(error.argument)
        if error.choices:
            problem["choices"] = list(error.choices[:MOST_CHOICES])
    return problem


def _status(error: LookalikeError, code: Code) -> HTTPStatus:
    if isinstance(error, CollectionMissingError):
        return HTTPStatus.NOT_FOUND
    if isinstance(error, ImageError) and error.reason is SkipReason.TOO_LARGE:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    if isinstance(error, ImageError) and error.reason is SkipReason.VANISHED:
        return HTTPStatus.NOT_FOUND
    return _STATUS[code]


def _plain_detail(error: LookalikeError) -> str:
    """Returns what can be said without the message, which names files of this machine."""
    match error:
        case ImageError():
            return f"the image cannot be read: {error.reason}"
        case CollectionMissingError():
            return "there is no such collection"
        case StoreLockedError():
            return "another process is writing to the collection; try again later"
    return "the server failed; its log says more"


def _problem(code: Code, status: HTTPStatus, detail: str) -> Problem:
    return {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
    }
