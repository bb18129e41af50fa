"""The points of one embedded collection: the engine's shard, loaded when it is first needed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lookalike_core.arrays import FloatVector
from lookalike_core.atomic import parse_json, sync_tree
from lookalike_core.errors import StoreError
from lookalike_core.stores.edge_engine import EngineTuning, engine_errors, require_room, require_space
from lookalike_core.stores.edge_requests import filter_of, index_of
from lookalike_core.stores.local_folder import LOG, SHARD, only_readable
from lookalike_core.stores.mapped_files import SEVERAL, MappingAhead
from lookalike_core.stores.points import CLASS, EVERYTHING, INDEXED_FIELDS, PointFilter, as_vector

if TYPE_CHECKING:
    from uuid import UUID

    import qdrant_edge

_Answer = TypeVar("_Answer")

_NO_POINT = "00000000-0000-0000-0000-000000000000"
"""An id that no point has; operations on it have no effect."""

_COUNTED = (CLASS, "dataset")
"""Fields whose values are counted in every collection, which the engine does only by their index."""

_MOST_OPERATIONS = 2_000_000
"""More than a collection of a hundred million images needs; a higher number means damage."""

_THE_VECTOR = ""
"""The name of each point's one vector."""


class Shard:
    """The shard of the collection in `folder`, or a read-only `view` of it.

    It can be closed at any time, and is loaded again when it is next needed. `on_load` then gets the number
    of points with a vector.
    """

    def __init__(
        self,
        folder: Path,
        *,
        view: Path | None,
        tuning: EngineTuning,
        on_load: Callable[[int], None],
    ) -> None:
        self.folder = folder
        self.path = view or folder / SHARD
        self.tuning = tuning
        self.points: int | None = None
        """The count at the last load; None after a write."""
        self._is_view = view is not None
        self._on_load = on_load
        self.is_synced = True
        """Whether all writes are synced to the disk; code that writes to a closed shard sets it to False."""
        self._searches = 0
        self._mapping: MappingAhead | None = None

    @cached_property
    def _edge(self) -> "qdrant_edge.EdgeShard":
        import qdrant_edge as edge

        require_space(self.path, self.tuning.spare_to_open_bytes)
        require_room(self.path, self.folder)
        has_log = any((self.path / LOG).glob("*"))
        with engine_errors(self.folder):
            shard = edge.EdgeShard.load(str(self.path))
        try:
            with engine_errors(self.folder):
                if not has_log:
                    self.is_synced = False
                    _skip_seen_operations(shard, self.path)
                index_payloads(shard, _COUNTED)
                self.points = shard.count(edge.CountRequest(exact=True))
                with_vector = edge.Filter(must=[edge.HasVectorCondition(_THE_VECTOR)])
                usable = shard.count(edge.CountRequest(exact=True, filter=with_vector))
            self._on_load(usable)
        except BaseException:
            shard.close()
            raise
        return shard

    @property
    def is_loaded(self) -> bool:
        """Whether the engine has the shard open."""
        return "_edge" in self.__dict__

    def load(self) -> None:
        """Loads the shard, in 10 microseconds and 700 bytes a point.

        Raises:
            StoreError: it cannot be loaded, or has other points than its files should have.
        """
        self._edge  # noqa: B018 - it is kept from then on

    def close(self) -> None:
        """Closes the shard, and syncs all writes to the disk."""
        if self._mapping is not None:
            self._mapping.stop()
        self._searches, self._mapping = 0, None
        if self.is_loaded:
            with engine_errors(self.folder):
                self.__dict__.pop("_edge").close()
        if not self.is_synced and not self._is_view:
            sync_tree(self.path)
        self.is_synced = True

    def require_writable(self) -> None:
        """Refuses to write to a view, with which the changes would be lost.

        Raises:
            StoreError: the shard is a view.
        """
        if self._is_view:
            raise only_readable(self.folder)

    def ask(self, question: "Callable[[qdrant_edge.EdgeShard], _Answer]") -> _Answer:
        """Returns the engine's answer, and translates its errors."""
        with engine_errors(self.folder):
            return question(self._edge)

    def search(self, queries: "Sequence[qdrant_edge.QueryRequest]") -> "list[list[qdrant_edge.ScoredPoint]]":
        """Returns the hits of each query; after several, what others will read is mapped ahead."""
        import qdrant_edge as edge

        batch = edge.QueryBatchRequest(list(queries))
        found = self.ask(lambda shard: shard.query_batch(batch))
        self._searches += len(queries)
        if self._mapping is None and self._searches >= SEVERAL:
            self._mapping = MappingAhead(self.path)
        return found

    def count(self, where: PointFilter = EVERYTHING, *, lacking: str | None = None) -> int:
        """Returns how many points match, exactly; with `lacking`, of those without this payload field."""
        import qdrant_edge as edge

        request = edge.CountRequest(exact=True, filter=filter_of(where, lacking=lacking))
        return self.ask(lambda shard: shard.count(request))

    def pages(
        self, where: PointFilter = EVERYTHING, *, start: str | None = None, payloads: bool = True
    ) -> "Iterator[list[qdrant_edge.Record]]":
        """Yields matching points by id, from `start` on, with their payloads unless told, page by page."""
        import qdrant_edge as edge

        offset: int | UUID | str | None = start
        while True:
            request = edge.ScrollRequest(
                offset=offset,
                limit=self.tuning.scan_page,
                filter=filter_of(where),
                with_payload=payloads,
                with_vector=False,
            )
            with engine_errors(self.folder):
                records, offset = self._edge.scroll(request)
            yield records
            if offset is None:
                return

    def retrieve(self, ids: Sequence[str], *, vectors: bool) -> "list[qdrant_edge.Record]":
        """Returns those points that exist, each with its vector or its payload."""
        return self.ask(lambda shard: shard.retrieve(list(ids), not vectors, vectors)) if ids else []

    def vectors(self, ids: Sequence[str]) -> dict[str, FloatVector]:
        """Returns the vectors, float32 `[D]`, of those ids that exist."""
        records = self.retrieve(ids, vectors=True)
        with engine_errors(self.folder):
            return {str(record.id): as_vector(record.vector) for record in records}

    def update(
        self, operation: "qdrant_edge.UpdateOperation", *, is_done: Callable[[], bool] = lambda: True
    ) -> None:
        """Writes, and checks that it `is_done`: the engine skips operations whose number it has seen.

        Raises:
            StoreError: writes have no effect.
        """
        self.is_synced, self.points = False, None
        with engine_errors(self.folder):
            self._edge.update(operation)
            if is_done():
                return
            _skip_seen_operations(self._edge, self.path)
            self._edge.update(operation)
            if not is_done():
                raise StoreError(
                    f"what is written to {self.folder} has no effect: its files are damaged; "
                    "remove the folder and ingest again",
                    path=self.folder,
                )


