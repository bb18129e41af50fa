"""Tuning of requests to a server: timeouts, retries, and batch sizes."""

from dataclasses import dataclass

from lookalike_core.stores.rebuild_lease import DEFAULT_LEASE_TIMES, LeaseTimes
from lookalike_core.stores.retries import DEFAULT_RETRY_POLICY, RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTuning:
    """Timeouts in seconds, and batch sizes in rows."""

    connect_timeout_s: int = 5
    """For each request of connecting."""

    timeout_s: int = 60
    """For one request; the slowest is a full upsert that waits until it is on the server's disk."""

    retries: RetryPolicy = DEFAULT_RETRY_POLICY
    lease: LeaseTimes = DEFAULT_LEASE_TIMES
    """The times of a rebuild's lease."""

    scan_page: int = 2_000
    queries_per_request: int = 100


DEFAULT_SERVER_TUNING = ServerTuning()
