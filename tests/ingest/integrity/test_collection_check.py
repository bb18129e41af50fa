"""Verifies real collections with planted faults of each kind, and sound ones."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import StoreError, UsageError
from lookalike_core.images.decoding import decode
from lookalike_core.images.open_image import open_file
from lookalike_core.models.embedder import Embedder
from lookalike_core.settings import Settings
from lookalike_core.stores.cache_mark import fingerprint
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint, Payload
from lookalike_core.stores.protocol import Collection
from lookalike_exporter.model_resolver import get_model
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.integrity.collection_check import (
    ALL,
    Sample,
    VerifyOptions,
    verify_collection,
    verify_in_store,
)
from lookalike_ingest.integrity.faults import Fault, Verification
from lookalike_ingest.rebuild import RebuildOptions, rebuild
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs cp that keeps holes and times")

MakeBench = Callable[[Distance], "Bench"]

IMAGES = tuple(f"{'ab'[number % 2]}/{number:02}.png" for number in range(20))


@dataclass(slots=True, kw_only=True)
class Bench:
    """A folder of images, and the collection that it was ingested into."""

    folder: Path
    spec: ModelSpec

    @property
    def home(self) -> Settings:
        """Returns the settings, with the CPU provider."""
        return Settings(home=self.folder / "home", provider="cpu")

    @property
    def store(self) -> EmbeddedStore:
        """Opens the store, as a new process does."""
        return EmbeddedStore(self.home.qdrant_dir)

    @property
    def name(self) -> str:
        """Returns the collection's name."""
        (name,) = self.store.names()
        return name

    @property
    def files(self) -> Path:
        """Returns the folder of the images."""
        return self.folder / "data"

    def ingest(self, distance: Distance = Distance.COSINE, **options: bool) -> None:
        """Brings the collection up to date."""
        request = IngestRequest(
            dataset=Dataset(name="data", root=self.files, moved=True),
            specs=[self.spec],
            distances=[distance],
            **options,  # type: ignore[arg-type] - flags alone
        )
        run_ingest(request, store=self.store, settings=self.home, stop=StopRequest())

    def verify(self, sample: Sample = ALL) -> Verification:
        """Verifies the collection."""
        return verify_in_store(self.store, self.name, VerifyOptions(sample=sample), settings=self.home)

    def change(self, work: Callable[[Collection, dict[str, Payload]], object]) -> None:
        """Does something with the collection and its payloads by path."""
        with self.store.open(self.name) as collection:
            work(collection, {payload.path: payload for payload in collection.scan()})


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path, draw: Callable[..., list[Path]]
) -> Callable[[Distance], Path]:
    """Returns a function that makes a folder and its collection; tests copy it."""
    known: dict[Distance, Path] = {}

    def make(distance: Distance) -> Path:
        if distance not in known:
            known[distance] = folder = tmp_path_factory.mktemp(distance)
            draw(folder / "data", *IMAGES)
            spec = ModelSpec.of("vgg", layer="block1_conv1", weights=str(tiny_weights))
            Bench(folder=folder, spec=spec).ingest(distance)
        return known[distance]

    return make


@pytest.fixture
def make_bench(
    made: Callable[[Distance], Path], tmp_path: Path, tiny_spec: ModelSpec
) -> Callable[[Distance], Bench]:
    """Returns a function that makes a bench with its own copy."""

    def make(distance: Distance) -> Bench:
        words = ["cp", "--archive", "--sparse=always", made(distance), tmp_path / distance]
        subprocess.run(words, check=True)
        bench = Bench(folder=tmp_path / distance, spec=tiny_spec)
        bench.change(lambda collection, _: collection.record_dataset("data", str(bench.files)))
        return bench

    return make


@pytest.fixture
def bench(make_bench: Callable[[Distance], Bench]) -> Bench:
    """Makes a bench with the cosine distance."""
    return make_bench(Distance.COSINE)


def upsert(collection: Collection, payload: Payload, vector: FloatVector) -> None:
    """Replaces a point."""
    collection.upsert([ImagePoint(payload=payload, vector=np.asarray(vector, dtype=np.float32))])


def vector_of(collection: Collection, payload: Payload) -> FloatVector:
    """Returns a stored vector."""
    return collection.vectors([payload.id])[payload.id]


