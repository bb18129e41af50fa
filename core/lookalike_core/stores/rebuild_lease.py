"""A lease for rebuilding or copying a collection on a server, in its metadata: servers have no locks.

The process that does so updates the lease every few seconds. Another process that sees the lease change
stops with an error; if the lease does not change, because that process has died, it takes over. Clocks are
not compared. A process that was suspended for that long notices the takeover before it replaces anything.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from lookalike_core.errors import StoreLockedError
from lookalike_core.logs import get_logger

_logger = get_logger("stores")

Read = Callable[[], Mapping[str, Any]]
Write = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """How often a process updates its lease, and how long it watches that of another."""

    beat_s: float = 2.0
    """Seconds between two updates of the lease."""

    watch_s: float = 10.0
    """How long another's lease is watched before its process counts as dead: several beats of a busy one."""

    settle_s: float = 0.2
    """Seconds from writing the lease to checking whether another process has written one too."""

    poll_s: float = 0.25
    """Seconds between two reads of another's lease."""


DEFAULT_LEASE_TIMES = LeaseTimes()

_LAST_BEAT_S = 10.0
"""Seconds that an update in hand is waited for at the end."""


class Lease:
    """The exclusive right to rebuild a collection; `read` and `write` access its record."""

    def __init__(
        self,
        name: str,
        *,
        read: Read,
        write: Write,
        times: LeaseTimes = DEFAULT_LEASE_TIMES,
        doing: str = "rebuilt",
    ) -> None:
        self._doing = doing
        self._times = times
        self._name, self._read, self._write = name, read, write
        self._token = secrets.token_hex(8)
        self._beat = 0
        self._ended = threading.Event()

    @property
    def said(self) -> dict[str, Any]:
        """The record that is written."""
        return {
            "token": self._token,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "beat": self._beat,
        }

    def require(self) -> None:
        """Checks that no other process has taken over.

        Raises:
            StoreLockedError: another has; the message names it.
        """
        if (holder := self._read()) and holder.get("token") != self._token:
            raise self._locked(holder)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the lease for the length of a block; logs that it has to be waited for.

        Raises:
            StoreLockedError: another process rebuilds the collection.
        """
        self._watch()
        self._write(self.said)
        time.sleep(self._times.settle_s)  # of two in the same instant the later one has it
        self.require()
        beating = threading.Thread(target=self._go_on, name=f"rebuild of {self._name}", daemon=True)
        beating.start()
        try:
            yield
        finally:
            self._ended.set()
            beating.join(timeout=_LAST_BEAT_S)  # what it still writes would outlast the lease
            with suppress(Exception):  # a lease that is not updated expires anyway
                if self._read().get("token") == self._token:
                    self._write({})

    def _watch(self) -> None:
        """Waits until the lease is free, or has not changed for `watch_s`."""
        seen = self._read()
        if not seen:
            return
        _logger.info(
            "%s is being %s by %s; checking whether that is still running (%g s)",
            self._name,
            self._doing,
            _who(seen),
            self._times.watch_s,
        )
        until = time.monotonic() + self._times.watch_s
        while time.monotonic() < until:
            time.sleep(self._times.poll_s)
            now = self._read()
            if not now:
                return
            if now != seen:
                raise self._locked(now)

    def _go_on(self) -> None:
        while not self._ended.wait(self._times.beat_s):
            with suppress(Exception):  # the server may be away for a moment
                if self._read().get("token", self._token) != self._token:
                    return
                self._beat += 1
                self._write(self.said)

    def _locked(self, holder: Mapping[str, Any]) -> StoreLockedError:
        who = _who(holder)
        return StoreLockedError(
            f"{self._name} is being {self._doing} by {who}; wait for it to end", holder=who
        )


def _who(holder: Mapping[str, Any]) -> str:
    return f"process {holder.get('process')} on {holder.get('host')}"
