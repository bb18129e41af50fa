"""Refuses for the stand-in what Qdrant 1.19 refuses in strict mode, with the same messages.

From `lib/collection/src/operations/verification` and `lib/common/common/src/rate_limiting.rs` in its source.
Of rate limits only that of one request is kept: what one minute allows depends on the clock.
"""

from collections.abc import Iterator, Mapping
from typing import Any


class StrictModeError(Exception):
    """A refused request, with its status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def check_strict_mode(route: str, data: Any, limits: Mapping[str, Any]) -> None:
    """Checks a request below a collection's path against the limits.

    Raises:
        StrictModeError: a limit is exceeded.
    """
    if not limits.get("enabled"):
        return
    if route == "points" and "points" in data:
        _check(len(data["points"]), limits.get("upsert_max_batchsize"), "upsert limit")
    searches = data.get("searches", []) if route == "points/query/batch" else []
    _check(len(searches), limits.get("search_max_batchsize"), "search batch size")
    _check_rate(route, data, limits)
    for asked in [data, *searches]:
        _check(asked.get("limit"), limits.get("max_query_limit"), "limit")
        _check_filter(asked.get("filter") or {}, limits)
        params = asked.get("params") or {}
        if limits.get("search_allow_exact") is False and (asked.get("exact") or params.get("exact")):
            raise StrictModeError("Bad request: Exact search disabled! Help: Set exact=false.")
        oversampling = (params.get("quantization") or {}).get("oversampling")
        _check(oversampling, limits.get("search_max_oversampling"), "oversampling")
        _check(params.get("hnsw_ef"), limits.get("search_max_hnsw_ef"), "hnsw_ef")


def _check(value: float | None, limit: float | None, name: str) -> None:
    if value is not None and limit is not None and value > limit:
        raise StrictModeError(
            f'Bad request: Limit exceeded {value} > {limit} for "{name}" Help: Reduce the "{name}" parameter '
            f"to or below {limit}."
        )


def _check_filter(asked: Mapping[str, Any], limits: Mapping[str, Any]) -> None:
    conditions = [condition for part in ("must", "must_not") for condition in asked.get(part) or []]
    most = limits.get("filter_max_conditions")
    if most is not None and len(conditions) > most:
        raise StrictModeError(f"Bad request: Filter condition limit reached ({len(conditions)} > {most})")
    longest, allowed = max(_sizes(conditions), default=0), limits.get("condition_max_size")
    if allowed is not None and longest > allowed:
        raise StrictModeError(f"Bad request: Condition size limit reached ({longest} > {allowed})")


def _sizes(conditions: list[Any]) -> Iterator[int]:
    for condition in conditions:
        yield len(condition.get("has_id") or (condition.get("match") or {}).get("any") or ())


def _check_rate(route: str, data: Any, limits: Mapping[str, Any]) -> None:
    """Checks the rate limit: each point that is written or read by id counts as one request."""
    writes = {"points": "points", "points/delete": "points"}
    if route == "points" and "ids" in data:
        cost, limit, kind = len(data["ids"]), limits.get("read_rate_limit"), "Read"
    elif route in writes:
        cost, limit, kind = len(data.get(writes[route], ())), limits.get("write_rate_limit"), "Write"
    else:
        return
    if limit is not None and cost > limit:
        raise StrictModeError(
            f"Rate limiting exceeded: {kind} rate limit exceeded, request larger than rate limiter capacity, "
            "please try to split your request",
            429,
        )
