"""A Ray cluster for the length of an ingest: reached or started, quiet, and left as it was found.

Ray prints to stdout, configures loggers, handles SIGTERM and sets environment variables of its host; here it
does none of these for longer than a connection takes, or lasts.
"""

import logging
import os
import signal  # noqa: TID251 - to put back the host's handler, which Ray replaces
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

from lookalike_core import own_process
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.hints import Argument

AUTO = "auto"
"""The address of the cluster that this machine is a node of."""

_PROBE_TIMEOUT_S = 5
_VARIABLES = ("RAY_", "PYTHONBREAKPOINT")
_USAGE_STATS = "RAY_USAGE_STATS_ENABLED"
_OWN_LOG = "RAY_BACKEND_LOG_LEVEL"
_SILENT = logging.CRITICAL + 1


def require_ray() -> None:
    """Refuses the engine where Ray is not installed; imports nothing.

    Raises:
        UsageError: it is not.
    """
    if any(find_spec(name) is None for name in ("ray", "pandas", "pyarrow")):
        raise UsageError(
            'Ray is not installed; install it with: pip install "lookalike[ray]"', argument=Argument.ENGINE
        )


def check_address(address: str | None) -> None:
    """Refuses an address where nothing answers, for which Ray itself would wait long.

    Without an address, that of `RAY_ADDRESS` is checked, which Ray honours.

    Raises:
        UsageError: it is no address of a cluster, or of Ray Client.
        LookalikeError: nothing answers there.
    """
    given = address or os.environ.get("RAY_ADDRESS") or ""
    if given in ("", AUTO, "local"):
        return
    if "://" in given:
        raise UsageError(
            f"{given} is the address of a client, which has no node; run this on a node of the cluster, and "
            "use auto, or the HOST:PORT of its head",
            argument=Argument.ADDRESS,
        )
    host, _, port = given.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UsageError(
            f"{given!r} is not the address of a cluster; use auto, or the HOST:PORT of its head, such as "
            "10.0.0.1:6379",
            argument=Argument.ADDRESS,
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_TIMEOUT_S).close()
    except OSError as error:
        raise LookalikeError(
            f"no Ray cluster answers at {given} ({error.strerror or error}); start its head "
            "(ray start), or leave the address out to use this machine alone"
        ) from error


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connects to the cluster for the length of a block, or starts one on this machine without an address.

    A cluster that the host application is connected to already is used, and stays connected.

    Raises:
        LookalikeError: the cluster cannot be reached or started.
    """
    with _quiet():
        import ray

        if ray.is_initialized():
            yield
            return
        with ExitStack() as stack:
            stack.callback(ray.shutdown)
            try:
                with _as_before(), _without_stderr():
                    is_there = address or os.environ.get("RAY_ADDRESS")
                    ray.init(
                        address=address if is_there else "local",
                        log_to_driver=False,
                        include_dashboard=None if is_there else False,
                        logging_level=_SILENT,
                    )
            except (Exception, SystemExit) as error:
                raise LookalikeError(
                    f"no Ray cluster can be used at {address or 'this machine'} ({_first_line(error)}); "
                    "see: ray status"
                ) from error
            yield


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Drops what is written to stderr within, in a command's own process: Ray's core says how it logs."""
    if not own_process.is_own():
        yield
        return
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def _as_before() -> Iterator[None]:
    """Restores what Ray changes of its host: environment variables, and the handler of SIGTERM.

    Usage reports are off within, unless the user has decided about them.
    """
    before = {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    if _USAGE_STATS not in os.environ and not _has_usage_config():
        os.environ[_USAGE_STATS] = "0"
    if _OWN_LOG not in os.environ and own_process.is_own():
        os.environ[_OWN_LOG] = "fatal"  # the rest goes to stderr
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith(_VARIABLES)]:
            del os.environ[name]
        os.environ.update(before)
        if is_main and handler is not None:
            signal.signal(signal.SIGTERM, handler)


def _has_usage_config() -> bool:
    """Returns whether Ray's own file says if reports are wanted."""
    named = os.environ.get("RAY_USAGE_STATS_CONFIG_PATH")
    return os.path.exists(named or os.path.expanduser("~/.ray/config.json"))  # noqa: PTH110, PTH111


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences Ray's loggers, and what it prints of its nodes to stdout."""
    with _as_before():
        import ray
        import ray.data

    levels: list[tuple[Any, int]] = []
    noisy: list[Any]
    for name in ("ray", "ray.data"):
        logger = logging.getLogger(name)
        noisy = [logger, *logger.handlers]
        levels += [(each, each.level) for each in noisy]
    worker: Any = ray._private.worker  # noqa: SLF001 - no option silences its thread of messages
    prints = getattr(worker, "_worker_logs_enabled", True)
    try:
        worker._worker_logs_enabled = False  # noqa: SLF001
        for each, _ in levels:
            each.setLevel(_SILENT)
        yield
    finally:
        worker._worker_logs_enabled = prints  # noqa: SLF001
        for each, level in levels:
            each.setLevel(level)