def paths_of(found: Verification, fault: Fault) -> list[str | None]:
    """Returns the paths of the findings of a kind."""
    return [finding.path for finding in found.findings if finding.fault is fault]


def only(found: Verification) -> dict[Fault, list[str | None]]:
    """Returns the paths of all findings by kind."""
    return {fault: paths_of(found, fault) for fault in found.counts}


@pytest.mark.parametrize("distance", Distance)
def test_a_sound_collection_raises_no_alarm(
    make_bench: Callable[[Distance], Bench], distance: Distance
) -> None:
    """Everything is compared, and nothing differs by more than the order of sums."""
    found = make_bench(distance).verify()
    assert found.is_sound
    assert (found.points, found.checked, found.reread, found.sampled) == (20, 20, 20, 20)
    assert (found.wrong, found.at_most_wrong, found.rounded, found.away, found.unreadable) == (0, 0, 0, 0, 0)
    assert found.list_compared
    assert found.largest_deviation is not None
    assert found.largest_deviation < 1e-6
    assert found.provider == found.recorded_provider == "CPUExecutionProvider"


@pytest.mark.parametrize("bit", [31, 30, 20])
@pytest.mark.parametrize("distance", Distance)
def test_a_flipped_bit_is_found(
    make_bench: Callable[[Distance], Bench], distance: Distance, bit: int
) -> None:
    """In the largest value of a vector, written through the store."""
    bench = make_bench(distance)

    def flip(collection: Collection, payloads: dict[str, Payload]) -> None:
        vector = np.array(vector_of(collection, payloads["a/04.png"]))
        vector.view(np.uint32)[int(np.argmax(np.abs(vector)))] ^= np.uint32(1 << bit)
        upsert(collection, payloads["a/04.png"], vector)

    bench.change(flip)
    assert only(bench.verify()) == {Fault.VECTOR_DIFFERS: ["a/04.png"]}


def test_a_rebuild_mends_a_wrong_vector(bench: Bench) -> None:
    """The remedy that the command names: it takes no vector over."""

    def spoil(collection: Collection, payloads: dict[str, Payload]) -> None:
        upsert(collection, payloads["a/04.png"], np.ones(64))

    bench.change(spoil)
    assert not bench.verify().is_sound
    report = rebuild(bench.name, RebuildOptions(), store=bench.store, settings=bench.home, stop=StopRequest())
    assert report.replaced
    assert bench.verify().is_sound


def test_a_bit_flipped_in_a_file_of_the_shard_is_found(bench: Bench) -> None:
    """The vector is not normalised again then; its file keeps its size and time."""
    with bench.store.open(bench.name) as collection:
        payloads = {payload.path: payload for payload in collection.scan()}
        stored = np.asarray(vector_of(collection, payloads["b/07.png"]), dtype=np.float32)
    assert flip_stored(bench, stored) == 1
    found = bench.verify()
    assert only(found) == {Fault.VECTOR_INVALID: ["b/07.png"]}
    assert "length" in found.findings[0].detail


def flip_stored(bench: Bench, vector: FloatVector) -> int:
    """Flips a bit of a vector's largest value in the shard; returns in how many files the vector was."""
    pattern, changed = vector.tobytes(), 0
    for file in (bench.home.qdrant_dir / bench.name / "shard" / "segments").rglob("*"):
        if file.is_file() and (place := (data := file.read_bytes()).find(pattern)) >= 0:
            status = file.stat()
            damaged = bytearray(data)
            damaged[place + 4 * int(np.argmax(vector)) + 3] ^= 0x01
            with file.open("r+b") as stream:
                stream.write(damaged)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
            changed += 1
    return changed


@pytest.mark.parametrize("distance", Distance)
def test_swapped_vectors_are_found_and_named(
    make_bench: Callable[[Distance], Bench], distance: Distance
) -> None:
    """Each finding names the other image."""
    bench = make_bench(distance)

    def swap(collection: Collection, payloads: dict[str, Payload]) -> None:
        one, other = payloads["a/02.png"], payloads["b/11.png"]
        vectors = vector_of(collection, one), vector_of(collection, other)
        upsert(collection, one, vectors[1])
        upsert(collection, other, vectors[0])

    bench.change(swap)
    found = bench.verify()
    assert only(found) == {Fault.VECTORS_SWAPPED: ["a/02.png", "b/11.png"]}
    assert "b/11.png" in found.findings[0].detail
    assert "a/02.png" in found.findings[1].detail
    assert found.wrong == found.at_most_wrong == 2


