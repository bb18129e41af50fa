"""A collection whose vectors an engine writes, several batches at a time."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from lookalike_core.arrays import FloatVector
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.protocol import Collection, Store
from lookalike_exporter.model_cache import ModelFile

from lookalike_ingest.changes import Decision
from lookalike_ingest.engines.engine import Engine
from lookalike_ingest.request import IngestRequest
from lookalike_ingest.target import EmbedAgain, Target, Wanted, WrittenTarget, list_wanted

WRITES_UNDER_WAY = 8
"""How many batches are written at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Write:
    """A batch whose points are being written, until `wait` returns."""

    wait: Callable[[], None]
    points: Sequence[ImagePoint]
    wanted: Wanted
    planned: Sequence[Decision]
    done: Sequence[Decision]


class EngineTarget(WrittenTarget):
    """A collection that is written to by an engine; what is decided is counted once it is written.

    Only points are written at the same time, each once; changed payloads and deletions follow those of their
    batch.
    """

    def __init__(
        self,
        request: IngestRequest,
        model: ModelFile,
        distance: Distance,
        *,
        store: Store,
        stack: ExitStack,
        engine: Engine,
    ) -> None:
        super().__init__(request, model, distance, store=store, stack=stack)
        self._engine = engine
        self._under_way: deque[_Write] = deque()

    def carry_out(
        self,
        planned: Sequence[Decision],
        done: Sequence[Decision],
        embedded: Mapping[str, FloatVector],
        embed_again: EmbedAgain,
    ) -> None:
        """Starts to write what was decided; waits for the oldest batch if too many are under way."""
        wanted = list_wanted(done)
        points: list[ImagePoint] = []
        if wanted:
            collection = self._open_or_create()
            vectors = self._get_vectors(collection, wanted, embedded, embed_again)
            points = self._make_points(wanted, vectors)
        if points:
            collection.note_writes()
        wait = self._engine.upsert(self.name, points) if points else _wait_for_nothing
        write = _Write(wait=wait, points=points, wanted=wanted, planned=planned, done=done)
        self._under_way.append(write)
        if len(self._under_way) > WRITES_UNDER_WAY:
            self._complete(self._under_way.popleft())

    def complete_writes(self) -> None:
        """Waits for all writes that are under way."""
        while self._under_way:
            self._complete(self._under_way.popleft())
        if self._collection is not None:
            self._collection.flush()

    def _complete(self, write: _Write) -> None:
        write.wait()
        if write.wanted:
            self._write_rest(self._open_or_create(), write.wanted)
        Target.carry_out(self, write.planned, write.done, {}, lambda _: {})

    def _read_vectors(self, collection: Collection, wanted: Wanted) -> dict[str, FloatVector]:
        """Returns the vectors of the points that decisions copy from; some may not be written yet."""
        under_way = {
            point.payload.sha256: point.vector for write in self._under_way for point in write.points
        }
        sources = {decision.vector_of.sha256 for decision, _ in wanted if decision.vector_of is not None}
        at_hand = {sha256: under_way[sha256] for sha256 in sources if sha256 in under_way}
        left = [
            (decision, payload)
            for decision, payload in wanted
            if decision.vector_of is None or decision.vector_of.sha256 not in at_hand
        ]
        return super()._read_vectors(collection, left) | at_hand


def _wait_for_nothing() -> None:
    """Returns at once."""
