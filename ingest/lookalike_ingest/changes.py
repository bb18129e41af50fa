"""Decides what each file is to a collection: added, updated, moved or unchanged.

Asks only for known payloads, and reads no images.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from lookalike_core.batched import batched
from lookalike_core.images.scan import FoundFile
from lookalike_core.stores.points import Payload
from lookalike_core.text import nfc

from lookalike_ingest.known_payloads import KnownPayloads, Stamp, is_unchanged
from lookalike_ingest.labels import Label
from lookalike_ingest.parts import Part
from lookalike_ingest.payload_cache import PayloadCache

LOOKED_UP_AT_ONCE = 256
"""How many files or hashes are looked up in a collection at once."""


class Change(StrEnum):
    """What a file is to a collection; reports count files under these names."""

    UNCHANGED = "unchanged"
    UPDATED = "updated"
    MOVED = "moved"
    ADDED = "added"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about one file.

    `payload` is the point's new payload, None if nothing is written. `vector_of` is a point with the same
    bytes, whose vector is copied; None if the image must be embedded or only the payload changes. `replaces`
    is the old point of a moved file.
    """

    change: Change
    payload: Payload | None = None
    payload_only: bool = False
    vector_of: Payload | None = None
    replaces: Payload | None = None

    @property
    def writes_vector(self) -> bool:
        """Whether a vector is written, and not only a payload."""
        return self.payload is not None and not self.payload_only

    @property
    def embeds(self) -> bool:
        """Whether the image must be embedded."""
        return self.writes_vector and self.vector_of is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """The points to remove from one collection (`gone`); `excluded` of them are excluded by the rules.

    `away` are the paths of points that stay although their files are not found: their disk may not be
    mounted. `waiting` are the payloads of points that stay until their files have been missing for the time
    to prune after, each with the time since when; `to_record` are those of them that do not have it yet.
    """

    gone: Sequence[Payload]
    excluded: int
    away: Sequence[str]
    waiting: Sequence[Payload] = ()
    to_record: Sequence[Payload] = ()


