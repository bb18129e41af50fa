"""A collection's files are lost or damaged: the next ingest repairs it, or refuses it with a reason."""

import errno
import functools
import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import qdrant_edge
from lookalike_core.atomic import remove
from lookalike_core.errors import ManifestError, StoreError
from lookalike_core.hints import Action, Hint, Notice
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_core.stores.points import Payload
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from lookalike_ingest.status import read_statuses

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs cp that keeps holes and times")

IMAGES = tuple(f"{'ab'[number % 2]}/{number:02}.png" for number in range(12))
BATCH = 4


@dataclass(slots=True, kw_only=True)
class Bench:
    """A folder of images, and the collection that it is ingested into."""

    folder: Path
    spec: ModelSpec
    distance: Distance

    @property
    def home(self) -> Settings:
        """Returns the settings, with the CPU provider."""
        return Settings(home=self.folder / "home", provider="cpu")

    def ingest(self, **options: bool) -> IngestReport:
        """Brings the collection up to date."""
        request = IngestRequest(
            dataset=Dataset(name="data", root=self.folder / "data", moved=True),
            specs=[self.spec],
            distances=[self.distance],
            batch_size=BATCH,
            **options,  # type: ignore[arg-type] - flags alone
        )
        return run_ingest(request, store=self.store, settings=self.home, stop=StopRequest())

    @property
    def store(self) -> EmbeddedStore:
        """Opens the store, as a new process does."""
        return EmbeddedStore(self.home.qdrant_dir)

    @property
    def collection(self) -> Path:
        """Returns the collection's folder."""
        (name,) = self.store.names()
        return self.home.qdrant_dir / name

    @property
    def segment(self) -> Path:
        """Returns the folder of the only segment."""
        (segment,) = (self.collection / "shard/segments").iterdir()
        return segment

    def open(self) -> EmbeddedCollection:
        """Opens the collection."""
        return self.store.open(self.collection.name)

    def stored(self) -> dict[str, tuple[Payload, list[float]]]:
        """Returns every point by id, without `ingested_at` and `ctime_ns`."""
        with self.open() as collection:
            payloads = {
                point.id: replace(point, ingested_at="", ctime_ns=None) for point in collection.scan()
            }
            vectors = collection.vectors(list(payloads))
        return {point: (payload, vectors[point].tolist()) for point, payload in payloads.items()}


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path, draw: Callable[..., list[Path]]
) -> Callable[[Distance], Path]:
    """Returns a function that makes a folder and its collection once for each distance; tests copy them."""

    @functools.cache
    def make(distance: Distance) -> Path:
        folder: Path = tmp_path_factory.mktemp(distance)
        draw(folder / "data", *IMAGES)
        spec = ModelSpec.of("vgg", layer="block1_conv1", weights=str(tiny_weights))
        Bench(folder=folder, spec=spec, distance=distance).ingest()
        return folder

    return make


@pytest.fixture
def make_bench(
    made: Callable[[Distance], Path], tmp_path: Path, tiny_spec: ModelSpec
) -> Callable[[Distance], Bench]:
    """Returns a function that makes a bench with its own copy."""

    def make(distance: Distance) -> Bench:
        words = ["cp", "--archive", "--sparse=always", made(distance), tmp_path / distance]
        subprocess.run(words, check=True)
        return Bench(folder=tmp_path / distance, spec=tiny_spec, distance=distance)

    return make


@pytest.fixture
def bench(make_bench: Callable[[Distance], Bench]) -> Bench:
    """Makes a bench with the cosine distance."""
    return make_bench(Distance.COSINE)


