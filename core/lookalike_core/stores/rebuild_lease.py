"""Who rebuilds a collection on a server: said in the collection's metadata, since a server knows no locks.

Whoever rebuilds says so again every few seconds. Another process sees that go on and stops, or sees it stand
still, because that process has died, and takes over. Clocks are not compared. A process that was only held up
for so long notices that another has taken over before it replaces anything.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from lookalike_core.errors import StoreLockedError
from lookalike_core.logs import logger_of

_logger = logger_of("stores")

BEAT_S = 2.0
"""Between two times that a process says that it is still at it."""

WATCH_S = 10.0
"""How long another is watched before it is taken for dead: several beats of a busy process."""

_SETTLE_S = 0.2
_POLL_S = 0.25

Read = Callable[[], Mapping[str, Any]]
Write = Callable[[Mapping[str, Any]], None]


class Lease:
    """The right to rebuild a collection; `read` and `write` are where it is said."""

    def __init__(self, name: str, *, read: Read, write: Write) -> None:
        self._name, self._read, self._write = name, read, write
        self._token = secrets.token_hex(8)
        self._beat = 0
        self._ended = threading.Event()

    @property
    def said(self) -> dict[str, Any]:
        """What is said of it now."""
        return {
            "token": self._token,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "beat": self._beat,
        }

    def require(self) -> None:
        """Sees that nobody has taken over.

        Raises:
            StoreLockedError: somebody has; the message says who.
        """
        if (holder := self._read()) and holder.get("token") != self._token:
            raise self._locked(holder)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds it for the length of a block; logs that it has to be waited for.

        Raises:
            StoreLockedError: another process rebuilds the collection.
        """
        self._watch()
        self._write(self.said)
        time.sleep(_SETTLE_S)  # of two in the same instant the later one has it
        self.require()
        beating = threading.Thread(target=self._go_on, name=f"rebuild of {self._name}", daemon=True)
        beating.start()
        try:
            yield
        finally:
            self._ended.set()
            beating.join(timeout=BEAT_S)
            with suppress(Exception):  # it stands still from now on, which says the same
                if self._read().get("token") == self._token:
                    self._write({})

    def _watch(self) -> None:
        """Waits until nobody holds it, or whoever does is seen to stand still."""
        seen = self._read()
        if not seen:
            return
        _logger.info(
            "a rebuild of %s was begun by %s; seeing whether it goes on (%g s)",
            self._name,
            _who(seen),
            WATCH_S,
        )
        until = time.monotonic() + WATCH_S
        while time.monotonic() < until:
            time.sleep(_POLL_S)
            now = self._read()
            if not now:
                return
            if now != seen:
                raise self._locked(now)

    def _go_on(self) -> None:
        while not self._ended.wait(BEAT_S):
            with suppress(Exception):  # the server may be away for a moment
                if self._read().get("token", self._token) != self._token:
                    return
                self._beat += 1
                self._write(self.said)

    def _locked(self, holder: Mapping[str, Any]) -> StoreLockedError:
        who = _who(holder)
        return StoreLockedError(f"{self._name} is being rebuilt by {who}; wait for it to end", holder=who)


def _who(holder: Mapping[str, Any]) -> str:
    return f"process {holder.get('process')} on {holder.get('host')}"