def test_a_sample_with_one_of_two_swapped_images_names_both(bench: Bench) -> None:
    """The other one's file is read as well, which is proof."""

    def swap_all(collection: Collection, payloads: dict[str, Payload]) -> None:
        ordered = [payloads[path] for path in sorted(payloads)]
        vectors = [vector_of(collection, payload) for payload in ordered]
        for number, payload in enumerate(ordered):
            upsert(collection, payload, vectors[number ^ 1])

    bench.change(swap_all)
    found = bench.verify(Sample(count=1))
    assert found.counts == {Fault.VECTORS_SWAPPED: 2}
    assert (found.reread, found.sampled, found.sampled_wrong, found.wrong) == (1, 1, 1, 2)
    assert found.at_most_wrong == 20


def test_a_file_replaced_in_place_with_its_size_and_time_is_found(bench: Bench) -> None:
    """An ingest takes it for unchanged; only its bytes tell, and `--rehash` mends it."""
    one, other = bench.files / "a/06.png", bench.files / "b/13.png"
    before = one.stat()
    data = other.read_bytes()[: before.st_size]
    one.write_bytes(data + b"\0" * (before.st_size - len(data)))
    os.utime(one, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = bench.verify()
    assert only(found) == {Fault.FILE_REPLACED: ["a/06.png"]}


def test_a_replaced_file_is_mended_by_reading_it_again(bench: Bench) -> None:
    """The remedy that the command names."""
    file = bench.files / "a/06.png"
    before = file.stat()
    shutil.copyfile(bench.files / "b/13.png", file)
    bench.change(
        lambda collection, payloads: collection.replace_payloads(
            [replace(payloads["a/06.png"], bytes=file.stat().st_size)]
        )
    )
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert only(bench.verify()) == {Fault.FILE_REPLACED: ["a/06.png"]}
    bench.ingest(rehash=True)
    assert bench.verify().is_sound


def test_a_file_that_was_edited_since_is_found_whatever_the_sample(bench: Bench) -> None:
    """Another size is seen without reading; a sample of one reads this file besides."""
    (bench.files / "a/06.png").write_bytes((bench.files / "b/13.png").read_bytes() + b"\0" * 7)
    found = bench.verify(Sample(count=1))
    assert only(found) == {Fault.FILE_CHANGED: ["a/06.png"]}
    assert (found.reread, found.sampled, found.sampled_wrong) == (2, 1, 0)


def test_a_file_with_another_time_alone_is_sound(bench: Bench) -> None:
    """The bytes are the same: it is counted, and the next ingest refreshes the payload."""
    os.utime(bench.files / "a/06.png", ns=(1, 1))
    found = bench.verify()
    assert found.is_sound
    assert found.touched == 1


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("distance", Distance)
def test_another_model_s_vectors_are_found(
    make_bench: Callable[[Distance], Bench],
    write_weights: Callable[..., Path],
    tmp_path: Path,
    distance: Distance,
    share: float,
) -> None:
    """Of all images, or of half of them, which are as similar as with the collection's own model."""
    bench = make_bench(distance)
    spec = ModelSpec.of("vgg", layer="block1_conv1", weights=str(write_weights(tmp_path / "o.h5", seed=99)))
    model = get_model(spec, settings=bench.home)
    embedder = Embedder.load(model.path, provider="cpu")
    changed = sorted(IMAGES)[: round(len(IMAGES) * share)]

    def embed_otherwise(collection: Collection, payloads: dict[str, Payload]) -> None:
        for path in changed:
            with open_file(bench.files / path) as stream:
                upsert(collection, payloads[path], embedder.embed_one(decode(stream, path).pixels))

    bench.change(embed_otherwise)
    assert only(bench.verify()) == {Fault.OTHER_MODEL: changed}


def test_random_vectors_of_a_few_images_are_no_other_model(bench: Bench) -> None:
    """Nothing but the fault itself is said then."""

    def lose(collection: Collection, payloads: dict[str, Payload]) -> None:
        random = np.random.default_rng(3)
        for path in sorted(IMAGES)[:9]:
            upsert(collection, payloads[path], np.abs(random.normal(size=64)))

    bench.change(lose)
    assert only(bench.verify()) == {Fault.VECTOR_DIFFERS: sorted(IMAGES)[:9]}


def test_a_point_without_its_file_is_found_by_any_sample(bench: Bench) -> None:
    """All files are looked for; the next step removes the point."""
    (bench.files / "b/05.png").unlink()
    found = bench.verify(Sample(count=1))
    assert only(found) == {Fault.FILE_MISSING: ["b/05.png"]}
    assert found.wrong == 1
    bench.ingest(prune=True)
    assert bench.verify().is_sound


@pytest.mark.parametrize("how", ["gone", "empty", "folder empty"])
def test_files_on_a_disk_that_is_not_mounted_are_away_and_not_wrong(bench: Bench, how: str) -> None:
    """The root is missing or empty, or a folder in it is an empty mount point."""
    shutil.rmtree(bench.files / "b" if how == "folder empty" else bench.files)
    if how != "gone":
        (bench.files / "b" if how == "folder empty" else bench.files).mkdir()
    found = bench.verify()
    assert found.is_sound
    assert (found.away, found.reread) == ((10, 10) if how == "folder empty" else (20, 0))
    assert found.checked == 20


@pytest.mark.parametrize(
    "name",
    ["mutable_id_tracker.mappings", "tracker.dat", "page_0.dat", "chunk_0.mmap", "segment.json"],
)
def test_a_lost_file_of_the_shard_is_found(bench: Bench, name: str) -> None:
    """Whatever the engine makes of it: it refuses to load, or has lost ids, payloads or vectors."""
    segments = bench.home.qdrant_dir / bench.name / "shard" / "segments"
    next(file for file in sorted(segments.rglob(name)) if "payload_index" not in file.parts).unlink()
    assert bench.verify(Sample(count=2)).counts.keys() == {Fault.STORE_DAMAGED}


def test_a_shard_without_its_segments_names_the_lost_points(bench: Bench) -> None:
    """They are in the list that the last ingest left; the engine's log still has the last few."""
    shutil.rmtree(bench.home.qdrant_dir / bench.name / "shard" / "segments")
    found = bench.verify()
    assert found.counts.keys() == {Fault.STORE_DAMAGED}
    assert len(paths_of(found, Fault.STORE_DAMAGED)) + found.points == len(IMAGES)
    assert found.counts[Fault.STORE_DAMAGED] >= len(IMAGES) // 2


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sha256": "0" * 64}, "sha256"),
        ({"sha256": "none"}, "SHA-256"),
        ({"bytes": 12}, "bytes"),
        ({"width": 7}, "width"),
    ],
)
def test_an_edited_payload_is_told_from_a_changed_file(
    bench: Bench, fields: dict[str, object], said: str
) -> None:
    """The file still gives the stored vector, and has the stored time."""
    bench.change(
        lambda collection, payloads: collection.replace_payloads(
            [replace(payloads["a/08.png"], **fields)]  # type: ignore[arg-type] - of a field each
        )
    )
    found = bench.verify()
    assert said in found.findings[0].detail
    assert paths_of(found, found.findings[0].fault) == ["a/08.png"]
    assert found.counts.keys() == {Fault.PAYLOAD_DIFFERS}


