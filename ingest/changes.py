"""What a collection knows of a folder, and so what each file is to it.

Pure: nothing here reads files or writes to a store.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from lookalike.pictures.scan import FoundFile
from lookalike.stores.points import Payload


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
    point whose vector serves, `None` where the picture must be embedded or only the payload changes.
    `replaces` is the old point of a file that was moved here, onto another one or not.
    """

    change: Change
    payload: Payload | None = None
    payload_only: bool = False
    vector_of: Payload | None = None
    replaces: Payload | None = None

    @property
    def writes_vector(self) -> bool:
        """Whether a point is written whole, with its vector."""
        return self.payload is not None and not self.payload_only

    @property
    def embeds(self) -> bool:
        """Whether the network has to look at the picture."""
        return self.writes_vector and self.vector_of is None


@dataclass(slots=True)
class Known:
    """The points of one collection: those of the dataset by path, all of them by their bytes."""

    dataset: str
    by_path: dict[str, Payload] = field(default_factory=dict)
    by_sha256: dict[str, list[Payload]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, dataset: str, payloads: Iterable[Payload]) -> "Known":
        """Takes in everything that the collection holds."""
        known = cls(dataset)
        for payload in payloads:
            known.add(payload)
        return known

    def add(self, payload: Payload) -> None:
        """Notes a point that is in the collection now."""
        if payload.dataset == self.dataset:
            before = self.by_path.get(payload.path)
            if before is not None:
                self.remove(before)
            self.by_path[payload.path] = payload
        self.by_sha256[payload.sha256].append(payload)

    def remove(self, payload: Payload) -> None:
        """Notes that a point is gone."""
        if payload.dataset == self.dataset:
            self.by_path.pop(payload.path, None)
        same = self.by_sha256[payload.sha256]
        same[:] = [other for other in same if other.id != payload.id]

    def has_bytes(self, sha256: str) -> bool:
        """Whether some point carries these very bytes."""
        return bool(self.by_sha256.get(sha256))

    def decide_unread(
        self, found: FoundFile, class_name: str | None, synset: str | None = None
    ) -> Decision | None:
        """What size and time tell; None where the file must be read."""
        old = self.by_path.get(found.path)
        if old is None or (old.bytes, old.mtime_ns) != (found.bytes, found.mtime_ns):
            return None
        if (old.class_name, old.synset) == (class_name, synset):
            return Decision(change=Change.UNCHANGED)
        relabelled = replace(old, class_name=class_name, synset=synset)
        return Decision(change=Change.UPDATED, payload=relabelled, payload_only=True)

    def decide_read(self, payload: Payload, *, is_gone: Callable[[str], bool]) -> Decision:
        """What the bytes tell; `payload` is the file as it is now, `is_gone` asks for another path."""
        old = self.by_path.get(payload.path)
        if old is not None and old.sha256 == payload.sha256:
            same_label = (old.class_name, old.synset) == (payload.class_name, payload.synset)
            change = Change.UNCHANGED if same_label else Change.UPDATED
            fresh = replace(
                old,
                class_name=payload.class_name,
                synset=payload.synset,
                bytes=payload.bytes,
                mtime_ns=payload.mtime_ns,
            )
            return Decision(change=change, payload=fresh, payload_only=True)
        twins = self.by_sha256.get(payload.sha256) or []
        if not twins:
            return Decision(change=Change.ADDED if old is None else Change.UPDATED, payload=payload)
        moved_from = next((t for t in twins if t.dataset == self.dataset and is_gone(t.path)), None)
        source = moved_from or twins[0]
        before = moved_from.path if moved_from else None
        sized = replace(payload, width=source.width, height=source.height, moved_from=before)
        change = Change.UPDATED if old else Change.MOVED if moved_from else Change.ADDED
        return Decision(change=change, payload=sized, vector_of=source, replaces=moved_from)

    def vanished(self, seen: Iterable[str], *, unread_folders: Iterable[str] = ()) -> list[Payload]:
        """The dataset's points whose files were not seen, but for those in folders not looked into.

        `unread_folders` are root-relative POSIX paths, `.` the root itself.
        """
        kept = tuple("" if folder == "." else f"{folder}/" for folder in unread_folders)
        gone = self.by_path.keys() - set(seen)
        return [self.by_path[path] for path in gone if not path.startswith(kept)]

    def moved_among(self, gone: Iterable[Payload]) -> list[Payload]:
        """Those of the vanished that a point of the dataset says it was moved from.

        A move writes the new point before it removes the old one, and may be cut off in between. A point
        that came later than the move is another one.
        """
        moved = {
            (payload.moved_from, payload.sha256): payload.ingested_at
            for payload in self.by_path.values()
            if payload.moved_from is not None
        }
        return [old for old in gone if old.ingested_at <= moved.get((old.path, old.sha256), "")]