def cut(file: Path) -> None:
    """Truncates a file to its first half."""
    os.truncate(file, file.stat().st_size // 2)


def blank(file: Path) -> None:
    """Overwrites a file with zeros, as some file systems leave it after a power cut."""
    size = file.stat().st_size
    os.truncate(file, 0)
    os.truncate(file, size)


MENDED: dict[str, Callable[[Bench], object]] = {
    "ids lost": lambda bench: (bench.segment / "mutable_id_tracker.mappings").unlink(),
    "ids cut": lambda bench: cut(bench.segment / "mutable_id_tracker.mappings"),
    "versions lost": lambda bench: (bench.segment / "mutable_id_tracker.versions").unlink(),
    "versions cut": lambda bench: cut(bench.segment / "mutable_id_tracker.versions"),
    "segment without its version": lambda bench: (bench.segment / "version.info").unlink(),
    "segments lost": lambda bench: shutil.rmtree(bench.collection / "shard/segments"),
    "log lost": lambda bench: shutil.rmtree(bench.collection / "shard/wal"),
    "segments and log lost": lambda bench: [
        shutil.rmtree(bench.collection / "shard" / name) for name in ("segments", "wal")
    ],
    "vectors lost": lambda bench: (bench.segment / "vector_storage/vectors/chunk_0.mmap").unlink(),
    "vectors blank": lambda bench: blank(bench.segment / "vector_storage/vectors/chunk_0.mmap"),
    "number of vectors lost": lambda bench: (bench.segment / "vector_storage/vectors/status.dat").unlink(),
    "payloads lost": lambda bench: shutil.rmtree(bench.segment / "payload_storage"),
    "indexes of payloads lost": lambda bench: shutil.rmtree(bench.segment / "payload_index"),
}
REFUSED: dict[str, Callable[[Bench], object]] = {
    "configuration cut": lambda bench: cut(bench.collection / "shard/edge_config.json"),
    "segment's state lost": lambda bench: (bench.segment / "segment.json").unlink(),
    "page of payloads lost": lambda bench: (bench.segment / "payload_storage/page_0.dat").unlink(),
    "page of payloads blank": lambda bench: blank(bench.segment / "payload_storage/page_0.dat"),
    "number of vectors cut": lambda bench: cut(bench.segment / "vector_storage/vectors/status.dat"),
}


@pytest.mark.parametrize(
    ("damage", "distance"),
    [
        *((damage, Distance.COSINE) for damage in MENDED),
        *((damage, Distance.EUCLID) for damage in MENDED if "vectors" in damage),
    ],
)
def test_the_next_ingest_repairs_a_damaged_collection(
    make_bench: Callable[[Distance], Bench], damage: str, distance: Distance
) -> None:
    """Every point is restored and the classes are counted correctly; one more ingest changes nothing."""
    bench = make_bench(distance)
    before = bench.stored()
    MENDED[damage](bench)
    bench.ingest()
    assert bench.stored() == before
    (status,) = read_statuses(bench.store)
    assert (status.points, status.classes) == (12, {"a": 6, "b": 6})
    with bench.open() as collection:
        vector = np.asarray(next(iter(before.values()))[1], dtype=np.float32)
        assert len(collection.query(vector, limit=20)) == 12
    assert bench.ingest().collections[0].counts == {"unchanged": 12, "removed": 0}


@pytest.mark.parametrize("damage", REFUSED)
def test_a_collection_that_cannot_be_repaired_is_refused(bench: Bench, damage: str) -> None:
    """It is not reported as unchanged; the message names the remedy."""
    REFUSED[damage](bench)
    with pytest.raises(StoreError, match="remove the folder and ingest again"):
        bench.ingest()


@pytest.mark.parametrize("damage", ["ids lost", "vectors blank", "number of vectors lost", "payloads lost"])
def test_a_search_in_between_does_not_hide_the_damage(bench: Bench, damage: str) -> None:
    """The engine recreates missing files when it opens a collection, so that they look intact."""
    before = bench.stored()
    MENDED[damage](bench)
    with bench.open() as collection:
        collection.count()
    bench.ingest()
    assert bench.stored() == before


@pytest.mark.parametrize("opens", ["ingest", "search", "nobody"])
def test_damage_is_repaired_even_if_the_write_ahead_log_is_lost(bench: Bench, opens: str) -> None:
    """A new log starts at operation zero, and points ignore operations older than their own."""
    before = bench.stored()
    shutil.rmtree(bench.collection / "shard/wal")
    if opens == "ingest":
        assert bench.ingest().collections[0].counts["unchanged"] == 12
    if opens == "search":
        with bench.open() as collection:
            collection.load()
    with (bench.segment / "vector_storage/vectors/chunk_0.mmap").open("r+b") as file:
        file.write(bytes(6 * 4 * len(next(iter(before.values()))[1])))
    counts = bench.ingest().collections[0].counts
    assert (counts["added"], counts["unchanged"]) == (6, 6)
    assert bench.stored() == before


def test_writes_take_effect_after_the_log_restarted_at_zero(
    bench: Bench, draw: Callable[..., list[Path]]
) -> None:
    """A former version left it at zero, where points ignore updates and removals."""
    shutil.rmtree(bench.collection / "shard/wal")
    qdrant_edge.EdgeShard.load(str(bench.collection / "shard")).close()
    assert any((bench.collection / "shard/wal").iterdir())
    draw(bench.folder / "data", "a/00.png", seed=1)
    (bench.folder / "data/b/01.png").unlink()
    counts = bench.ingest(prune=True).collections[0].counts
    assert (counts["updated"], counts["removed"]) == (1, 1)
    found = {payload.path: payload for payload, _ in bench.stored().values()}
    assert (
        found["a/00.png"].sha256 == hashlib.sha256((bench.folder / "data/a/00.png").read_bytes()).hexdigest()
    )
    assert "b/01.png" not in found


def test_a_shard_restored_from_a_backup_is_brought_up_to_date(
    bench: Bench, draw: Callable[..., list[Path]]
) -> None:
    """It lacks one image, and has outdated bytes of another."""
    shutil.copytree(bench.collection / "shard", bench.folder / "backup")
    draw(bench.folder / "data", "a/00.png", seed=1)
    draw(bench.folder / "data", "c/new.png")
    bench.ingest()
    before = bench.stored()
    shutil.rmtree(bench.collection / "shard")
    shutil.copytree(bench.folder / "backup", bench.collection / "shard")
    counts = bench.ingest().collections[0].counts
    assert (counts["added"], counts["updated"], counts["unchanged"]) == (1, 1, 11)
    assert bench.stored() == before


@pytest.mark.parametrize("damage", ["ids lost", "number of vectors lost"])
def test_opening_a_collection_with_lost_points_warns(bench: Bench, damage: str, said: list[str]) -> None:
    """The warning has both counts and the command that restores the points; after an ingest there is none."""
    MENDED[damage](bench)
    for _ in range(2):
        said.clear()
        list(read_statuses(bench.store))
        (line,) = said
        assert re.search(r"has [0-4] points, but had 12 after the last ingest", line)
        assert isinstance(line, Notice)
        assert line.hint == Hint(Action.INGEST_AGAIN)
    bench.ingest()
    said.clear()
    list(read_statuses(bench.store))
    assert said == []


def test_damage_that_file_times_do_not_show_is_refused_once_and_then_repaired(bench: Bench) -> None:
    """Files of the same sizes and times hold a different number of points."""
    mark = bench.collection / "points.listed"
    mark.write_text(mark.read_text().replace('"points": 12', '"points": 13'))
    with bench.open() as collection, pytest.raises(StoreError, match="its files are damaged"):
        collection.count()
    assert bench.ingest().collections[0].counts["unchanged"] == 12
    with bench.open() as collection:
        assert collection.upkeep.is_cache_valid
        assert collection.count() == 12


def test_a_dry_run_counts_damaged_points_and_repairs_nothing(bench: Bench) -> None:
    """The next ingest does what the dry run reported."""
    (bench.segment / "vector_storage/vectors/status.dat").unlink()
    for dry_run in (True, True, False):
        assert bench.ingest(dry_run=dry_run).collections[0].counts["added"] == 12
    assert len(bench.stored()) == 12


def test_reading_leaves_the_payload_cache_valid(bench: Bench) -> None:
    """Loading a shard touches its files, which must not count as a change."""
    for _ in range(2):
        with bench.open() as collection:
            assert collection.upkeep.is_cache_valid
            assert collection.count() == 12
    with bench.open() as collection:
        assert collection.upkeep.is_cache_valid


def test_reading_a_lost_vector_raises_a_store_error(bench: Bench) -> None:
    """It is not an unrelated Python error."""
    (bench.segment / "vector_storage/vectors/status.dat").unlink()
    with bench.open() as collection, pytest.raises(StoreError, match=r"the files are damaged"):
        collection.vectors([next(iter(collection.scan())).id])


def test_reading_a_lost_payload_raises_a_store_error(bench: Bench) -> None:
    """The message names the point and how to restore it."""
    shutil.rmtree(bench.segment / "payload_storage")
    with bench.open() as collection, pytest.raises(StoreError, match="has lost its payload"):
        list(collection.scan())


@pytest.mark.parametrize("name", ["shard", "manifest.json"])
def test_the_shard_of_another_collection_is_refused(
    make_bench: Callable[[Distance], Bench], name: str
) -> None:
    """This holds even if vectors have the same length and points the same images."""
    bench, other = make_bench(Distance.COSINE), make_bench(Distance.EUCLID)
    theirs, ours = other.collection / name, bench.collection / name
    remove(ours)
    subprocess.run(["cp", "--archive", theirs, ours], check=True)  # noqa: S607
    with pytest.raises(ManifestError, match=r"cosine.*euclid|euclid.*cosine"):
        bench.store.open(ours.parent.name)


def test_a_full_disk_at_the_end_of_an_ingest_loses_nothing(
    bench: Bench, draw: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever sync fails, the payload cache becomes invalid, and the next ingest reads the store."""
    sync, calls = os.fsync, count()

    def fail(descriptor: int) -> None:
        if next(calls) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    for number in (0, 1, 30, 60):
        draw(bench.folder / "data", f"c/{number}.png")
        calls = count()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(OSError, match="No space left"):
                bench.ingest()
        images = len(list((bench.folder / "data").rglob("*.png")))
        counts = bench.ingest().collections[0].counts
        assert counts["added"] + counts["unchanged"] == images
        assert len(bench.stored()) == images


def as_folder(file: Path) -> None:
    """Replaces a file with a folder that is not empty."""
    file.unlink()
    (file / "deep").mkdir(parents=True)
    (file / "deep/file").touch()


def other_types(file: Path) -> None:
    """Writes values of other types, which SQLite allows."""
    with sqlite3.connect(file) as database:
        database.execute("UPDATE points SET bytes = 'many', mtime_ns = x'00', sha256 = 7")
    database.close()


def other_version(file: Path) -> None:
    """Writes another version of the table."""
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 9")
    database.close()


def flip(file: Path) -> None:
    """Overwrites all but the header with random bytes."""
    with file.open("rb+") as stream:
        stream.seek(4096)
        stream.write(os.urandom(file.stat().st_size - 4096))


LISTS: dict[str, Callable[[Path], object]] = {
    "a folder": as_folder,
    "empty": lambda file: file.write_bytes(b""),
    "gone": Path.unlink,
    "cut": cut,
    "flipped": flip,
    "other types": other_types,
    "another version's": other_version,
    "read-only": lambda file: file.chmod(0o444),
}


@pytest.mark.parametrize("is_noted", [False, True])
@pytest.mark.parametrize("damage", LISTS)
def test_a_damaged_payload_cache_is_built_again(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    draw: Callable[..., list[Path]],
    damage: str,
    is_noted: bool,
) -> None:
    """The ingest never fails, even if the mark beside the cache says that it is valid."""
    LISTS[damage](bench.collection / "points.db")
    if is_noted:
        with bench.open() as collection:
            mark = collection._cache.fingerprint()  # noqa: SLF001 - what only damage that no time shows comes to
        written = bench.collection / "points.listed"
        written.write_text(f'{{"points": 12, "files": "{mark}"}}')
    os.utime(bench.folder / "data/a/02.png", ns=(1, 1))
    draw(bench.folder / "data", "c/new.png")
    counts = bench.ingest().collections[0].counts
    assert (counts["added"], counts["unchanged"]) == (1, 12)
    monkeypatch.setattr("qdrant_edge.EdgeShard.load", lambda _: pytest.fail("loaded"))
    assert bench.ingest().collections[0].counts["unchanged"] == 13


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"points": "x"}', "\0", None])
def test_an_unreadable_mark_makes_the_payload_cache_invalid(bench: Bench, damage: str | None) -> None:
    """The mark may also be a folder, or empty as in a former version."""
    mark = bench.collection / "points.listed"
    if damage is None:
        as_folder(mark)
    else:
        mark.write_text(damage)
    with bench.open() as collection:
        assert not collection.upkeep.is_cache_valid
    assert bench.ingest().collections[0].counts["unchanged"] == 12
    with bench.open() as collection:
        assert collection.upkeep.is_cache_valid


def test_the_payload_cache_of_another_collection_is_not_valid(
    make_bench: Callable[[Distance], Bench], tmp_path: Path
) -> None:
    """This holds with its mark and without."""
    bench = make_bench(Distance.COSINE)
    other = tmp_path / "other"
    shutil.copytree(bench.collection, other)
    os.utime(bench.folder / "data/a/02.png", ns=(1, 1))
    (bench.folder / "data/b/01.png").unlink()
    bench.ingest(prune=True)
    before = bench.stored()
    for names in (["points.db"], ["points.db", "points.listed"]):
        for name in names:
            shutil.copy2(other / name, bench.collection / name)
        assert bench.ingest().collections[0].counts == {"unchanged": 11, "removed": 0}
        assert bench.stored() == before