def _skip_seen_operations(shard: "qdrant_edge.EdgeShard", folder: Path) -> None:
    """Raises the next operation's number above those that the segments have seen.

    A lost write-ahead log restarts at zero, and each point skips operations older than its own last one, so
    that they would be lost silently. The ones made here do nothing, and take 30 microseconds each.
    """
    import qdrant_edge as edge

    nothing = edge.UpdateOperation.delete_points([_NO_POINT])
    for _ in range(_last_operation(folder) + 1):
        shard.update(nothing)


def _last_operation(folder: Path) -> int:
    """Returns the highest operation number that a segment has seen; ignores unreadable ones."""
    seen = [0]
    for file in folder.glob("segments/*/segment.json"):
        with suppress(OSError, ValueError, TypeError, KeyError):
            seen.append(int(parse_json(file.read_bytes())["version"] or 0))
    return min(max(seen), _MOST_OPERATIONS)


def index_payloads(shard: "qdrant_edge.EdgeShard", fields: Iterable[str]) -> None:
    """Creates missing indexes of payload fields: in a new or older shard, or if their files were lost."""
    for field in find_unindexed(shard, fields):
        shard.update(index_of(field))


def find_unindexed(
    shard: "qdrant_edge.EdgeShard", fields: Iterable[str] = tuple(INDEXED_FIELDS)
) -> list[str]:
    """Returns which of these payload fields have no index."""
    there = shard.info().payload_schema
    return [field for field in fields if field not in there]
