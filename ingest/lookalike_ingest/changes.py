"""What a collection knows of a folder, and so what each file is to it.

Pure but for the listing that it keeps: nothing here reads images or writes to a store.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from lookalike_core.images.scan import FoundFile
from lookalike_core.stores.points import Payload
from lookalike_core.text import nfc

from lookalike_ingest.payload_cache import Listing, Stamp, is_unchanged


class Change(StrEnum):
    """What a file is to a collection; the counts of an ingest go by these words."""

    UNCHANGED = "unchanged"
    UPDATED = "updated"
    MOVED = "moved"
    ADDED = "added"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about one file.

    `payload` is what its point shall carry, `None` where nothing is to be written. `vector_of` is a
    point whose vector serves, `None` where the image must be embedded or only the payload changes.
    `replaces` is the old point of a file that was moved here, onto another one or not. `before` is what the
    file's own point carries until this is carried out, `None` where there is none.
    """

    change: Change
    payload: Payload | None = None
    payload_only: bool = False
    vector_of: Payload | None = None
    replaces: Payload | None = None
    before: Payload | None = None

    @property
    def writes_vector(self) -> bool:
        """Whether a point is written whole, with its vector."""
        return self.payload is not None and not self.payload_only

    @property
    def embeds(self) -> bool:
        """Whether the network has to look at the image."""
        return self.writes_vector and self.vector_of is None


class Known:
    """The points of one collection, and which of the dataset's files were seen in its folder.

    With `rehash` size and times tell nothing, and every file must be read.
    """

    def __init__(self, dataset: str, listing: Listing, *, rehash: bool = False) -> None:
        self.dataset, self.listing, self._rehash = dataset, listing, rehash
        self._seen = bytearray()
        """By row."""

    @classmethod
    def of(cls, dataset: str, payloads: Iterable[Payload]) -> Self:
        """Takes in everything that the collection holds."""
        return cls(dataset, Listing.of(payloads))

    def add(self, payload: Payload) -> None:
        """Notes a point that is in the collection now; its file was seen."""
        self._note(self.listing.put(payload), seen=True)

    def remove(self, payload: Payload) -> None:
        """Notes that a point is gone."""
        self.listing.drop(payload)

    def has_bytes(self, sha256: str) -> bool:
        """Whether some point carries these very bytes."""
        return self.listing.has_bytes(sha256)

    def see(self, path: str, *, seen: bool = True) -> None:
        """Notes that a file is in the folder, or that it is not after all."""
        stamp = self._stamp(path)
        if stamp is not None:
            self._note(stamp.row, seen=seen)

    def decide_unread(
        self, found: FoundFile, class_name: str | None, synset: str | None = None
    ) -> Decision | None:
        """What size and times tell; None where the file must be read. It was seen."""
        return self._decide_by(self._stamp(found.path), found, class_name, synset)

    def decide_all_unread(
        self, files: Sequence[tuple[FoundFile, str | None, str | None]]
    ) -> list[Decision | None]:
        """`decide_unread` of some hundred files with class and synset, in a third of the time."""
        stamps = self.listing.stamps(self.dataset, [found.path for found, _, _ in files])
        return [self._decide_by(stamps.get(file[0].path), *file) for file in files]

    def _decide_by(
        self, stamp: Stamp | None, found: FoundFile, class_name: str | None, synset: str | None
    ) -> Decision | None:
        if stamp is None:
            return None
        self._note(stamp.row, seen=True)
        if self._rehash or not is_unchanged(stamp, found):
            return None
        if (stamp.class_name, stamp.synset) == (class_name, synset):
            return _UNCHANGED
        if (nfc(stamp.class_name or ""), stamp.synset) == (class_name, synset):
            return _UNCHANGED  # a former version stored the class as the disk had it
        old = self.listing.payload(stamp.row)
        relabelled = replace(old, class_name=class_name, synset=synset)
        return Decision(change=Change.UPDATED, payload=relabelled, payload_only=True, before=old)

    def decide_read(self, payload: Payload, *, is_gone: Callable[[str], bool]) -> Decision:
        """What the bytes tell; `payload` is the file as it is now, `is_gone` asks for another path."""
        old = self._at(payload.path)
        if old is not None and old.sha256 == payload.sha256:
            same_label = (old.class_name, old.synset) == (payload.class_name, payload.synset)
            change = Change.UNCHANGED if same_label else Change.UPDATED
            fresh = replace(
                old,
                class_name=payload.class_name,
                synset=payload.synset,
                bytes=payload.bytes,
                mtime_ns=payload.mtime_ns,
                ctime_ns=payload.ctime_ns,
            )
            if fresh == old:
                return _UNCHANGED
            return Decision(change=change, payload=fresh, payload_only=True, before=old)
        twins = self.listing.with_bytes(payload.sha256)
        if not twins:
            change = Change.ADDED if old is None else Change.UPDATED
            return Decision(change=change, payload=payload, before=old)
        moved_from = next((t for t in twins if self._is_unseen(t) and is_gone(t.path)), None)
        source = moved_from or twins[0]
        from_path = moved_from.path if moved_from else None
        sized = replace(payload, width=source.width, height=source.height, moved_from=from_path)
        change = Change.UPDATED if old else Change.MOVED if moved_from else Change.ADDED
        return Decision(change=change, payload=sized, vector_of=source, replaces=moved_from, before=old)

    def vanished(self, *, unread_folders: Iterable[str] = ()) -> list[Payload]:
        """The dataset's points whose files were not seen, but for those in folders not looked into.

        `unread_folders` are root-relative POSIX paths, `.` the root itself.
        """
        kept = tuple("" if folder == "." else f"{folder}/" for folder in unread_folders)
        rows = [row for row in self.listing.rows(self.dataset) if not self._was_seen(row)]
        gone = (self.listing.payload(row) for row in rows)
        return [payload for payload in gone if not payload.path.startswith(kept)]

    def moved_among(self, gone: Iterable[Payload]) -> list[Payload]:
        """Those of the vanished that a point of the dataset says it was moved from.

        A move writes the new point before it removes the old one, and may be cut off in between. A point
        that came later than the move is another one.
        """
        gone = list(gone)
        moved = {
            (payload.moved_from, payload.sha256): payload.ingested_at
            for payload in (self.listing.moved(self.dataset) if gone else ())
        }
        return [old for old in gone if old.ingested_at <= moved.get((old.path, old.sha256), "")]

    def _at(self, path: str) -> Payload | None:
        stamp = self._stamp(path)
        return None if stamp is None else self.listing.payload(stamp.row)

    def _stamp(self, path: str) -> Stamp | None:
        return self.listing.stamps(self.dataset, [path]).get(path)

    def _is_unseen(self, payload: Payload) -> bool:
        """Whether it is of this dataset and its file was not seen, as yet."""
        stamp = self._stamp(payload.path) if payload.dataset == self.dataset else None
        return stamp is not None and not self._was_seen(stamp.row)

    def _was_seen(self, row: int) -> bool:
        return row < len(self._seen) and bool(self._seen[row])

    def _note(self, row: int, *, seen: bool) -> None:
        if row >= len(self._seen):
            self._seen.extend(bytes(row + 1 - len(self._seen)))
        self._seen[row] = seen


_UNCHANGED = Decision(change=Change.UNCHANGED)
