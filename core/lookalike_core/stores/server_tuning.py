"""How a server is used: how long it is given, how often it is asked again, and how much is asked at once."""

from dataclasses import dataclass

from lookalike_core.stores.rebuild_lease import DEFAULT_LEASE_TIMES, LeaseTimes
from lookalike_core.stores.retries import DEFAULT_RETRY_POLICY, RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTuning:
    """Timeouts in seconds, and sizes of requests in rows."""

    connect_timeout_s: int = 5
    """Of each request that connecting takes."""

    timeout_s: int = 60
    """Of one request. The largest is one full upsert that waits until it is on the server's disk."""

    retries: RetryPolicy = DEFAULT_RETRY_POLICY
    lease: LeaseTimes = DEFAULT_LEASE_TIMES
    """Of a rebuild."""

    scan_page: int = 2_000
    queries_per_request: int = 100


DEFAULT_SERVER_TUNING = ServerTuning()
