"""Requests to a server: retried after transient faults, with errors translated.

Every request is idempotent: points, payloads and manifests are written whole, and a second deletion changes
nothing.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from lookalike_core.errors import LookalikeError
from lookalike_core.logs import get_logger
from lookalike_core.stores.address import NO_SECRETS, Secrets
from lookalike_core.stores.faults import Fault, FaultKind, error_for, fault_of, without_secrets
from lookalike_core.stores.peer_faults import PeerFault

if TYPE_CHECKING:
    from tenacity import RetryCallState

_logger = get_logger("stores")

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How many attempts a request gets, and the wait before each retry.

    The default waits about 0.5, 1.5, 4.5 and 13.5 s: 20 s in all, enough for a server to restart.
    """

    tries: int = 5
    first_wait_s: float = 0.5
    longest_wait_s: float = 15.0
    wait_growth: float = 3
    longest_retry_after_s: float = 60.0
    """The upper limit on a wait that a server asks for."""


DEFAULT_RETRY_POLICY = RetryPolicy()

ExplainPeers = Callable[[PeerFault, str | None], str]
"""Returns which peers were missing for a request and what to do, given what the server calls its collection;
"" if that is not known."""


class Requests:
    """The requests to one server. Every wait is logged as one line, unless they are `silent`.

    `explain_peers` is asked about a failure that is of other peers of the server's cluster.
    """

    def __init__(
        self,
        label: str,
        *,
        secrets: Secrets = NO_SECRETS,
        silent: bool = False,
        policy: RetryPolicy = DEFAULT_RETRY_POLICY,
        explain_peers: ExplainPeers | None = None,
    ) -> None:
        self.label = label
        self._secrets = secrets
        self._policy = policy
        self._silent = silent
        self._explain_peers = explain_peers

    def without_log(self) -> "Requests":
        """Returns the same requests without logging of waits."""
        return Requests(
            self.label,
            secrets=self._secrets,
            silent=True,
            policy=self._policy,
            explain_peers=self._explain_peers,
        )

    def make(
        self,
        request: Callable[[], _Answer],
        doing: str,
        *,
        collection: str | None = None,
        asked_as: str | None = None,
        check: Callable[[], object] | None = None,
        tries: int | None = None,
    ) -> _Answer:
        """Returns the result of `request`, which is retried by the policy after transient faults.

        `asked_as` is what the server calls the collection, if that is not its name. `check` is called before
        each retry, and after a refusal that it may explain better: it raises one of our errors if a retry
        would be wrong.

        Raises:
            CollectionMissingError: the server does not have `collection`.
            ManifestError: the server has it already.
            StoreError: any other fault; a `TooLargeError` if fewer rows would be accepted.
        """
        numbers = count()

        def attempt() -> _Answer:
            if next(numbers) and check is not None:
                check()
            return request()

        try:
            return self._tried(attempt, doing, tries or self._policy.tries)
        except (LookalikeError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever httpx, gRPC and the client raise
            failed = error
        # out of the handler, or a traceback would show beside our error what the libraries said
        made = next(numbers)
        fault = fault_of(failed, self._secrets)
        if fault.kind in (FaultKind.UNFIT, FaultKind.MISSING) and check is not None:
            _explain(check)
        tried = f" ({made} tries)" if made > 1 else ""
        message = f"{doing} failed on {self.label}: {fault.reason}{tried}"
        missing = self._find_missing_peers(fault, asked_as or collection)
        raise error_for(fault, message, collection=collection, missing_peers=missing) from without_secrets(
            failed, fault, self._secrets
        )

    def _find_missing_peers(self, fault: Fault, collection: str | None) -> str:
        """Returns which peers a failed request lacked; "" if it was not for them, or that is not known."""
        if fault.peers is None or not fault.lacks_peers or self._explain_peers is None:
            return ""
        with _waiting(), suppress(Exception):  # the fault itself is to be reported
            return self._secrets.redact(self._explain_peers(fault.peers, collection))
        return ""

    def _tried(self, attempt: Callable[[], _Answer], doing: str, tries: int) -> _Answer:
        from tenacity import Retrying, retry_if_exception, stop_after_attempt

        waits: list[str] = []

        def note(state: "RetryCallState") -> None:
            reason = fault_of(_error(state), self._secrets).reason
            again = f"again in {state.upcoming_sleep:.1f} s (try {state.attempt_number + 1} of {tries})"
            waits.append(f"{doing} failed on {self.label}: {reason}; {again}")

        def wait(seconds: float) -> None:
            with _waiting():  # before it is said, for who reads that may press Ctrl-C at once
                if not self._silent:
                    _logger.warning("%s", waits[-1])
                time.sleep(seconds)

        retrying = Retrying(
            retry=retry_if_exception(_is_transient),
            stop=stop_after_attempt(tries),
            wait=self._wait_s,
            before_sleep=note,
            sleep=wait,
            reraise=True,
        )
        return retrying(attempt)

    def _wait_s(self, state: "RetryCallState") -> float:
        """Returns the wait before a retry, longer each time, with jitter so that processes retry apart."""
        from tenacity import wait_exponential, wait_random

        policy, asked = self._policy, fault_of(_error(state)).retry_after_s
        if asked is not None:
            return min(max(asked, 0.0), policy.longest_retry_after_s)
        growing = wait_exponential(
            multiplier=policy.first_wait_s, max=policy.longest_wait_s, exp_base=policy.wait_growth
        )
        return float(growing(state)) + float(wait_random(0, policy.first_wait_s / 2)(state))


def is_waiting() -> bool:
    """Returns whether this thread waits for a retry, which a signal handler may end at once."""
    return threading.get_ident() in _waiting_threads


def _explain(check: Callable[[], object]) -> None:
    """Calls `check`, which may raise one of our errors; other failures of the check are ignored."""
    try:
        check()
    except LookalikeError:
        raise
    except Exception:  # noqa: BLE001 - the refusal is the better message
        return


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, LookalikeError) or not isinstance(error, Exception):
        return False
    return fault_of(error).is_transient


def _error(state: "RetryCallState") -> Exception:
    """Returns the exception of the attempt that has just failed, which `_is_transient` has classified."""
    error = state.outcome.exception() if state.outcome is not None else None
    return error if isinstance(error, Exception) else RuntimeError("nothing failed")


@contextmanager
def _waiting() -> Iterator[None]:
    """Marks a wait of this thread for `is_waiting`."""
    thread = threading.get_ident()
    _waiting_threads.add(thread)
    try:
        yield
    finally:
        _waiting_threads.discard(thread)


_waiting_threads: set[int] = set()
