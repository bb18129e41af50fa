"""A failure in one stage of an ingest ends the other stages, and keeps what was written."""

import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import ModelError, StoreError
from lookalike_core.models.embedder import Embedder
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest import reading
from lookalike_ingest.changes import KnownPoints
from lookalike_ingest.commands.interruption import stop_on_interrupt
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from waiting import wait_until

IMAGES = [f"{number}.png" for number in range(8)]

STAGES: dict[str, tuple[Any, str]] = {
    "deciding": (KnownPoints, "decide_by_stat"),
    "reading": (reading, "read_image"),
    "network": (Embedder, "embed"),
    "writing": (EmbeddedCollection, "upsert"),
}
"""One function of each stage; deciding and writing are in the main thread."""


@dataclass(kw_only=True)
class Folder:
    """Eight images that are ingested in batches of one."""

    root: Path
    home: Settings
    spec: ModelSpec
    threads: frozenset[threading.Thread] = field(default_factory=lambda: frozenset(threading.enumerate()))

    def ingest(self, stop: StopRequest | None = None) -> IngestReport:
        """Runs an ingest."""
        request = IngestRequest(
            dataset=Dataset(name="data", root=self.root),
            specs=[self.spec],
            distances=[Distance.COSINE],
            batch_size=1,
        )
        store = EmbeddedStore(self.home.qdrant_dir)
        return run_ingest(request, store=store, settings=self.home, stop=stop or StopRequest())

    def stored(self) -> list[str]:
        """Returns the paths of the points; each must have a vector."""
        store = EmbeddedStore(self.home.qdrant_dir)
        if not store.names():
            return []
        with store.open(store.names()[0]) as collection:
            payloads = list(collection.scan())
            vectors = collection.vectors([payload.id for payload in payloads])
        assert all(np.linalg.norm(vectors[payload.id]) == pytest.approx(1) for payload in payloads)
        return sorted(payload.path for payload in payloads)

    def require_nothing_lost(self, *, written: int | None = None) -> None:
        """Checks that all threads end, the first images are stored, and the next run adds the others."""
        wait_until(lambda: self.threads.issuperset(threading.enumerate()))
        before = self.stored()
        assert before == IMAGES[: len(before)]
        assert written is None or len(before) == written
        counts = self.ingest().collections[0].counts
        assert (counts["unchanged"], counts["added"]) == (len(before), 8 - len(before))
        assert self.stored() == IMAGES


@pytest.fixture
def folder(tmp_path: Path, home: Settings, tiny_spec: ModelSpec, draw: Callable[..., list[Path]]) -> Folder:
    """Draws the images; they are not ingested."""
    draw(tmp_path / "data", *IMAGES)
    return Folder(root=tmp_path / "data", home=home, spec=tiny_spec)


def nth_call(stage: str, number: int, event: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    """Calls `event` at the start of the n-th call of a stage, counted from 1."""
    place, name = STAGES[stage]
    original, calls, lock = getattr(place, name), iter(range(1, 10_000)), threading.Lock()

    def called(*args: Any, **named: Any) -> Any:
        with lock:
            is_due = next(calls) == number
        if is_due:
            event()
        return original(*args, **named)

    patch.setattr(place, name, called)


def failing(error: Exception) -> Callable[[], None]:
    """Returns a function that raises the error."""

    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize("stage", ["reading", "network", "writing"])
@pytest.mark.parametrize("error", [ModelError("the network"), StoreError("the store"), MemoryError()])
def test_an_error_in_a_stage_is_raised_after_earlier_files_are_written(
    folder: Folder, stage: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first three files, in the order of the scan, are stored."""
    with monkeypatch.context() as patch:
        nth_call(stage, 4, failing(error), patch)
        with pytest.raises(type(error)) as raised:
            folder.ingest()
    assert raised.value is error
    folder.require_nothing_lost(written=None if stage == "reading" else 3)


def test_a_failed_write_while_all_queues_are_full_ends_the_ingest(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two embedded batches are waiting to be written then."""
    embedded, is_ahead = iter(range(1, 10_000)), threading.Event()
    embed = Embedder.embed

    def count(self: Embedder, pixels: Any) -> Any:
        vectors = embed(self, pixels)
        if next(embedded) == 3:
            is_ahead.set()
        return vectors

    def fail(*_: object) -> None:
        assert is_ahead.wait(60)
        raise StoreError("the server is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Embedder, "embed", count)
        patch.setattr(EmbeddedCollection, "upsert", fail)
        with pytest.raises(StoreError, match="the server is gone"):
            folder.ingest()
    folder.require_nothing_lost(written=0)


@pytest.fixture
def interrupt() -> Callable[[], None]:
    """Returns a function that sends Ctrl-C to the main thread."""
    if sys.platform == "win32":
        pytest.skip("sends SIGINT as a terminal does")
    main = threading.main_thread().ident
    assert main is not None
    return lambda: signal.pthread_kill(main, signal.SIGINT)


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_in_any_stage_finishes_the_current_batch(
    folder: Folder, stage: str, interrupt: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other batch is written; the next run continues."""
    with monkeypatch.context() as patch, stop_on_interrupt() as stop:
        nth_call(stage, 1 if stage == "deciding" else 3, interrupt, patch)
        report = folder.ingest(stop)
    assert report.interrupted
    assert len(folder.stored()) < 8
    folder.require_nothing_lost()


@pytest.mark.parametrize("stage", STAGES)
def test_a_second_ctrl_c_in_any_stage_ends_the_ingest_at_once(
    folder: Folder, stage: str, interrupt: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for threads, and the next run finds no partial data."""
    with monkeypatch.context() as patch, stop_on_interrupt() as stop:

        def twice() -> None:
            interrupt()
            while not stop.requested:
                time.sleep(0.001)
            interrupt()

        nth_call(stage, 1 if stage == "deciding" else 3, twice, patch)
        with pytest.raises(KeyboardInterrupt):
            folder.ingest(stop)
    folder.require_nothing_lost()
