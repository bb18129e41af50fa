"""An ingest by an engine: the same points and the same report as by the ordinary ingest."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_stand_in import EngineStandIn
from lookalike_core.errors import LookalikeError, StoreError, UsageError
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.protocol import Store
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest import apply, run
from lookalike_ingest.engines import engine_target, ray_cluster, ray_tasks, windows
from lookalike_ingest.engines.engine import EngineChoice, EngineName, choose_engine
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from made_collections import store_of

RAY = EngineChoice(name=EngineName.RAY)
PATHS = [f"{folder}/{number}.png" for folder in "abc" for number in range(5)]
VECTOR_TOLERANCE = 1e-6
NOT_COMPARED = ("store", "reading_s", "took_s")


@dataclass(kw_only=True)
class Side:
    """A store, and the folder that is ingested into it, by an engine or not."""

    root: Path
    store: Store
    home: Settings
    spec: ModelSpec
    engine: EngineChoice | None
    distances: list[Distance] = field(default_factory=lambda: [Distance.COSINE])

    def run(self, stop: StopRequest | None = None, **options: Any) -> IngestReport:
        """Ingests the folder."""
        request = IngestRequest(
            dataset=Dataset(name="data", root=self.root),
            specs=[self.spec],
            distances=self.distances,
            batch_size=2,
            engine=self.engine,
            **options,
        )
        return run_ingest(request, store=self.store, settings=self.home, stop=stop or StopRequest())

    def stored(self) -> dict[tuple[str, str], Any]:
        """Returns payload and vector by collection and path, but for the time of the ingest."""
        found = {}
        for name in self.store.names():
            with self.store.open(name) as collection:
                payloads = list(collection.scan())
                vectors = collection.vectors([payload.id for payload in payloads])
            for payload in payloads:
                found[name, payload.path] = replace(payload, ingested_at=""), vectors[payload.id]
        return found


@dataclass(kw_only=True)
class Both:
    """An ingest by an engine, and beside it the ordinary one; `engines` are those that were opened."""

    root: Path
    here: Side
    there: Side
    engines: list[EngineStandIn]

    def run(self, **options: Any) -> IngestReport:
        """Ingests by both, and compares what they report and store."""
        report, expected = self.there.run(**options), self.here.run(**options)
        assert _comparable(report) == _comparable(expected)
        one, other = self.there.stored(), self.here.stored()
        assert one.keys() == other.keys()
        for key, (payload, vector) in one.items():
            assert payload == other[key][0]
            np.testing.assert_allclose(vector, other[key][1], rtol=0, atol=VECTOR_TOLERANCE)
        return report


def _comparable(report: IngestReport) -> dict[str, Any]:
    return {name: value for name, value in asdict(report).items() if name not in NOT_COMPARED}


@pytest.fixture
def both(
    tmp_path: Path,
    home: Settings,
    tiny_spec: ModelSpec,
    draw: Callable[..., list[Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Both]:
    """Draws fifteen images, of which two are the same, and a file that is none; all constants are small."""
    root = tmp_path / "data"
    draw(root, *PATHS)
    shutil.copy(root / "a/0.png", root / "b/0.png")
    (root / "c" / "broken.png").write_bytes(b"no image")
    for module, name, value in (
        (windows, "WINDOW", 7),
        (windows, "DECIDED_AT_ONCE", 2),
        (apply, "WRITTEN_AT_ONCE", 2),
        (engine_target, "WRITES_UNDER_WAY", 3),
    ):
        monkeypatch.setattr(module, name, value)
    engines: list[EngineStandIn] = []

    def open_engine(request: Any, models: Any, store: Any, settings: Any, stack: ExitStack) -> Any:
        if request.engine is None:
            return None
        engines.append(EngineStandIn(models=models, settings=settings, connection=store.connection))
        stack.callback(engines[-1].close)
        return engines[-1]

    monkeypatch.setattr(run, "open_engine", open_engine)
    monkeypatch.setattr(run, "check_engine", lambda *_: None)
    with store_of("server-stand-in", tmp_path) as here, store_of("server-stand-in", tmp_path) as there:
        of_both = {"root": root, "home": home, "spec": tiny_spec}
        yield Both(
            root=root,
            here=Side(store=here, engine=None, **of_both),
            there=Side(store=there, engine=RAY, **of_both),
            engines=engines,
        )


def test_an_engine_makes_what_an_ordinary_ingest_makes(both: Both, draw: Callable[..., list[Path]]) -> None:
    """New, copied, changed, touched, moved, shifted and deleted files, and then none of these."""
    report = both.run()
    assert report.collections[0].counts["added"] == len(PATHS)
    assert both.engines[0].hashed == []  # an empty collection has no bytes that could be known
    assert both.engines[0].most_under_way == 4
    _change(both.root, draw)
    changed = both.run(prune=True)
    assert changed.collections[0].counts["moved"] == 1
    assert {"a/2.png", "a/3.png", "a/4.png"} <= set(both.engines[1].embedded)  # a shift overwrites each
    assert not {"b/1.png", "c/0 copy.png", "moved.png"} & set(both.engines[1].embedded)
    assert both.run().collections[0].counts["unchanged"] == changed.found - 1
    assert both.engines[2].hashed == ["c/broken.png"]
    assert all(engine.is_closed for engine in both.engines)


def _change(root: Path, draw: Callable[..., list[Path]]) -> None:
    for number in (3, 2, 1):
        (root / f"a/{number}.png").rename(root / f"a/{number + 1}.png")
    draw(root, "a/1.png", "new/1.png", "c/1.png", seed=1)
    os.utime(root / "b/1.png", (1, 1))
    (root / "b/2.png").rename(root / "moved.png")
    shutil.copy(root / "c/0.png", root / "c/0 copy.png")
    shutil.copy(root / "new/1.png", root / "new/2.png")
    (root / "b/3.png").unlink()


def test_another_distance_takes_what_it_lacks(both: Both) -> None:
    """Files of one collection are embedded for the other."""
    both.run()
    for side in (both.here, both.there):
        side.distances = [Distance.EUCLID, Distance.COSINE]
    report = both.run()
    assert [each.counts["added"] for each in report.collections] == [len(PATHS), 0]


def test_options_of_an_ingest_hold(both: Both) -> None:
    """Labels alone change payloads; a rehash reads all and embeds nothing."""
    both.run(labels={"a/1.png": "x"})
    both.run(labels={"a/1.png": "y", "a/2.png": "y"})
    assert [engine.embedded for engine in both.engines[1:]] == [["c/broken.png"]]
    both.run(rehash=True)
    assert both.engines[2].embedded == ["c/broken.png"]
    assert len(both.engines[2].hashed) == len(PATHS) + 1


def test_a_calibration_is_dropped_with_the_first_write(both: Both, calibration: Any, draw: Any) -> None:
    """Although other processes write, the report says so."""
    both.run()
    for side in (both.here, both.there):
        [name] = side.store.names()
        with side.store.open(name) as collection:
            revision = collection.mark_revision()
            identity = collection.manifest.identity
            collection.record_calibration(replace(calibration, revision=revision))
            assert identity == collection.manifest.identity
    draw(both.root, "a/new.png")
    assert both.run().collections[0].calibration_dropped


def test_a_stop_ends_after_the_batches_under_way(both: Both) -> None:
    """What was started is written and counted; the next run adds the rest."""
    stop = StopRequest()
    write = ray_tasks.Writer.write

    def stop_then(*words: Any) -> Any:
        stop.requested = True
        return write(*words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_tasks.Writer, "write", stop_then)
        report = both.there.run(stop)
    assert report.interrupted
    added = report.collections[0].counts["added"]
    assert 0 < added < len(PATHS)
    assert len(both.there.stored()) == added
    assert both.there.run().collections[0].counts["unchanged"] == added
    assert len(both.there.stored()) == len(PATHS)


def test_an_error_of_a_node_ends_the_ingest(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes as the error that it was there."""

    def fail(*_: Any, **__: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(ray_tasks, "connect", fail)
    with pytest.raises(StoreError, match="the disk is full"):
        both.there.run()
    assert both.engines[0].is_closed


def test_a_dry_run_opens_no_engine(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """It embeds nothing, and counts what would be done."""
    from lookalike_ingest.engines.opening import open_engine

    monkeypatch.setattr(run, "open_engine", open_engine)
    assert both.there.run(dry_run=True).collections[0].counts["added"] == len(PATHS)
    assert both.there.store.names() == []


def test_an_address_without_an_engine_is_refused() -> None:
    """The error names the argument."""
    with pytest.raises(UsageError) as caught:
        choose_engine(None, "auto")
    assert caught.value.argument == "address"
    assert choose_engine(None, None) is None
    assert choose_engine(EngineName.RAY, "auto") == EngineChoice(name=EngineName.RAY, address="auto")


@pytest.mark.parametrize("address", ["x", "host:port", "host:0", "host:99999", "ray://host:10001"])
def test_an_address_of_no_cluster_is_refused(address: str) -> None:
    """That of Ray Client is one of these."""
    with pytest.raises(UsageError) as caught:
        ray_cluster.check_address(address)
    assert caught.value.argument == "address"


@pytest.mark.parametrize("by_variable", [True, False])
def test_an_address_where_nothing_answers_is_an_error(
    by_variable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is waited for."""
    if by_variable:
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(LookalikeError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 "):
        ray_cluster.check_address(None if by_variable else "127.0.0.1:1")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is imported to find out."""
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None if name == "ray" else name)
    with pytest.raises(UsageError, match=r'pip install "lookalike\[ray\]"') as caught:
        ray_cluster.require_ray()
    assert caught.value.argument == "engine"
