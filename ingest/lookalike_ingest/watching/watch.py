"""Watches folders: after changes, and once an hour anyway, the ordinary ingest of each folder follows.

Events only say when; what has changed is for the ingest to find, so that no event is needed twice and a lost
one does no harm.
"""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from lookalike_core.atomic import is_disk_full
from lookalike_core.errors import (
    LookalikeError,
    StoreError,
    StoreLockedError,
    StoreRefusedError,
    UsageError,
)
from lookalike_core.hints import Hint
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.logs import get_logger
from lookalike_core.sources.source_path import SourcePath

from lookalike_ingest.image_folder import NoImagesError
from lookalike_ingest.watching.folder_events import FolderEvents
from lookalike_ingest.watching.schedule import DEFAULT_TIMING, Schedule, Trigger, WatchTiming

_logger = get_logger("ingest")

_Report = TypeVar("_Report")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRun(Generic[_Report]):
    """What a run did with one folder: its report, or why there is none.

    With `is_waiting`, the folder is missing or holds no images, so that nothing was done.
    """

    root: Path
    report: _Report | None = None
    problem: str | None = None
    is_waiting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRun(Generic[_Report]):
    """One run of a watch; `folders` are those that it came to before a stop."""

    trigger: Trigger
    folders: Sequence[FolderRun[_Report]]
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedFolders(Generic[_Report]):
    """What to watch, and how to ingest one of the folders.

    `tables` are files whose changes change classes. `ingest` returns a report, and raises as `run_ingest`
    does; `rules_of` returns the rules that a report's folder was walked by. `is_local` says that the store is
    a folder and no server. `poll_s` replaces events by looking through the folders so often.
    """

    roots: Sequence[Path]
    ingest: Callable[[Path], _Report]
    rules_of: Callable[[_Report], FolderRules]
    is_stopped: Callable[[], bool]
    is_local: bool
    tables: Sequence[Path] = ()
    poll_s: float | None = None
    timing: WatchTiming = field(default=DEFAULT_TIMING)


def require_watchable(roots: Sequence[Path]) -> None:
    """Refuses to watch what is no folder of this machine.

    Raises:
        UsageError: a root is in an object store, or a Parquet dataset.
    """
    for root in roots:
        if isinstance(root, SourcePath):
            raise UsageError(
                f"{root} cannot be watched, only folders of this machine can; ingest it when it has changed",
                path=root,
            )


def watch_folders(watched: WatchedFolders[_Report]) -> Generator[WatchRun[_Report], None, None]:
    """Runs ingests as the schedule says, and yields each run, until the watch is stopped.

    What goes wrong in a run is logged once, and the next run tries again: at the next trigger, or, where the
    store is in use or away, after a wait that grows.

    Raises:
        UsageError: the request itself is wrong, by the first ingest of a folder.
        LookalikeError: whatever else keeps a first ingest from ever working: no model, another collection of
            the name, a read-only store.
    """
    events = FolderEvents(watched.roots, watched.tables, poll_s=watched.poll_s, is_stopped=watched.is_stopped)
    attempts = _Attempts(watched, events)
    schedule = Schedule(timing=watched.timing)
    try:
        events.start()
        while not watched.is_stopped():
            due, trigger = schedule.next_run()
            now = time.monotonic()
            if now < due:
                if events.wait(due - now):
                    schedule = schedule.after_change(time.monotonic())
                continue
            schedule = schedule.after_start(now)
            folders = list(attempts.run(schedule))
            ended = time.monotonic()
            schedule = schedule.after_end(ended, is_retried=attempts.is_retried)
            yield WatchRun(trigger=trigger, folders=folders, took_s=ended - now)
    finally:
        events.close()


class _Attempts(Generic[_Report]):
    """The runs of a watch: ingests the folders one after the other, and judges what goes wrong."""

    def __init__(self, watched: WatchedFolders[_Report], events: FolderEvents) -> None:
        self._watched, self._events = watched, events
        self._said: dict[Path, str] = {}
        """What was said last of a folder that is not up to date."""
        self._worked: set[Path] = set()
        """Folders that were ingested before."""
        self.is_retried = False
        """Whether the store was in use or away in the last run."""

    def run(self, schedule: Schedule) -> Generator[FolderRun[_Report], None, None]:
        """Ingests each folder, until the watch is stopped."""
        self.is_retried = False
        for root in self._watched.roots:
            if self._watched.is_stopped():
                return
            yield self._attempt(root, schedule)

    def _attempt(self, root: Path, schedule: Schedule) -> FolderRun[_Report]:
        try:
            if not root.is_dir():
                return self._wait_for(root, f"{root} is not there")
            report = self._watched.ingest(root)
        except NoImagesError as error:
            return self._wait_for(root, f"{root} holds no images", error.hint)
        except (LookalikeError, OSError, MemoryError) as error:
            if not root.is_dir():
                return self._wait_for(root, f"{root} is not there")
            if root not in self._worked and self._is_final(error):
                raise
            return self._note_problem(root, error, schedule)
        self._worked.add(root)
        self._events.apply_rules(root, self._watched.rules_of(report))
        if self._said.pop(root, None) is not None:
            _logger.info("%s: ingested again", root)
        return FolderRun(root=root, report=report)

    def _wait_for(self, root: Path, reason: str, hint: Hint | None = None) -> FolderRun[_Report]:
        self._say(root, reason, f"{reason}; it is waited for, and nothing is removed", hint)
        return FolderRun(root=root, is_waiting=True)

    def _note_problem(
        self, root: Path, error: LookalikeError | OSError | MemoryError, schedule: Schedule
    ) -> FolderRun[_Report]:
        is_retried = isinstance(error, StoreError | StoreLockedError)
        self.is_retried |= is_retried
        reason = _describe(error)
        retry_s = schedule.after_end(0, is_retried=True).retry_s
        then = f"tried again in {retry_s:g} s" if is_retried else "tried again when something changes"
        hint = getattr(error, "hint", None)
        kind = type(error).__name__ if is_retried else reason
        self._say(root, kind, f"warning: {root} was not ingested, {then}: {reason}", hint)
        return FolderRun(root=root, problem=reason)

    def _say(self, root: Path, kind: str, message: str, hint: Hint | None = None) -> None:
        """Logs a message about a folder, unless the last one was of the same kind."""
        if self._said.get(root) != kind:
            self._said[root] = kind
            _logger.warning("%s", message, extra={"hint": hint})

    def _is_final(self, error: LookalikeError | OSError | MemoryError) -> bool:
        """Returns whether an error of a first ingest will come again each time."""
        if isinstance(error, StoreError):
            return self._watched.is_local or isinstance(error, StoreRefusedError)
        may_pass = isinstance(error, StoreLockedError) or type(error) is LookalikeError
        return isinstance(error, LookalikeError) and not may_pass


def _describe(error: LookalikeError | OSError | MemoryError) -> str:
    if isinstance(error, LookalikeError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"out of memory: {error}" if str(error) else "out of memory"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{'the disk is full' if is_disk_full(error) else error.strerror or error}"
