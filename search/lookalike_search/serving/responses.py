"""Responses: records as JSON in ASCII, files to save, and problems."""

from http import HTTPStatus
from typing import Any

from lookalike_core.logs import get_logger
from lookalike_core.text import json_line
from starlette.responses import Response

from lookalike_search.serving.limits import LIMITS
from lookalike_search.serving.problems import (
    MEDIA_TYPE,
    Code,
    Problem,
    RefusedError,
    describe_problem,
    is_fault,
)

_logger = get_logger("serving")

CLIENT_GONE = 499
"""The status, in metrics alone, of a request whose client went away."""

_RETRIED = (HTTPStatus.SERVICE_UNAVAILABLE,)
_CLOSING = (Code.TOO_LARGE, Code.TOO_SLOW, Code.BUSY, Code.FRAMING)
"""Codes after which the rest of a body is not read."""


def json_response(record: Any) -> Response:  # noqa: ANN401 - a record of any kind
    """Returns a record as JSON in ASCII, which is the same whatever a name in it is."""
    return Response(f"{json_line(record)}\n", media_type="application/json")


def attachment_response(text: bytes, *, name: str, media_type: str) -> Response:
    """Returns a text, encoded in UTF-8, that a browser saves as a file of this name."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type=f"{media_type}; charset=utf-8", headers=headers)


def problem_response(problem: Problem) -> Response:
    """Returns a problem; where it passes, with the seconds after which to try again."""
    response = Response(f"{json_line(problem)}\n", status_code=problem["status"], media_type=MEDIA_TYPE)
    if problem["status"] in _RETRIED:
        response.headers["Retry-After"] = str(LIMITS.retry_after_s)
    if problem["code"] is Code.TOKEN:
        response.headers["WWW-Authenticate"] = "Bearer"
    if problem["code"] in _CLOSING:
        response.headers["Connection"] = "close"
    return response


def refusal_response(error: RefusedError) -> Response:
    """Returns the response to a request that is refused."""
    return problem_response(describe_problem(error, shows_paths=False))


def error_response(error: Exception, *, shows_paths: bool) -> tuple[Response, Problem]:
    """Returns the response to a request that failed, and its problem; the server's own faults are logged."""
    problem = describe_problem(error, shows_paths=shows_paths)
    if is_fault(problem):
        is_known = problem["code"] is not Code.FAILED
        _logger.error("a request failed: %s", error, exc_info=None if is_known else error)
    return problem_response(problem), problem
