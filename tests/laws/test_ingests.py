"""The result of an ingest depends only on the content of the folder."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lookalike_core.arrays import FloatVector
from lookalike_core.models.embedder import Embedder
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance, collection_name
from lookalike_core.stores.connection import connect
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import Payload
from lookalike_core.stores.protocol import Store
from lookalike_core.stores.server import ServerStore
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.commands.report_records import report_json
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from numpy.typing import NDArray
from qdrant_stand_in import running_stand_in

Draw = Callable[..., list[Path]]

BATCH_TOLERANCE = 1e-6
"""Relative to a vector's length.

On the CPU vectors are equal to the last bit, for the whole networks too; other providers may sum a batch in
another order, in float32.
"""

PATHS = ("1.png", "9.png", "a/1.png", "a/2.png", "b/1.png", "b/a/1.png")
"""Paths in the root, in class folders, and deeper."""

BROKEN = b"no image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """A small real model, and the contents that files may have."""

    home: Settings
    spec: ModelSpec
    model: ModelFile
    contents: tuple[bytes, ...]
    folders: Iterator[Path]

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Makes an empty folder, which is removed afterwards."""
        folder = next(self.folders)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


@pytest.fixture(scope="module")
def bench(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Workbench:
    """Draws five images, of which one has another size."""
    root = tmp_path_factory.mktemp("laws")
    home = Settings(home=root / "home", provider="cpu")
    spec = ModelSpec.of("vgg", layer="block1_conv1", weights=str(tiny_weights))
    images = draw(root / "drawn", *(f"{i}.png" for i in range(4)))
    images += draw(root / "drawn", "wide.png", size=(90, 40))
    return Workbench(
        home=home,
        spec=spec,
        model=ensure_exported(spec, settings=home),
        contents=tuple(image.read_bytes() for image in images),
        folders=(root / f"run{i}" for i in itertools.count()),
    )


@dataclass(kw_only=True)
class World:
    """A folder `data`, the labels beside it, and a store."""

    bench: Workbench
    folder: Path
    labels: dict[str, str | None] = field(default_factory=dict)
    server: ServerStore | None = None
    """The store; None for an embedded one in the folder."""
    clock: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1_600_000_000))

    @property
    def root(self) -> Path:
        """The root of the dataset."""
        return self.folder / "data"

    def write(self, path: str, content: bytes) -> None:
        """Writes a file with a distinct mtime: clocks of file systems are coarse."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        self.touch(path)

    def touch(self, path: str) -> None:
        """Gives a file a new mtime."""
        moment = next(self.clock)
        os.utime(self.root / path, (moment, moment))

    def ingest(
        self,
        *,
        dry_run: bool = False,
        prune: bool = False,
        force: bool = False,
        batch_size: int = 16,
        name: str = "data",
        rehash: bool = False,
    ) -> IngestReport:
        """Ingests the folder of that name."""
        request = IngestRequest(
            dataset=Dataset(name=name, root=self.folder / name),
            specs=[self.bench.spec],
            distances=[Distance.COSINE],
            labels=self.labels,
            batch_size=batch_size,
            dry_run=dry_run,
            prune=prune,
            force=force,
            rehash=rehash,
        )
        return run_ingest(request, store=self.store, settings=self.bench.home, stop=StopRequest())

    @property
    def store(self) -> Store:
        """The store that is ingested into."""
        return self.server or EmbeddedStore(self.folder / "store")

    @property
    def collection(self) -> str:
        """The name of the collection."""
        return collection_name(self.bench.model.manifest.identity, Distance.COSINE, official=False)

    def stored(self) -> dict[str, tuple[Payload, FloatVector]]:
        """Returns all points by id, without `ingested_at` and `moved_from`."""
        with self.store.open(self.collection) as collection:
            payloads = [replace(payload, ingested_at="", moved_from=None) for payload in collection.scan()]
            vectors = collection.vectors([payload.id for payload in payloads])
        return {payload.id: (payload, vectors[payload.id]) for payload in payloads}


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the folder; it has no effect if its file does not exist."""

    kind: str
    path: str
    other: str
    content: int

    def apply(self, world: World, contents: tuple[bytes, ...]) -> None:
        """Applies the change, as a file manager does."""
        here, there = world.root / self.path, world.root / self.other
        if self.kind == "write":
            world.write(self.path, contents[self.content % len(contents)])
        elif self.kind == "label":
            world.labels[self.path] = ("round", "square", None)[self.content % 3]
        elif here.exists() and self.kind == "delete":
            here.unlink()
        elif here.exists() and self.kind == "touch":
            world.touch(self.path)
        elif here.exists() and self.path != self.other:
            there.parent.mkdir(parents=True, exist_ok=True)
            {"move": os.replace, "copy": shutil.copy, "copy with its time": shutil.copy2}[self.kind](
                here, there
            )
            if self.kind == "copy":
                world.touch(self.other)


