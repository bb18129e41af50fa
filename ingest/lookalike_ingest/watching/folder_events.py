"""Waits for changes in folders by the events of the operating system, or by comparing times at intervals."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.folder_rules import DEFAULT_RULES, FolderRules
from lookalike_core.logs import get_logger

from lookalike_ingest.watching.network_file_systems import find_network_file_system
from lookalike_ingest.watching.relevance import Event, EventKind, is_relevant

_logger = get_logger("ingest")

POLLED_EVERY_S = 60.0
"""How often folders are looked through where the system has no events for them."""

_STEP_S = 0.1
"""How long is waited for events at a time, so that a stop is noticed."""
_GROUPED_S = 1.0
"""How long events that keep coming are collected."""
_LOOKED_AT_EVERY_S = 1.0
"""How often roots and tables are looked at, whose changes have no events of their own."""

_Identity = tuple[int, int] | None
_Stamp = tuple[int, int, int] | None


class FolderEvents:
    """Watches folders and their subfolders, also those behind links, and single files (`tables`).

    A root that appears, disappears or is replaced, as by mounting a disk, is a change too. With `poll_s`
    folders are looked through so often instead.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        tables: Sequence[Path],
        *,
        poll_s: float | None,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._roots, self._tables, self._is_stopped = roots, tables, is_stopped
        self._poll_s = poll_s
        self._exclusions = dict.fromkeys(roots, DEFAULT_RULES.exclusion)
        self._identities: Mapping[Path, _Identity] = {}
        self._stamps = _read_stamps(tables)
        self._events: Iterator[set[Event]] | None = None
        self._looked_at = time.monotonic()
        self._said: set[str] = set()

    def apply_rules(self, root: Path, rules: FolderRules) -> None:
        """Ignores events of what these rules exclude from a root."""
        self._exclusions[root] = rules.exclusion

    def start(self) -> None:
        """Starts to watch; changes from then on are found by the next wait."""
        self._identities = _read_identities(self._roots)
        if self._poll_s is None:
            self._advise_polling()
        self._watch_again()

    def wait(self, timeout_s: float) -> bool:
        """Waits for a change that may matter for at most this time; returns whether there was one.

        Returns False when the watch was stopped.
        """
        until = time.monotonic() + timeout_s
        while not self._is_stopped():
            is_changed = self._look_at_places()
            events = self._next_events()
            if is_changed or any(map(self._is_relevant, events)):
                return True
            if time.monotonic() >= until:
                return False
        return False

    def close(self) -> None:
        """Ends the watch."""
        self._events = None

    def _next_events(self) -> set[Event]:
        """Returns the next events; waits at most a step for the first of them."""
        if self._events is None:
            time.sleep(_STEP_S)
            return set()
        try:
            events = next(self._events, set())
        except OSError as error:
            self._poll_instead(str(error))
            return set()
        except RuntimeError as error:  # such as a name that is not valid UTF-8, or no room for a new folder
            _logger.debug("the watch of folders begins again: %s", error)
            self._watch_again()
            return {_unknown_event(self._roots[0])}
        if any(event.kind is EventKind.ADDED and os.path.islink(event.path) for event in events):  # noqa: PTH114
            self._watch_again()  # what is behind a new link is not watched yet
        return events

    def _is_relevant(self, event: Event) -> bool:
        for root in self._roots:
            if Path(event.path).is_relative_to(root):
                return is_relevant(event, str(root), self._exclusions[root])
        return is_relevant(event, "", DEFAULT_RULES.exclusion)

    def _look_at_places(self) -> bool:
        """Returns whether a root or a table is not what it was; looks once a second."""
        if time.monotonic() - self._looked_at < _LOOKED_AT_EVERY_S:
            return False
        self._looked_at = time.monotonic()
        identities, stamps = _read_identities(self._roots), _read_stamps(self._tables)
        is_changed = (identities, stamps) != (self._identities, self._stamps)
        if identities != self._identities:
            self._identities = identities
            self._watch_again()
        self._stamps = stamps
        return is_changed

    def _watch_again(self) -> None:
        """Watches the roots that are there; polls them if the system cannot tell of changes."""
        present = [root for root, identity in self._identities.items() if identity is not None]
        self._events = None
        if not present:
            return
        try:
            self._events = _watch(present, poll_s=self._poll_s, is_stopped=self._is_stopped)
            next(self._events, None)  # watches from here on
        except FileNotFoundError:  # a folder has just gone; the next look watches again
            self._events, self._identities = None, {}
        except (OSError, RuntimeError) as error:
            self._poll_instead(str(error))

    def _poll_instead(self, reason: str) -> None:
        """Looks through the folders at intervals from now on, and says so."""
        self._events = None
        is_polled = self._poll_s is not None
        self._poll_s = self._poll_s or POLLED_EVERY_S
        if reason not in self._said:
            self._said.add(reason)
            _logger.warning("%s", _describe_failure(reason, self._poll_s))
        if not is_polled:
            with suppress(OSError, RuntimeError):
                present = [root for root, identity in self._identities.items() if identity is not None]
                self._events = _watch(present, poll_s=self._poll_s, is_stopped=self._is_stopped)
                next(self._events, None)

    def _advise_polling(self) -> None:
        """Tells of roots on network file systems, where changes by other machines have no events."""
        for root in self._roots:
            kind = find_network_file_system(root)
            if kind is not None:
                _logger.warning(
                    "warning: %s is on a network file system (%s), where changes by other machines may be "
                    "noticed after an hour",
                    root,
                    kind,
                    extra={"hint": Hint(Action.USE, {Argument.POLL: f"{POLLED_EVERY_S:.0f}"})},
                )