def test_an_id_that_does_not_follow_from_the_path_is_found(bench: Bench) -> None:
    """The payload was exchanged for one of another path."""
    import qdrant_edge as edge

    def rename(collection: Collection, payloads: dict[str, Payload]) -> None:
        payload = payloads["a/10.png"]
        moved = replace(payload, path="a/elsewhere.png").to_json()
        collection._update(  # type: ignore[attr-defined] # noqa: SLF001 - the protocol derives ids itself
            edge.UpdateOperation.overwrite_payload([payload.id], moved)
        )

    bench.change(rename)
    assert only(bench.verify(Sample(count=1))) == {Fault.ID_DIFFERS: ["a/elsewhere.png"]}


def test_a_list_of_points_of_another_time_is_found(bench: Bench) -> None:
    """Beside a shard whose last write it does not know."""
    folder = bench.home.qdrant_dir / bench.name
    kept = {name: (folder / name).read_bytes() for name in ("points.db", "points.listed")}
    bench.change(
        lambda collection, payloads: collection.replace_payloads(
            [replace(payloads["a/00.png"], ingested_at="2020-01-01T00:00:00+00:00")]
        )
    )
    for name, data in kept.items():
        (folder / name).write_bytes(data)
    assert only(bench.verify()) == {Fault.LIST_DIFFERS: ["a/00.png"]}


