"""Runs a command or a function as a process, and watches the memory that it and its children take (Linux)."""

import multiprocessing
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from store import allocated_bytes

SAMPLED_S = 0.02
DISK_SAMPLED_S = 1.0

_Words = ParamSpec("_Words")
_Answer = TypeVar("_Answer")


@dataclass(slots=True, kw_only=True)
class Usage:
    """What a process and its children took: wall clock and processor time in seconds, memory in bytes.

    `anonymous` is the peak of the sum of all processes' anonymous memory (RssAnon), sampled every 20 ms;
    `disk` that of the blocks of files below a folder, sampled every second, 0 if none was named.
    """

    seconds: float = 0.0
    cpu_s: float = 0.0
    anonymous: int = 0
    disk: int = 0


def run_command(command: list[str], *, disk: Path | None = None) -> tuple[str, Usage]:
    """Runs a command, which must succeed; returns what it printed, and what it took."""
    with _measured(disk) as (usage, watch):
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        watch(process.pid)
        out, said = process.communicate()
        usage.seconds = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {said[-2000:]}")
    return out, usage


def run_function(
    function: Callable[_Words, _Answer],
    /,
    *words: _Words.args,
    disk: Path | None = None,
    **named: _Words.kwargs,
) -> tuple[_Answer, Usage]:
    """Calls a function in a new process; returns its answer, and what the process took."""
    with (
        _measured(disk) as (usage, watch),
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        watch(pool.submit(_own_pid).result())
        started = time.perf_counter()
        answer = pool.submit(function, *words, **named).result()
        usage.seconds = time.perf_counter() - started
    return answer, usage


def tree_anonymous(pid: int) -> int:
    """Returns the bytes of anonymous memory of a process and of all below it; 0 for one that has ended."""
    total = 0
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1]) * 1024
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            total += sum(map(tree_anonymous, map(int, children.read_text(encoding="utf-8").split())))
    return total


def folder_bytes(folder: Path) -> int:
    """Returns the bytes of the blocks of all files below a folder; they may change meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += allocated_bytes(path) if path.is_file() else 0
    return total


@contextmanager
def _measured(disk: Path | None) -> Iterator[tuple[Usage, Callable[[int], None]]]:
    """Yields an empty record, and what begins to watch a process; the block must wait for the process."""
    usage, ended, threads = Usage(), threading.Event(), list[threading.Thread]()

    def watch_memory(pid: int) -> None:
        while not ended.wait(SAMPLED_S):
            usage.anonymous = max(usage.anonymous, tree_anonymous(pid))

    def watch_disk(folder: Path) -> None:
        while not ended.wait(DISK_SAMPLED_S):
            usage.disk = max(usage.disk, folder_bytes(folder))

    def watch(pid: int) -> None:
        threads.append(threading.Thread(target=watch_memory, args=(pid,)))
        if disk is not None:
            threads.append(threading.Thread(target=watch_disk, args=(disk,)))
        for thread in threads:
            thread.start()

    before = _children_cpu_s()
    try:
        yield usage, watch
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        usage.cpu_s = _children_cpu_s() - before
        if disk is not None:
            usage.disk = max(usage.disk, folder_bytes(disk))


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _own_pid() -> int:
    import os

    return os.getpid()