CHANGES = st.lists(
    st.builds(
        Change,
        st.sampled_from(["write", "move", "copy", "copy with its time", "delete", "touch", "label"]),
        st.sampled_from(PATHS),
        st.sampled_from(PATHS),
        st.integers(0, 5),
    ),
    min_size=2,
    max_size=10,
)
FILES = st.dictionaries(st.sampled_from(PATHS), st.integers(0, 5), min_size=3)
BATCHES = st.integers(1, 4)


def filled(world: World, files: Mapping[str, int], contents: tuple[bytes, ...]) -> World:
    """Writes files with these contents, and one image that is always there."""
    world.write("always.png", contents[0])
    for path, content in files.items():
        world.write(path, contents[content % len(contents)])
    return world


def assert_same(one: Mapping[str, tuple[Payload, FloatVector]], other: object) -> None:
    """Checks that ids, payloads and vectors are the same."""
    assert isinstance(other, dict)
    assert one.keys() == other.keys()
    for key, (payload, vector) in one.items():
        assert payload == other[key][0]
        np.testing.assert_allclose(vector, other[key][1], rtol=0, atol=BATCH_TOLERANCE)


def counted(report: IngestReport) -> tuple[object, ...]:
    """Returns what a report says about the folder and its only collection."""
    (collection,) = report.collections
    counts = {word: count for word, count in collection.counts.items() if count}
    return counts, report.found, report.skipped, report.unused_labels


@settings(max_examples=25)
@given(files=FILES, changes=CHANGES, prune=st.booleans(), batch_size=BATCHES)
def test_a_dry_run_reports_what_the_run_will_do(
    bench: Workbench, files: dict[str, int], changes: list[Change], prune: bool, batch_size: int
) -> None:
    """All counts agree after any changes of the folder; one more run finds everything unchanged."""
    contents = (*bench.contents, BROKEN)
    with bench.folder() as folder:
        world = filled(World(bench=bench, folder=folder), files, contents)
        assert counted(world.ingest(dry_run=True)) == counted(world.ingest(batch_size=batch_size))
        for change in changes:
            change.apply(world, contents)
        told = world.ingest(dry_run=True, prune=prune)
        done = world.ingest(prune=prune, batch_size=batch_size)
        again = world.ingest(prune=prune)
    assert counted(told) == counted(done)
    used = done.found - len(done.skipped)
    assert counted(again)[0] == {"unchanged": used}


@settings(max_examples=20)
@given(files=FILES, changes=CHANGES, batch_sizes=st.tuples(BATCHES, BATCHES, BATCHES))
def test_the_history_of_a_folder_does_not_matter(
    bench: Workbench, files: dict[str, int], changes: list[Change], batch_sizes: tuple[int, int, int]
) -> None:
    """Ingesting in between or only at the end gives the same ids, payloads and vectors."""
    with bench.folder() as folder:
        world = filled(World(bench=bench, folder=folder), files, bench.contents)
        world.ingest(batch_size=batch_sizes[0])
        for change in changes:
            change.apply(world, bench.contents)
        world.ingest(prune=True, force=True, batch_size=batch_sizes[1])
        on_the_way = world.stored()
        shutil.rmtree(folder / "store")
        world.ingest(batch_size=batch_sizes[2])
        assert_same(on_the_way, world.stored())


@pytest.fixture(scope="module")
def server() -> Iterator[ServerStore]:
    """Yields a store on a server, or on a stand-in for one."""
    with ExitStack() as stack:
        url = os.environ.get("QDRANT_URL") or stack.enter_context(running_stand_in()).url
        store = connect(url, api_key=os.environ.get("QDRANT_API_KEY"))
        yield store
        store.close()