def test_points_written_since_the_last_ingest_have_no_list(bench: Bench) -> None:
    """As after an ingest that was interrupted: what is there is verified all the same."""
    bench.change(lambda collection, payloads: collection.delete([payloads["a/00.png"].id]))
    found = bench.verify()
    assert found.is_sound
    assert not found.list_compared
    assert found.points == 19


def test_a_list_that_another_process_is_changing_is_not_compared(bench: Bench) -> None:
    """It may be of later points than the private view."""
    with bench.store.open_view(bench.name) as collection:
        found = verify_collection(collection, settings=bench.home, is_current=lambda: False)
    assert found.is_sound
    assert not found.list_compared


def test_nothing_is_written(bench: Bench) -> None:
    """Neither to the collection nor beside it, whether it is sound or not."""
    folder = bench.home.qdrant_dir / bench.name
    before = fingerprint([folder, bench.files])
    bench.verify()
    assert fingerprint([folder, bench.files]) == before


def test_a_reader_may_have_the_collection_open(bench: Bench) -> None:
    """As `search serve`, which holds a private view."""
    with bench.store.open_view(bench.name):
        assert bench.verify().is_sound


def test_unreadable_images_are_not_compared_and_not_wrong(bench: Bench) -> None:
    """A limit of pixels that an ingest did not have."""
    options = VerifyOptions(sample=ALL, max_pixels=10)
    found = verify_in_store(bench.store, bench.name, options, settings=bench.home)
    assert found.is_sound
    assert (found.unreadable, found.reread) == (20, 0)
    assert found.at_most_wrong == 0


def test_the_same_seed_draws_the_same_sample(bench: Bench) -> None:
    """Whatever the order of the points; another seed draws others."""
    for path in IMAGES[::2]:
        file = bench.files / path
        status = file.stat()
        file.write_bytes(bytes(status.st_size))
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    def paths(seed: int) -> Sequence[str | None]:
        options = VerifyOptions(sample=Sample(count=8), seed=seed)
        found = verify_in_store(bench.store, bench.name, options, settings=bench.home)
        assert found.at_most_wrong >= 10
        return paths_of(found, Fault.FILE_REPLACED)

    assert paths(1) == paths(1)
    assert len({tuple(paths(seed)) for seed in range(4)}) > 1


def test_an_empty_collection_is_sound(bench: Bench) -> None:
    """Nothing is wrong with no points."""
    bench.change(lambda collection, payloads: collection.delete([each.id for each in payloads.values()]))
    found = bench.verify(Sample(share=0.01))
    assert found.is_sound
    assert (found.points, found.at_most_wrong, found.share_at_most_wrong) == (0, 0, 0.0)


def test_a_store_that_fails_otherwise_is_no_finding(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that cannot be reached says nothing about its points."""
    with bench.store.open_view(bench.name) as collection:

        def fail() -> int:
            raise StoreError("the network is down")

        monkeypatch.setattr(collection, "count", fail)
        with pytest.raises(StoreError, match="network"):
            verify_collection(collection, settings=bench.home)


@pytest.mark.parametrize("text", ["", "0", "0%", "101%", "-1", "1.5", "many", "nan%", "%"])
def test_a_sample_that_is_none_is_refused(text: str) -> None:
    """The message says what would do."""
    with pytest.raises(UsageError, match="as 1%, or a number"):
        Sample.parse(text)


def test_samples_are_shares_or_numbers() -> None:
    """A share is at least one point, a number at most all."""
    assert Sample.parse("0.5%").size(1_000) == 5
    assert Sample.parse("1%").size(20) == 1
    assert Sample.parse("300").size(20) == 20
    assert Sample.parse("1%").size(0) == 0
    assert (ALL.size(20), ALL.is_all) == (20, True)
