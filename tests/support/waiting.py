"""Waits for conditions: as long as a busy machine may take, and no longer than they need."""

import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""How long anything is waited for that takes milliseconds on an idle machine."""


def wait_until(is_so: Callable[[], object], *, timeout_s: float = PATIENCE_S, every_s: float = 0.01) -> None:
    """Waits until a condition holds, which is looked at every few milliseconds."""
    until = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < until, f"still not so after {timeout_s:g} s"
        time.sleep(every_s)