@settings(max_examples=12)
@given(
    files=FILES,
    changes=st.lists(CHANGES, min_size=1, max_size=2),
    prune=st.booleans(),
    rehash=st.booleans(),
    batch_size=BATCHES,
)
def test_a_server_is_brought_up_to_date_as_an_embedded_store_is(
    bench: Workbench,
    server: ServerStore,
    files: dict[str, int],
    changes: list[list[Change]],
    prune: bool,
    rehash: bool,
    batch_size: int,
) -> None:
    """Reports, dry runs and points are the same, although a server is asked only for the files at hand."""
    contents = (*bench.contents, BROKEN)
    with bench.folder() as folder, ExitStack() as stack:
        world = filled(World(bench=bench, folder=folder), files, contents)
        there = replace(world, server=server)
        stack.callback(lambda: there.collection in server and server.delete(there.collection))
        for some in [[], *changes]:
            for change in some:
                change.apply(world, contents)
            for dry_run in (True, False):
                one, other = (
                    each.ingest(dry_run=dry_run, prune=prune, rehash=rehash, batch_size=batch_size)
                    for each in (world, there)
                )
                assert said(one) == said(other)
            assert_same(world.stored(), there.stored())


def said(report: IngestReport) -> dict[str, object]:
    """Returns the whole record of a report, but for its store and its times."""
    own = ("store", "took_ms", "images_per_second")
    return {key: value for key, value in report_json(report).items() if key not in own}


@settings(max_examples=6)
@given(contents=st.permutations(range(5)), others=FILES, batch_sizes=st.tuples(BATCHES, BATCHES))
def test_the_order_of_files_and_folders_does_not_matter(
    bench: Workbench, contents: list[int], others: dict[str, int], batch_sizes: tuple[int, int]
) -> None:
    """A vector depends on its image alone, and two folders may be ingested in either order."""
    with bench.folder() as folder:
        world = World(bench=bench, folder=folder)
        for path, content in zip(PATHS, contents, strict=False):
            world.write(path, bench.contents[content])
        by_bytes = _by_bytes(bench, world.ingest(batch_size=batch_sizes[0]), world.stored().values())
        shutil.copytree(world.root, folder / "other")
        for path, content in others.items():
            (folder / "other" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "other" / path).write_bytes(bench.contents[content % 5])
        world.ingest(name="other", batch_size=batch_sizes[1])
        first = world.stored()
        shutil.rmtree(folder / "store")
        world.ingest(name="other", batch_size=batch_sizes[1])
        world.ingest(batch_size=batch_sizes[0])
        assert_same(first, world.stored())
        for payload, vector in first.values():
            np.testing.assert_allclose(vector, by_bytes[payload.sha256], rtol=0, atol=BATCH_TOLERANCE)


def _by_bytes(
    bench: Workbench, report: IngestReport, points: Iterable[tuple[Payload, FloatVector]]
) -> dict[str, FloatVector]:
    """Returns vectors by SHA-256, for a collection without duplicate contents."""
    assert report.collections[0].counts["added"] == len(bench.contents)
    return {payload.sha256: vector for payload, vector in points}


@pytest.fixture(scope="module")
def embedder(bench: Workbench) -> Embedder:
    """Opens a session with the small model."""
    return Embedder.load(bench.model.path, provider="cpu")


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_the_size_of_a_batch_never_changes_a_vector(embedder: Embedder, seed: int, sizes: list[int]) -> None:
    """This holds for noise, plain and dark images, split into any batches."""
    pixels = _pixels(seed, sum(sizes))
    ends = list(itertools.accumulate(sizes))
    batches = [pixels[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    in_batches = np.concatenate([embedder.embed(batch) for batch in batches])
    alone = np.stack([embedder.embed_one(image) for image in pixels])
    lengths = np.linalg.norm(alone, axis=1, keepdims=True)
    assert (np.abs(in_batches - alone) <= BATCH_TOLERANCE * lengths).all()


def _pixels(seed: int, count: int) -> NDArray[np.uint8]:
    """Returns uint8 `[count, 224, 224, 3]`: noise between two values, which may be the same."""
    random = np.random.default_rng(seed)
    limits = np.sort(random.integers(0, 256, (count, 2)), axis=1)
    return np.stack([random.integers(low, high + 1, (224, 224, 3), dtype=np.uint8) for low, high in limits])