def _unknown_event(root: Path) -> Event:
    """Returns an event that matters, for changes that were lost."""
    return Event(kind=EventKind.DELETED, path=str(root), is_folder=False)


class _Stop:
    """A stop as watchfiles asks for it."""

    def __init__(self, is_stopped: Callable[[], bool]) -> None:
        self.is_set = is_stopped


def _watch(
    roots: Sequence[Path], *, poll_s: float | None, is_stopped: Callable[[], bool]
) -> Iterator[set[Event]]:
    """Yields what has happened in the last step, also if nothing has.

    Raises:
        OSError: the system cannot watch the folders.
        RuntimeError: it could not watch a new folder.
        KeyboardInterrupt: a signal handler raised it.
    """
    import watchfiles

    kinds = {
        watchfiles.Change.added: EventKind.ADDED,
        watchfiles.Change.modified: EventKind.MODIFIED,
        watchfiles.Change.deleted: EventKind.DELETED,
    }
    changes = watchfiles.watch(
        *roots,
        watch_filter=None,
        debounce=round(_GROUPED_S * 1000),
        step=round(_STEP_S * 1000),
        stop_event=_Stop(is_stopped),
        rust_timeout=round(_STEP_S * 1000),
        yield_on_timeout=True,
        force_polling=None if poll_s is None else True,
        poll_delay_ms=round((poll_s or POLLED_EVERY_S) * 1000),
        ignore_permission_denied=poll_s is not None,  # it would hide that the limit is reached as well
    )
    for some in changes:
        yield {
            Event(kind=kinds[kind], path=path, is_folder=os.path.isdir(path))  # noqa: PTH112 - many
            for kind, path in some
        }


def _describe_failure(reason: str, poll_s: float) -> str:
    """Returns the message that the system cannot tell of changes, with the remedy if a limit is reached."""
    text = reason.lower()
    instead = f"they are looked through every {poll_s:g} s instead"
    if "limit" in text or "no space left" in text or "os error 28" in text:
        return (
            "warning: the folders have more subfolders than the system may watch, so "
            f"{instead}; raise the limit with: sysctl fs.inotify.max_user_watches=1048576"
        )
    if "too many open files" in text or "os error 24" in text:
        return (
            f"warning: too many programs of this user watch folders, so {instead}; raise the limit with: "
            "sysctl fs.inotify.max_user_instances=1024"
        )
    return f"warning: the system cannot watch the folders ({reason}), so {instead}"


def _read_identities(roots: Sequence[Path]) -> dict[Path, _Identity]:
    """Returns device and inode of each root; None for those that are no folders now."""
    return {root: _read_identity(root) for root in roots}


def _read_identity(root: Path) -> _Identity:
    try:
        status = root.stat()
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if root.is_dir() else None


def _read_stamps(tables: Sequence[Path]) -> dict[Path, _Stamp]:
    """Returns inode, size and time of each table; None for those that are not there now."""
    return {table: _read_stamp(table) for table in tables}


def _read_stamp(table: Path) -> _Stamp:
    try:
        status = table.stat()
    except (OSError, ValueError):
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns)