class KnownPoints:
    """The points of one collection, and which files of the dataset were seen in its folder.

    The payloads are those of the collection. Decisions that are not applied yet (`expect`) are kept beside
    them until they are (`settle`), so that the next file is decided with them in mind.

    With `rehash`, sizes and times are ignored, and every file must be read.
    """

    def __init__(self, dataset: str, payloads: KnownPayloads, *, rehash: bool = False) -> None:
        self.dataset, self.payloads, self._rehash = dataset, payloads, rehash
        self._expected: dict[str, Payload | None] = {}
        """By path: payloads of the dataset that will be written; None for points that will be removed."""
        self._expected_bytes: dict[str, dict[str, Payload]] = {}
        """The payloads that will be written, by SHA-256 and path."""

    @classmethod
    def of(cls, dataset: str, payloads: Iterable[Payload]) -> Self:
        """Returns the known points of a collection with these payloads."""
        return cls(dataset, PayloadCache.of(payloads))

    def has_bytes(self, sha256: str) -> bool:
        """Returns whether a point has this SHA-256 or is about to; safe to call from any thread."""
        if sha256 in self._expected_bytes:
            return True
        if not self.payloads.has_bytes(sha256):
            return False
        return not self._expected or self._find_stored(sha256) is not None

    def will_have_bytes(self, sha256: str, hashes: Mapping[str, str]) -> bool:
        """Returns whether a point has this SHA-256 or is about to, and keeps it.

        `hashes` are those of the files, by path, that are decided about next; they may overwrite points.
        """
        if sha256 in self._expected_bytes:
            return True
        return any(
            payload.dataset != self.dataset
            or (payload.path not in self._expected and hashes.get(payload.path, sha256) == sha256)
            for payload in self.payloads.find_bytes(sha256)
        )

    def see(self, path: str, *, seen: bool = True) -> None:
        """Marks a file as seen in the folder, or, if `seen` is false, as vanished since."""
        self.payloads.mark_seen(self.dataset, path, seen=seen)

    def decide_by_stat(self, files: Sequence[tuple[FoundFile, Label]]) -> list[Decision | None]:
        """Returns a decision for each of a few hundred files by size and times; None if it must be read.

        Files with points are marked as seen. Points of older versions do not say when their images were
        taken, so that their files are read once more.
        """
        stamps = self.payloads.see(self.dataset, [found.path for found, _ in files])
        return [self._decide_by_stamp(stamps.get(found.path), found, label) for found, label in files]

    def _decide_by_stamp(self, stamp: Stamp | None, found: FoundFile, label: Label) -> Decision | None:
        if stamp is None or self._rehash or not stamp.is_dated or not is_unchanged(stamp, found):
            return None
        is_labelled_so = (stamp.class_name, stamp.synset) == (label.class_name, label.synset) or (
            # a former version stored the class as the disk had it
            (nfc(stamp.class_name or ""), stamp.synset) == (label.class_name, label.synset)
        )
        if is_labelled_so and stamp.missing_since is None:
            return UNCHANGED
        stored = self.payloads.find(self.dataset, found.path)
        if stored is None:
            return None  # removed by another process just now
        old = replace(stored, missing_since=None)
        if is_labelled_so:
            return Decision(change=Change.UNCHANGED, payload=old, payload_only=True)
        relabelled = replace(old, class_name=label.class_name, synset=label.synset)
        return Decision(change=Change.UPDATED, payload=relabelled, payload_only=True)

    def decide_by_bytes(self, payload: Payload, *, is_gone: Callable[[str], bool]) -> Decision:
        """Decides about a file that was read; `payload` is its new one, `is_gone` tests other paths."""
        old = self._find(payload.path)
        if old is not None and old.sha256 == payload.sha256:
            return _refresh(old, payload)
        moved_from = self._find_moved_from(payload.sha256, is_gone)
        source = moved_from or self._find_source(payload.sha256)
        if source is None:
            return Decision(change=Change.ADDED if old is None else Change.UPDATED, payload=payload)
        from_path = moved_from.path if moved_from else None
        sized = replace(payload, width=source.width, height=source.height, moved_from=from_path)
        change = Change.UPDATED if old else Change.MOVED if moved_from else Change.ADDED
        return Decision(change=change, payload=sized, vector_of=source, replaces=moved_from)

    def expect(self, decision: Decision) -> None:
        """Makes later decisions as if this one were applied."""
        if decision.replaces is not None:
            self._expected[decision.replaces.path] = None
        if (payload := decision.payload) is not None:
            self._expected[payload.path] = payload
            self._expected_bytes.setdefault(payload.sha256, {})[payload.path] = payload

    def settle(self, expected: Iterable[Decision], done: Iterable[Decision]) -> None:
        """Records decisions that were applied, and forgets those that were expected."""
        for decision in done:
            if decision.replaces is not None:
                self.remove(decision.replaces)
            if decision.payload is not None:
                self.payloads.put(decision.payload)
                self.payloads.mark_seen(self.dataset, decision.payload.path)
        for decision in expected:
            self._forget(decision)

    def _forget(self, decision: Decision) -> None:
        if decision.replaces is not None:
            self._expected.pop(decision.replaces.path, None)
        if (payload := decision.payload) is not None:
            self._expected.pop(payload.path, None)
            same_bytes = self._expected_bytes.get(payload.sha256, {})
            same_bytes.pop(payload.path, None)
            if not same_bytes:
                self._expected_bytes.pop(payload.sha256, None)

    def remove(self, payload: Payload) -> None:
        """Records that a point was removed."""
        self.payloads.drop(payload)

    def record_missing(self, payload: Payload) -> None:
        """Records the new payload of a point whose file is missing."""
        self.payloads.put(payload)
        self.payloads.mark_seen(payload.dataset, payload.path, seen=False)

    def find_vanished(self, *, unread_folders: Iterable[str] = (), part: Part | None = None) -> list[Payload]:
        """Returns the points of the dataset, or of its part, whose files were not seen.

        Those in folders that could not be read are left out: `unread_folders` are root-relative POSIX paths,
        with `.` for the root itself.
        """
        kept = tuple("" if folder == "." else f"{folder}/" for folder in unread_folders)
        unseen = self.payloads.find_unseen(self.dataset, part)
        return [payload for payload in unseen if not payload.path.startswith(kept)]

    def find_moved_among(self, gone: Iterable[Payload]) -> list[Payload]:
        """Returns the points whose file was moved, according to another point of the dataset.

        A move writes the new point before it removes the old one, and may be interrupted in between. A point
        written after the move belongs to a new file.
        """
        found: list[Payload] = []
        for some in batched(gone, LOOKED_UP_AT_ONCE):
            moved = self._find_moves({payload.sha256 for payload in some})
            found += [old for old in some if old.ingested_at <= moved.get((old.path, old.sha256), "")]
        return found

    def _find_moves(self, hashes: AbstractSet[str]) -> dict[tuple[str, str], str]:
        """Returns the times of moves of files with these SHA-256, by old path and SHA-256."""
        self.payloads.prefetch_bytes(hashes)
        return {
            (new.moved_from, new.sha256): new.ingested_at
            for sha256 in hashes
            for new in self.payloads.find_bytes(sha256)
            if new.dataset == self.dataset and new.moved_from is not None
        }

    def _find(self, path: str) -> Payload | None:
        if path in self._expected:
            return self._expected[path]
        return self.payloads.find(self.dataset, path)

    def _find_source(self, sha256: str) -> Payload | None:
        """Returns the first point with this SHA-256 by path, or the first of those about to be written."""
        expected = self._expected_bytes.get(sha256, {})
        return self._find_stored(sha256) or next(iter(expected.values()), None)

    def _find_stored(self, sha256: str) -> Payload | None:
        stored = self.payloads.find_bytes(sha256)
        return next((each for each in stored if not self._is_superseded(each)), None)

    def _find_moved_from(self, sha256: str, is_gone: Callable[[str], bool]) -> Payload | None:
        """Returns the first point with this SHA-256 whose file was not seen so far, and does not exist."""
        unseen = self.payloads.find_unseen_bytes(self.dataset, sha256)
        return next((each for each in unseen if each.path not in self._expected and is_gone(each.path)), None)

    def _is_superseded(self, payload: Payload) -> bool:
        """Returns whether a point is about to be overwritten or removed."""
        return payload.dataset == self.dataset and payload.path in self._expected


UNCHANGED = Decision(change=Change.UNCHANGED)
"""The decision to write nothing."""


def _refresh(old: Payload, new: Payload) -> Decision:
    """Decides about a file with the same bytes as its point."""
    same_label = (old.class_name, old.synset) == (new.class_name, new.synset)
    fresh = replace(
        old,
        class_name=new.class_name,
        synset=new.synset,
        bytes=new.bytes,
        mtime_ns=new.mtime_ns,
        ctime_ns=new.ctime_ns,
        missing_since=None,
        taken_at=new.taken_at,
    )
    if fresh == old:
        return UNCHANGED
    return Decision(
        change=Change.UNCHANGED if same_label else Change.UPDATED, payload=fresh, payload_only=True
    )
