"""Whole ingests: drawn images, a small real model, Qdrant's own engine."""

import io
import itertools
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from lookalike_core.arrays import FloatVector
from lookalike_core.cli.hint_words import full_message
from lookalike_core.errors import ManifestError, SkipReason, UsageError
from lookalike_core.images.decoding import decode
from lookalike_core.images.open_image import hash_stream
from lookalike_core.images.scan import FoundFile, Skipped
from lookalike_core.models.backbones import Pooling
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.models.embedder import Embedder
from lookalike_core.models.providers import CPU
from lookalike_core.progress import ShowBar, shown_by
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import (
    CollectionManifest,
    Distance,
    VectorQuantization,
    collection_name,
)
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_core.stores.points import FOLDERS, INDEXED_FIELDS, TAKEN_AT, ImagePoint, Payload, PointFilter
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest import image_reader as reading
from lookalike_ingest import plan as plan_module
from lookalike_ingest import reading as reading_module
from lookalike_ingest import run as run_module
from lookalike_ingest.dataset_rules import RuleChoice
from lookalike_ingest.image_reader import ReadFile
from lookalike_ingest.labels import Label, LabelOf, folder_label
from lookalike_ingest.plan import LOOKED_UP_AT_ONCE
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from numpy.typing import NDArray
from PIL import Image
from refusals import refuses
from sole_bar import SoleBar

VECTOR_TOLERANCE = 1e-5
"""Of values of unit vectors: float32, embedded in batches, and normalised by Qdrant."""

IMAGES = ("1.png", "cat/1.png", "cat/2.png", "dog/1.png", "dog/small/2.png")

Draw = Callable[..., list[Path]]


def _earlier(payload: Payload, days: int) -> str:
    return (datetime.fromisoformat(payload.missing_since or "") - timedelta(days=days)).isoformat()


@dataclass(kw_only=True)
class Ingests:
    """A folder `root` that is ingested again and again, into the store in `home`."""

    root: Path
    home: Settings
    spec: ModelSpec
    clock: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1_600_000_000))

    def run(
        self,
        root: Path | None = None,
        *,
        dataset: str = "data",
        moved: bool = False,
        specs: Sequence[ModelSpec] | None = None,
        distances: Sequence[Distance] = (Distance.COSINE,),
        labels: Mapping[str, str | None] | None = None,
        label_of: LabelOf = folder_label,
        takes: Callable[[FoundFile], bool] | None = None,
        batch_size: int = 16,
        dry_run: bool = False,
        prune: bool = False,
        prune_after: timedelta | None = None,
        force: bool = False,
        quantize: VectorQuantization | None = None,
        rules: RuleChoice | None = None,
        stop: StopRequest | None = None,
        show_bar: ShowBar | None = None,
    ) -> IngestReport:
        """Runs an ingest as the command does."""
        request = IngestRequest(
            dataset=Dataset(name=dataset, root=root or self.root, moved=moved),
            specs=specs or [self.spec],
            distances=distances,
            labels=labels or {},
            label_of=label_of,
            takes=takes,
            batch_size=batch_size,
            dry_run=dry_run,
            prune=prune,
            prune_after=prune_after,
            force=force,
            quantize=quantize,
            rules=rules or RuleChoice(),
        )
        with shown_by(show_bar):
            return run_ingest(request, store=self.store, settings=self.home, stop=stop or StopRequest())

    @property
    def store(self) -> EmbeddedStore:
        """Opens the store."""
        return EmbeddedStore(self.home.qdrant_dir)

    def missing_since(self) -> dict[str, str]:
        """Returns since when files are missing, by path."""
        with self.store.open(self.name()) as collection:
            return {
                payload.path: payload.missing_since
                for payload in collection.scan()
                if payload.missing_since is not None
            }

    def age(self, *, days: int) -> None:
        """Makes missing files so many days longer missing."""
        with self.store.open(self.name()) as collection:
            missing = [payload for payload in collection.scan() if payload.missing_since is not None]
            collection.replace_payloads(
                [replace(each, missing_since=_earlier(each, days)) for each in missing]
            )

    def name(self, distance: Distance = Distance.COSINE) -> str:
        """Returns the collection's name."""
        return collection_name(self.manifest.identity, distance, official=False)

    @property
    def manifest(self) -> CollectionManifest:
        """Returns the manifest of a collection of this model."""
        model = ensure_exported(self.spec, settings=self.home).manifest
        return CollectionManifest(
            identity=model.identity,
            distance=Distance.COSINE,
            weights=model.weights,
            exporter_version="0",
            graph_revision=1,
            provider=CPU,
            created_at="2026-01-01T00:00:00+00:00",
            datasets={},
        )

    def stored(self, distance: Distance = Distance.COSINE) -> dict[str, tuple[Payload, FloatVector]]:
        """Returns payloads and vectors by dataset and path."""
        with self.store.open(self.name(distance)) as collection:
            payloads = list(collection.scan())
            vectors = collection.vectors([payload.id for payload in payloads])
        assert len(vectors) == len(payloads)
        return {f"{p.dataset}:{p.path}": (p, vectors[p.id]) for p in payloads}

    def payload(self, path: str) -> Payload:
        """Returns the payload of an image of the dataset `data`."""
        return self.stored()[f"data:{path}"][0]

    def embed(self, files: Sequence[Path]) -> NDArray[np.float32]:
        """Returns the images' vectors, float32 `[N, 64]`, not normalised."""
        model = ensure_exported(self.spec, settings=self.home)
        images = [decode(io.BytesIO(file.read_bytes()), file.name).pixels for file in files]
        return Embedder.load(model.path, provider="cpu").embed(images)

    def write(self, path: str, content: Path | bytes) -> None:
        """Writes a file with a distinct mtime: clocks of file systems are coarse."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.read_bytes() if isinstance(content, Path) else content)
        self.touch(path)

    def touch(self, path: str) -> None:
        """Gives a file a new mtime."""
        moment = next(self.clock)
        os.utime(self.root / path, (moment, moment))

    def move(self, old: str, new: str) -> None:
        """Moves a file as `mv` does."""
        (self.root / new).parent.mkdir(parents=True, exist_ok=True)
        (self.root / old).replace(self.root / new)

    def assert_mirrored(self) -> None:
        """Checks that the collection holds every image as it is now, with its vector, and nothing else."""
        stored = self.stored()
        files = [file for file in self.root.rglob("*") if file.is_file()]
        assert stored.keys() == {f"data:{file.relative_to(self.root).as_posix()}" for file in files}
        for file, embedded in zip(files, self.embed(files), strict=True):
            payload, vector = stored[f"data:{file.relative_to(self.root).as_posix()}"]
            assert payload.sha256 == hash_stream(io.BytesIO(file.read_bytes()))
            assert (payload.bytes, payload.mtime_ns) == (file.stat().st_size, file.stat().st_mtime_ns)
            with Image.open(file) as image:
                assert (payload.width, payload.height) == image.size
            np.testing.assert_allclose(vector, unit(embedded), atol=VECTOR_TOLERANCE)


@pytest.fixture
def ingests(tmp_path: Path, home: Settings, tiny_spec: ModelSpec, draw: Draw) -> Ingests:
    """Draws five images, in two classes and without a class; does not ingest them."""
    draw(tmp_path / "data", *IMAGES)
    return Ingests(root=tmp_path / "data", home=home, spec=tiny_spec)


@pytest.fixture(scope="module")
def ingested(
    tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory, draw: Draw
) -> tuple[Ingests, IngestReport]:
    """Ingests the same images once, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("ingested")
    draw(folder / "data", *IMAGES)
    spec = ModelSpec.of("vgg", layer="block1_conv1", weights=str(tiny_weights))
    home = Settings(home=folder / "home", provider="cpu")
    ingests = Ingests(root=folder / "data", home=home, spec=spec)
    return ingests, ingests.run()


@pytest.fixture
def other(tmp_path: Path, draw: Draw) -> Path:
    """Draws another image, of a different size."""
    return draw(tmp_path, "other.png", size=(90, 60))[0]


@pytest.fixture
def no_session(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Returns a function after which opening a session fails the test."""

    class Forbidden:
        @staticmethod
        def load(*_: object, **__: object) -> None:
            pytest.fail("a session was opened")

    def forbid() -> None:
        monkeypatch.setattr("lookalike_ingest.embedders.Embedder", Forbidden)

    return forbid


def unit(vector: FloatVector) -> FloatVector:
    """Returns the vector at length 1, as a cosine collection stores it."""
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def counts(report: IngestReport) -> dict[str, int]:
    """Returns the counts of the only collection, without zeros."""
    [collection] = report.collections
    return {word: number for word, number in collection.counts.items() if number}


def provider(report: IngestReport) -> str | None:
    """Returns the provider that embedded for the only collection."""
    [collection] = report.collections
    return collection.provider


def test_a_first_run_adds_every_image(ingested: tuple[Ingests, IngestReport]) -> None:
    """Each has its own vector and a complete payload."""
    ingests, report = ingested
    assert counts(report) == {"added": 5}
    assert (report.found, report.embedded, report.skipped, report.interrupted) == (5, 5, [], False)
    assert provider(report) == CPU
    assert report.images_per_second > 0
    ingests.assert_mirrored()


def test_a_payload_has_dataset_class_and_time_of_ingest(ingested: tuple[Ingests, IngestReport]) -> None:
    """The class is the first folder; the time is in UTC."""
    ingests, _ = ingested
    classes = {payload.path: payload.class_name for payload, _ in ingests.stored().values()}
    assert classes == dict(zip(IMAGES, [None, "cat", "cat", "dog", "dog"], strict=True))
    ingested_at = datetime.fromisoformat(ingests.payload("1.png").ingested_at)
    assert ingested_at.utcoffset() == timedelta(0)


def test_the_manifest_records_the_root_and_the_model(
    ingested: tuple[Ingests, IngestReport],
) -> None:
    """A search needs both to find the images and the model."""
    ingests, _ = ingested
    manifest = ingests.store.manifest(ingests.name())
    assert manifest.datasets == {"data": str(ingests.root)}
    assert manifest.identity == ingests.manifest.identity
    assert manifest.weights.path == ingests.spec.weights
    assert manifest.provider == CPU


def test_a_second_run_changes_nothing_and_opens_no_session(
    ingested: tuple[Ingests, IngestReport], no_session: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files with the same size and times are not even read."""
    ingests, _ = ingested
    before = ingests.stored()
    no_session()
    monkeypatch.setattr("lookalike_ingest.reading.read_image", lambda *_: pytest.fail("a file was read"))
    report = ingests.run()
    assert counts(report) == {"unchanged": 5}
    assert (provider(report), report.embedded, report.images_per_second) == (None, 0, 0.0)
    assert {key: payload for key, (payload, _) in ingests.stored().items()} == {
        key: payload for key, (payload, _) in before.items()
    }


def test_points_of_an_older_version_get_their_new_fields(
    ingests: Ingests, no_session: Callable[[], None]
) -> None:
    """Nothing is embedded, all images are unchanged, and the collection gets its indexes; once is enough."""
    Image.new("RGB", (9, 9), "red").save(ingests.root / "cat/9.jpg", exif=exif_of("2021:03:04 05:06:07"))
    ingests.run()
    before = ingests.stored()
    with ingests.store.open(ingests.name()) as collection:
        assert isinstance(collection, EmbeddedCollection)
        make_older(collection)
    no_session()
    assert counts(ingests.run(dry_run=True)) == counts(ingests.run()) == {"unchanged": 6}
    after = ingests.stored()
    assert {key: payload for key, (payload, _) in after.items()} == {
        key: payload for key, (payload, _) in before.items()
    }
    assert ingests.payload("cat/9.jpg").taken_at == "2021-03-04T05:06:07+00:00"
    file_time = datetime.fromtimestamp((ingests.root / "1.png").stat().st_mtime, UTC)
    assert ingests.payload("1.png").taken_at == file_time.isoformat(timespec="seconds")
    with ingests.store.open(ingests.name()) as collection:
        assert collection.count_without(FOLDERS) == collection.count_without(TAKEN_AT) == 0
        assert collection.count(PointFilter(folders=frozenset({"cat"}))) == 3
        assert isinstance(collection, EmbeddedCollection)
        assert set(collection._shard.ask(lambda shard: shard.info().payload_schema)) == set(INDEXED_FIELDS)  # noqa: SLF001 - past the protocol
    with pytest.MonkeyPatch.context() as reading:
        reading.setattr("lookalike_ingest.reading.read_image", lambda *_: pytest.fail("a file was read"))
        assert counts(ingests.run()) == {"unchanged": 6}


def exif_of(text: str) -> Image.Exif:
    """Returns EXIF data with this time."""
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    exif.get_ifd(0x8769)[0x9003] = text
    return exif


def make_older(collection: EmbeddedCollection) -> None:
    """Makes a collection as a version without folders and times left it."""
    import qdrant_edge as edge

    ids = [payload.id for payload in collection.scan()]
    for name in (FOLDERS, TAKEN_AT, "width"):
        collection._shard.update(edge.UpdateOperation.delete_field_index(name))  # noqa: SLF001 - past the protocol
    collection._shard.update(edge.UpdateOperation.delete_payload(ids, [FOLDERS, TAKEN_AT]))  # noqa: SLF001
    assert collection.count_without(FOLDERS) == collection.count_without(TAKEN_AT) == len(ids)
    assert collection.upkeep is not None
    collection.upkeep.invalidate_cache()


def test_a_moved_image_is_in_its_new_folders(ingests: Ingests) -> None:
    """It was taken when it was before; the file is not embedded again."""
    ingests.run()
    before = ingests.payload("cat/1.png")
    ingests.move("cat/1.png", "b/c/1.png")
    assert counts(ingests.run())["moved"] == 1
    assert ingests.payload("b/c/1.png").taken_at == before.taken_at
    with ingests.store.open(ingests.name()) as collection:
        [moved] = collection.scan(PointFilter(folders=frozenset({"b"})))
        assert moved.path == "b/c/1.png"


def test_a_new_time_only_refreshes_the_payload(ingests: Ingests, no_session: Callable[[], None]) -> None:
    """After a checkout or a restored backup, every file has a new mtime."""
    ingests.run()
    before = ingests.payload("cat/1.png")
    ingests.touch("cat/1.png")
    no_session()
    assert counts(ingests.run()) == {"unchanged": 5}
    status = (ingests.root / "cat/1.png").stat()
    times = {"mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns}
    taken_at = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
    assert ingests.payload("cat/1.png") == replace(before, **times, taken_at=taken_at)


def test_a_point_whose_new_bytes_give_no_vector_stays_until_its_file_is_deleted(
    ingests: Ingests, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The payload cache keeps it, so that the next ingest need not read the store."""
    ingests.run()
    before = ingests.stored()
    ingests.write("cat/1.png", other)
    with monkeypatch.context() as blind:
        blind.setattr(
            "lookalike_ingest.apply.usable_rows", lambda vectors: np.zeros(len(vectors), dtype=bool)
        )
        report = ingests.run()
    assert report.skipped == [Skipped(path="cat/1.png", reason=SkipReason.NO_EMBEDDING)]
    assert {key: payload for key, (payload, _) in ingests.stored().items()} == {
        key: payload for key, (payload, _) in before.items()
    }
    with monkeypatch.context() as unasked:
        unasked.setattr(EmbeddedCollection, "scan", lambda *_: pytest.fail("the store is asked"))
        (ingests.root / "cat/1.png").unlink()
        assert counts(ingests.run(prune=True)) == {"unchanged": 4, "removed": 1}
    assert len(ingests.stored()) == 4


def test_other_bytes_are_embedded_again(ingests: Ingests, other: Path) -> None:
    """The id stays the same, so that a file has one point."""
    ingests.run()
    _, before = ingests.stored()["data:cat/1.png"]
    ingests.write("cat/1.png", other)
    report = ingests.run()
    assert counts(report) == {"updated": 1, "unchanged": 4}
    assert (provider(report), report.embedded) == (CPU, 1)
    _, after = ingests.stored()["data:cat/1.png"]
    assert np.abs(after - before).max() > 100 * VECTOR_TOLERANCE
    ingests.assert_mirrored()


def test_another_class_updates_only_the_payload(ingests: Ingests, no_session: Callable[[], None]) -> None:
    """Nothing is embedded."""
    ingests.run()
    no_session()
    assert counts(ingests.run(labels={"cat/1.png": "tiger"})) == {"updated": 1, "unchanged": 4}
    assert ingests.payload("cat/1.png").class_name == "tiger"
    ingests.assert_mirrored()


@pytest.mark.parametrize("prune", [False, True])
def test_a_moved_file_keeps_its_vector(ingests: Ingests, no_session: Callable[[], None], prune: bool) -> None:
    """The old point is removed with or without pruning, and the class is that of the new folder."""
    ingests.run()
    ingests.move("cat/1.png", "dog/moved.png")
    no_session()
    report = ingests.run(prune=prune)
    assert counts(report) == {"moved": 1, "unchanged": 4}
    assert provider(report) is None
    assert ingests.payload("dog/moved.png").class_name == "dog"
    ingests.assert_mirrored()


def test_all_files_of_a_renamed_folder_are_moved(ingests: Ingests, no_session: Callable[[], None]) -> None:
    """This holds for one batch or several."""
    ingests.run()
    (ingests.root / "cat").rename(ingests.root / "feline")
    no_session()
    assert counts(ingests.run(batch_size=1)) == {"moved": 2, "unchanged": 3}
    ingests.assert_mirrored()


def test_a_file_moved_onto_another_one_leaves_no_point_behind(
    ingests: Ingests, no_session: Callable[[], None]
) -> None:
    """Otherwise a search would find it as a copy of itself."""
    ingests.run()
    ingests.move("cat/2.png", "cat/1.png")
    no_session()
    assert counts(ingests.run()) == {"updated": 1, "unchanged": 3}
    ingests.assert_mirrored()


def test_a_copy_gets_the_stored_vector(ingests: Ingests, no_session: Callable[[], None]) -> None:
    """A search finds both files."""
    ingests.run()
    ingests.write("copies/1.png", ingests.root / "cat/1.png")
    no_session()
    assert counts(ingests.run()) == {"added": 1, "unchanged": 5}
    ingests.assert_mirrored()


def test_a_file_that_was_moved_and_copied_is_one_move_and_one_addition(
    ingests: Ingests, no_session: Callable[[], None]
) -> None:
    """The copy gets the vector of a point in the same batch."""
    ingests.run()
    ingests.move("cat/1.png", "a/1.png")
    ingests.write("b/1.png", ingests.root / "a/1.png")
    no_session()
    assert counts(ingests.run()) == {"moved": 1, "added": 1, "unchanged": 4}
    ingests.assert_mirrored()


@pytest.mark.parametrize("batch_size", [1, 16])
def test_two_images_that_swap_names_swap_vectors(ingests: Ingests, other: Path, batch_size: int) -> None:
    """The bytes of the second file are known when it is read, but no longer when it is decided about."""
    ingests.write("cat/1.png", other)
    ingests.run()
    one, two = ((ingests.root / path).read_bytes() for path in ("cat/1.png", "dog/1.png"))
    ingests.write("cat/1.png", two)
    ingests.write("dog/1.png", one)
    assert counts(ingests.run(batch_size=batch_size)) == {"updated": 2, "unchanged": 3}
    ingests.assert_mirrored()


def test_a_vector_is_never_copied_from_a_point_that_is_not_written_yet(ingests: Ingests, other: Path) -> None:
    """In one batch, the first file has the former bytes of the second, and the last those of the first."""
    ingests.run()
    wanted = (ingests.root / "dog/1.png").read_bytes()
    ingests.write("cat/1.png", wanted)
    ingests.write("dog/1.png", other)
    ingests.write("last/1.png", wanted)
    assert counts(ingests.run()) == {"updated": 2, "added": 1, "unchanged": 3}
    ingests.assert_mirrored()


def test_after_random_changes_the_collection_mirrors_the_folder(
    ingests: Ingests, draw: Draw, tmp_path: Path
) -> None:
    """Files are written, copied, moved and deleted at random, in batches of all sizes, with pruning."""
    chance = random.Random(0)  # noqa: S311 - no secret
    contents = [draw(tmp_path, f"content{i}.png", size=(30 + i, 40))[0] for i in range(6)]
    paths = ["a.png", "b/1.png", "b/2.png", "c/1.png", "c/2.png", "d.png"]
    ingests.run()
    for _ in range(4):
        for _ in range(chance.randint(1, 6)):
            path, here = chance.choice(paths), [p for p in paths if (ingests.root / p).exists()]
            match chance.choice(["write", "write", "move", "copy", "remove"]):
                case "move" if here:
                    ingests.move(chance.choice(here), path)
                case "copy" if here:
                    ingests.write(path, ingests.root / chance.choice(here))
                case "remove" if here:
                    (ingests.root / chance.choice(here)).unlink()
                case _:
                    ingests.write(path, chance.choice(contents))
        ingests.run(prune=True, batch_size=chance.choice([1, 2, 16]))
        ingests.assert_mirrored()


def test_points_of_deleted_files_stay_until_they_are_pruned(ingests: Ingests) -> None:
    """The files may be on a disk that is not mounted."""
    ingests.run()
    shutil.rmtree(ingests.root / "cat")
    assert counts(ingests.run()) == {"unchanged": 3}
    assert len(ingests.stored()) == 5
    assert counts(ingests.run(prune=True)) == {"unchanged": 3, "removed": 2}
    ingests.assert_mirrored()


def test_points_of_deleted_files_are_pruned_after_a_time(ingests: Ingests) -> None:
    """Counted from the first run that missed them, across runs; those without the option count nothing."""
    week = timedelta(days=7)
    ingests.run()
    shutil.rmtree(ingests.root / "cat")
    assert counts(ingests.run()) == {"unchanged": 3}
    assert ingests.missing_since() == {}
    report = ingests.run(prune_after=week)
    assert (counts(report), report.collections[0].waiting) == ({"unchanged": 3}, 2)
    first = ingests.missing_since()
    assert first.keys() == {"cat/1.png", "cat/2.png"}
    ingests.age(days=6)
    report = ingests.run(prune_after=week)
    assert (counts(report), report.collections[0].waiting) == ({"unchanged": 3}, 2)
    assert counts(ingests.run(prune_after=week, dry_run=True)) == {"unchanged": 3}
    ingests.age(days=2)
    assert ingests.run(prune_after=week, dry_run=True).collections[0].removed == ["cat/1.png", "cat/2.png"]
    assert len(ingests.stored()) == 5
    assert counts(ingests.run(prune_after=week)) == {"unchanged": 3, "removed": 2}
    ingests.assert_mirrored()


def test_a_file_that_comes_back_is_not_pruned(ingests: Ingests) -> None:
    """Whichever run sees it: the next time that it is missing, the time counts anew."""
    week, kept = timedelta(days=7), ingests.home.home / "kept.png"
    ingests.run()
    shutil.copy2(ingests.root / "cat/1.png", kept)
    (ingests.root / "cat/1.png").unlink()
    ingests.run(prune_after=week)
    ingests.age(days=8)
    shutil.copy2(kept, ingests.root / "cat/1.png")
    report = ingests.run()
    assert (counts(report), report.embedded) == ({"unchanged": 5}, 0)
    assert ingests.missing_since() == {}
    (ingests.root / "cat/1.png").unlink()
    assert counts(ingests.run(prune_after=week)) == {"unchanged": 4}
    assert counts(ingests.run(prune_after=timedelta(0))) == {"unchanged": 4, "removed": 1}


def test_a_disk_that_is_not_mounted_is_not_pruned_after_any_time(ingests: Ingests) -> None:
    """An empty folder starts no time, and a folder without any image is refused."""
    ingests.run()
    (ingests.root / "cat/1.png").unlink()
    (ingests.root / "cat/2.png").unlink()
    report = ingests.run(prune_after=timedelta(0))
    assert counts(report) == {"unchanged": 3}
    assert report.collections[0].away == ["cat/1.png", "cat/2.png"]
    assert ingests.missing_since() == {}
    shutil.rmtree(ingests.root)
    ingests.root.mkdir()
    with refuses(UsageError, match="holds no images"):
        ingests.run(prune_after=timedelta(0))
    assert len(ingests.stored()) == 5


def test_a_root_that_is_unmounted_during_a_run_keeps_its_points(
    ingests: Ingests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images that were not seen any more count as away, those directly in the root too."""
    ingests.run()
    scan = run_module.find_images

    def unmount_behind_the_first(*words: Any, **named: Any) -> Any:
        yield next(scan(*words, **named))
        shutil.rmtree(ingests.root)
        ingests.root.mkdir()

    monkeypatch.setattr(run_module, "find_images", unmount_behind_the_first)
    report = ingests.run(prune=True)
    assert report.collections[0].counts["removed"] == 0
    assert len(report.collections[0].away) == 4
    assert len(ingests.stored()) == 5


def test_pruning_at_once_and_after_a_time_exclude_each_other(ingests: Ingests) -> None:
    """Also a time before now."""
    with refuses(UsageError, match="leave one of --prune or --prune-after out"):
        ingests.run(prune=True, prune_after=timedelta(days=1))
    with refuses(UsageError, match=r"^--prune-after: "):
        ingests.run(prune_after=timedelta(days=-1))


def test_a_dry_run_lists_what_pruning_would_remove(ingests: Ingests) -> None:
    """The run after it removes exactly these paths."""
    ingests.run()
    shutil.rmtree(ingests.root / "cat")
    report = ingests.run(prune=True, dry_run=True)
    assert report.collections[0].removed == ["cat/1.png", "cat/2.png"]
    assert len(ingests.stored()) == 5
    assert ingests.run(prune=True).collections[0].removed == ["cat/1.png", "cat/2.png"]
    ingests.assert_mirrored()


@pytest.mark.parametrize("whole_folder", [False, True])
def test_emptying_a_dataset_needs_force(ingests: Ingests, whole_folder: bool) -> None:
    """If no image is found, a disk is probably not mounted; other datasets are unchanged."""
    ingests.run()
    shutil.copytree(ingests.root, ingests.home.home / "other")
    ingests.run(ingests.home.home / "other", dataset="other")
    shutil.rmtree(ingests.root)
    if not whole_folder:
        ingests.root.mkdir()
    with refuses(UsageError, match="does not exist" if whole_folder else "--prune --force"):
        ingests.run(prune=True)
    with refuses(UsageError, match=r"^--force: .*; use --prune$"):
        ingests.run(force=True)
    assert len(ingests.stored()) == 10
    report = ingests.run(prune=True, force=True)
    assert (report.found, counts(report)) == (0, {"removed": 5})
    assert {key.partition(":")[0] for key in ingests.stored()} == {"other"}


def test_an_interrupted_move_is_finished_by_the_next_run(
    ingests: Ingests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new point was written, but the old one not yet removed."""
    ingests.run()
    ingests.move("cat/1.png", "dog/moved.png")
    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedCollection, "delete", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ingests.run()
    assert len(ingests.stored()) == 6
    assert counts(ingests.run(dry_run=True)) == {"unchanged": 5, "removed": 1}
    assert counts(ingests.run()) == {"unchanged": 5, "removed": 1}
    ingests.assert_mirrored()


def test_a_broken_link_keeps_its_point_unless_forced(ingests: Ingests, other: Path, said: list[str]) -> None:
    """Its disk may not be mounted, so a file with the same bytes is a copy and not a move."""
    (ingests.root / "link.png").symlink_to(other)
    ingests.run()
    ingests.write("copy.png", other)
    other.unlink()
    report = ingests.run(prune=True)
    assert report.skipped == [Skipped(path="link.png", reason=SkipReason.VANISHED)]
    assert counts(report) == {"added": 1, "unchanged": 5}
    assert report.collections[0].away == ["link.png"]
    assert "1 points of" in said[-1]
    assert "--prune --force" in full_message(said[-1])
    assert counts(ingests.run(prune=True, force=True)) == {"unchanged": 6, "removed": 1}


@pytest.mark.parametrize("dry_run", [False, True])
def test_pruning_leaves_points_below_a_folder_that_is_empty_now(ingests: Ingests, dry_run: bool) -> None:
    """A disk may not be mounted there; hidden files do not count."""
    ingests.run()
    shutil.rmtree(ingests.root / "dog")
    (ingests.root / "dog").mkdir()
    (ingests.root / "dog/.not-mounted").touch()
    (ingests.root / "cat/1.png").unlink()
    report = ingests.run(prune=True, dry_run=dry_run)
    [collection] = report.collections
    assert (collection.removed, collection.away) == (["cat/1.png"], ["dog/1.png", "dog/small/2.png"])
    assert len(ingests.stored()) == (5 if dry_run else 4)
    report = ingests.run(prune=True, force=True)
    assert report.collections[0].away == []
    assert set(ingests.stored()) == {"data:1.png", "data:cat/2.png"}


def test_pruning_removes_points_of_deleted_folders(ingests: Ingests) -> None:
    """It also removes those of a folder that now holds only other files, and lists their paths."""
    ingests.run()
    shutil.rmtree(ingests.root / "dog")
    for file in (ingests.root / "cat").iterdir():
        file.unlink()
    (ingests.root / "cat/notes.txt").touch()
    [collection] = ingests.run(prune=True).collections
    assert collection.removed == ["cat/1.png", "cat/2.png", "dog/1.png", "dog/small/2.png"]
    assert collection.away == []


@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize("is_link", [False, True])
def test_copies_of_files_on_an_unmounted_disk_are_not_moves(
    ingests: Ingests, tmp_path: Path, said: list[str], prune: bool, is_link: bool
) -> None:
    """The disk has an empty mount point or a broken link; after mounting, nothing has changed."""
    disk, rules = ingests.root / "disk", RuleChoice(follow_links=True)
    (tmp_path / "volume").mkdir()
    disk.symlink_to(tmp_path / "volume") if is_link else disk.mkdir()
    ingests.move("cat/1.png", "disk/1.png")
    ingests.run(rules=rules)
    ingests.write("dog/copy.png", disk / "1.png")
    content = (tmp_path / "volume" if is_link else disk).rename(tmp_path / "away")
    if not is_link:
        disk.mkdir()
    report = ingests.run(prune=prune)
    assert (counts(report), report.collections[0].away) == ({"added": 1, "unchanged": 4}, ["disk/1.png"])
    assert ("copies of their images" in said[-1]) is not prune
    assert "--prune --force" in full_message(said[-1])
    assert ingests.run(prune=prune, dry_run=True).collections[0].away == (["disk/1.png"] if prune else [])
    if not is_link:
        disk.rmdir()
    content.rename(tmp_path / "volume" if is_link else disk)
    assert counts(ingests.run()) == {"unchanged": 6}


def test_files_moved_out_of_a_now_empty_folder_are_copies_unless_forced(
    ingests: Ingests, no_session: Callable[[], None]
) -> None:
    """The empty folder may be a mount point without its disk."""
    ingests.run()
    for name in ("1.png", "2.png"):
        ingests.move(f"cat/{name}", f"tiger/{name}")
    assert counts(ingests.run(prune=True, force=True, dry_run=True)) == {"moved": 2, "unchanged": 3}
    no_session()
    report = ingests.run()
    assert counts(report) == {"added": 2, "unchanged": 3}
    assert report.collections[0].away == ["cat/1.png", "cat/2.png"]
    assert counts(ingests.run(prune=True, force=True)) == {"unchanged": 5, "removed": 2}
    (ingests.root / "cat").rmdir()
    ingests.move("dog/1.png", "cat/1.png")
    assert counts(ingests.run()) == {"moved": 1, "unchanged": 4}


def test_files_moved_out_of_a_deleted_folder_are_moves(
    ingests: Ingests,
) -> None:
    """A renamed folder looks the same."""
    ingests.run()
    (ingests.root / "cat").rename(ingests.root / "tiger")
    report = ingests.run()
    assert (counts(report), report.collections[0].away) == ({"moved": 2, "unchanged": 3}, [])


def test_pruning_leaves_points_in_an_unreadable_folder(ingests: Ingests) -> None:
    """Its files may still exist, so copies of them are not moves."""
    if os.name == "nt" or os.geteuid() == 0:
        pytest.skip("the user of this process may read every folder")
    ingests.run()
    ingests.write("copy.png", ingests.root / "cat/1.png")
    (ingests.root / "cat").chmod(0)
    try:
        report = ingests.run(prune=True)
    finally:
        (ingests.root / "cat").chmod(0o700)
    assert counts(report) == {"added": 1, "unchanged": 3}
    assert (report.found, [skipped.path for skipped in report.skipped]) == (4, ["cat"])
    ingests.assert_mirrored()


def test_pruning_leaves_other_datasets_alone(ingests: Ingests, tmp_path: Path, draw: Draw) -> None:
    """Both datasets are in the same collection."""
    draw(tmp_path / "more", "cat/1.png", seed=1)
    ingests.run()
    ingests.run(tmp_path / "more", dataset="more", prune=True)
    assert len(ingests.stored()) == 6
    manifest = ingests.store.manifest(ingests.name())
    assert manifest.datasets == {"data": str(ingests.root), "more": str(tmp_path / "more")}


def test_bytes_known_from_another_dataset_are_not_embedded_again(
    ingests: Ingests, tmp_path: Path, no_session: Callable[[], None]
) -> None:
    """The same folder under two dataset names is embedded once."""
    ingests.run()
    shutil.copytree(ingests.root, tmp_path / "same")
    no_session()
    assert counts(ingests.run(tmp_path / "same", dataset="same")) == {"added": 5}
    stored = ingests.stored()
    for path in IMAGES:
        np.testing.assert_allclose(
            stored[f"same:{path}"][1], stored[f"data:{path}"][1], atol=VECTOR_TOLERANCE
        )


def test_a_dry_run_counts_and_stores_nothing(ingests: Ingests, other: Path) -> None:
    """No collection is created, and none is changed."""
    assert counts(ingests.run(dry_run=True)) == {"added": 5}
    assert ingests.store.names() == []
    ingests.run()
    before = {key: payload for key, (payload, _) in ingests.stored().items()}
    ingests.write("cat/1.png", other)
    ingests.move("cat/2.png", "cat/3.png")
    (ingests.root / "1.png").unlink()
    report = ingests.run(dry_run=True, prune=True, labels={"dog/1.png": "wolf"})
    assert counts(report) == {"updated": 2, "moved": 1, "unchanged": 1, "removed": 1}
    assert (provider(report), report.embedded) == (None, 0)
    assert {key: payload for key, (payload, _) in ingests.stored().items()} == before


def test_unreadable_images_are_skipped_with_a_reason(ingests: Ingests, draw: Draw) -> None:
    """The others are added; a repaired one is added by the next run."""
    whole = (ingests.root / "1.png").read_bytes()
    ingests.write("cat/cut.png", whole[: len(whole) // 2])
    ingests.write("cat/empty.jpg", b"")
    ingests.write("dog/note.jpg", b"hello")
    (ingests.root / "dog/nowhere.png").symlink_to("gone.png")
    report = ingests.run()
    assert report.skipped == [
        Skipped(path="dog/nowhere.png", reason=SkipReason.VANISHED),
        Skipped(path="cat/cut.png", reason=SkipReason.TRUNCATED),
        Skipped(path="cat/empty.jpg", reason=SkipReason.EMPTY),
        Skipped(path="dog/note.jpg", reason=SkipReason.NOT_AN_IMAGE),
    ]
    assert (report.found, counts(report), report.used) == (9, {"added": 5}, True)
    assert len(ingests.stored()) == 5
    (ingests.root / "dog/nowhere.png").unlink()
    (ingests.root / "dog/note.jpg").unlink()
    (ingests.root / "cat/empty.jpg").unlink()
    draw(ingests.root, "cat/cut.png", seed=7)
    assert counts(ingests.run()) == {"added": 1, "unchanged": 5}
    ingests.assert_mirrored()


def test_a_folder_without_a_readable_image_creates_no_collection(ingests: Ingests) -> None:
    """The report's check raises an error."""
    shutil.rmtree(ingests.root)
    ingests.write("note.jpg", b"hello")
    report = ingests.run()
    assert (report.found, report.used, len(report.skipped)) == (1, False, 1)
    assert ingests.store.names() == []


def test_each_image_is_decoded_once_and_embedded_once_per_model(
    ingests: Ingests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two models and two distances make four collections."""
    decoded: list[str] = []
    embedded: list[int] = []
    embed = Embedder.embed

    def counted(stream: BinaryIO, name: str, *, max_pixels: int) -> object:
        decoded.append(name)
        return decode(stream, name, max_pixels=max_pixels)

    def counted_batch(embedder: Embedder, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        embedded.append(len(pixels))
        return embed(embedder, pixels)

    monkeypatch.setattr(reading, "decode", counted)
    monkeypatch.setattr(Embedder, "embed", counted_batch)
    largest = ModelSpec.of("vgg", layer="block1_conv1", pooling=Pooling.MAX, weights=ingests.spec.weights)
    report = ingests.run(specs=[ingests.spec, largest], distances=list(Distance))
    assert sorted(decoded) == sorted(IMAGES)
    assert embedded == [5, 5]
    assert [collection.counts["added"] for collection in report.collections] == [5] * 4
    assert len(ingests.store.names()) == 4
    assert report.embedded == 5


def test_a_euclidean_collection_holds_raw_vectors_and_a_cosine_one_unit_vectors(ingests: Ingests) -> None:
    """Qdrant normalises vectors for cosine."""
    ingests.run(distances=[Distance.COSINE, Distance.EUCLID])
    [vector] = ingests.embed([ingests.root / "1.png"])
    assert abs(np.linalg.norm(vector) - 1) > 100 * VECTOR_TOLERANCE
    np.testing.assert_allclose(
        ingests.stored(Distance.EUCLID)["data:1.png"][1], vector, rtol=VECTOR_TOLERANCE
    )
    np.testing.assert_allclose(ingests.stored()["data:1.png"][1], unit(vector), atol=VECTOR_TOLERANCE)


def test_a_second_distance_leaves_the_first_collection_unchanged(ingests: Ingests) -> None:
    """The new collection gets every image."""
    ingests.run()
    report = ingests.run(distances=[Distance.COSINE, Distance.EUCLID])
    cosine, euclid = report.collections
    assert (cosine.counts["unchanged"], euclid.counts["added"]) == (5, 5)
    assert len(ingests.stored(Distance.EUCLID)) == 5
    ingests.assert_mirrored()


def test_collections_are_opened_in_the_order_of_their_names(
    ingests: Ingests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This prevents deadlocks between two ingests; reports are in the requested order."""
    opened: list[str] = []
    plain = EmbeddedStore.open

    def noted(store: EmbeddedStore, name: str) -> EmbeddedCollection:
        opened.append(name)
        return plain(store, name)

    monkeypatch.setattr(EmbeddedStore, "open", noted)
    cosine, euclid = ingests.name(Distance.COSINE), ingests.name(Distance.EUCLID)
    for _ in ("made", "there"):
        opened.clear()
        report = ingests.run(distances=[Distance.EUCLID, Distance.COSINE])
        assert opened == [cosine, euclid]
        assert [each.name for each in report.collections] == [euclid, cosine]


def test_a_dataset_of_the_same_name_elsewhere_is_refused(
    ingested: tuple[Ingests, IngestReport], tmp_path: Path, draw: Draw
) -> None:
    """Their points would overwrite each other; the message has both remedies."""
    ingests, _ = ingested
    draw(tmp_path / "elsewhere" / "data", "cat/1.png", seed=1)
    with pytest.raises(UsageError) as refused:
        ingests.run(tmp_path / "elsewhere" / "data")
    said = full_message(refused.value)
    assert str(ingests.root) in said
    assert str(tmp_path / "elsewhere" / "data") in said
    assert "--new-root" in said
    assert "--dataset" in said
    ingests.assert_mirrored()


def test_a_moved_root_changes_nothing_but_the_manifest(
    ingests: Ingests, no_session: Callable[[], None]
) -> None:
    """Stored paths are relative to the root; the manifest records the new root."""
    ingests.run()
    moved = ingests.root.rename(ingests.root.with_name("archive"))
    no_session()
    assert counts(ingests.run(moved, moved=True)) == {"unchanged": 5}
    assert counts(ingests.run(moved)) == {"unchanged": 5}
    assert ingests.store.manifest(ingests.name()).datasets == {"data": str(moved)}


def test_labels_override_folders(ingests: Ingests) -> None:
    """Unlisted files keep the class of their folder; rows without a file are counted."""
    labels = {"cat/1.png": "tiger", "dog/1.png": None, "1.png": "tree", "gone.png": "x", "x/y.png": None}
    report = ingests.run(labels=labels)
    assert report.unused_labels == 2
    classes = {payload.path: payload.class_name for payload, _ in ingests.stored().values()}
    assert classes == dict(zip(IMAGES, ["tree", "tiger", "cat", None, "dog"], strict=True))


def tiger(found: FoundFile) -> Label:
    """Returns a label from a WordNet that knows only cats."""
    in_cats = found.folder_class == "cat"
    return Label(class_name="tiger", synset="n02129604") if in_cats else folder_label(found)


def test_labels_override_class_and_synset(ingests: Ingests, no_session: Callable[[], None]) -> None:
    """Labels added later change payloads only; nothing is embedded again."""
    ingests.run()
    no_session()
    assert counts(ingests.run(label_of=tiger)) == {"updated": 2, "unchanged": 3}
    assert counts(ingests.run(label_of=tiger)) == {"unchanged": 5}
    stored = [ingests.payload(path) for path in ("cat/1.png", "cat/2.png", "dog/1.png")]
    assert [(payload.class_name, payload.synset) for payload in stored] == [
        ("tiger", "n02129604"),
        ("tiger", "n02129604"),
        ("dog", None),
    ]
    labels = {"cat/1.png": "tiger", "cat/2.png": None}
    assert counts(ingests.run(label_of=tiger, labels=labels)) == {"updated": 2, "unchanged": 3}
    assert {ingests.payload(path).synset for path in labels} == {None}


def test_touched_copied_and_moved_files_have_the_synset_of_their_folder(ingests: Ingests) -> None:
    """The synset is part of the payload."""
    ingests.run(label_of=tiger)
    ingests.touch("cat/1.png")
    ingests.write("cat/copy.png", ingests.root / "cat/1.png")
    ingests.move("cat/2.png", "cat/deeper/2.png")
    ingests.write("dog/copy.png", ingests.root / "cat/1.png")
    assert counts(ingests.run(label_of=tiger)) == {"added": 2, "moved": 1, "unchanged": 4}
    paths = ("cat/1.png", "cat/copy.png", "cat/deeper/2.png", "dog/copy.png")
    assert [ingests.payload(path).synset for path in paths] == ["n02129604"] * 3 + [None]


@pytest.mark.parametrize("dry_run", [False, True])
def test_images_outside_the_sample_are_neither_embedded_nor_removed(ingests: Ingests, dry_run: bool) -> None:
    """Pruning removes only points of deleted files, also if a sample is ingested after the whole folder."""
    ingests.run(takes=lambda found: found.path != "dog/1.png")
    assert ingests.stored().keys() == {f"data:{path}" for path in IMAGES if path != "dog/1.png"}
    (ingests.root / "cat/2.png").unlink()
    report = ingests.run(takes=lambda found: found.path == "1.png", prune=True, dry_run=dry_run)
    assert (report.found, report.not_taken) == (1, 3)
    assert counts(report) == {"unchanged": 1, "removed": 1}
    assert report.collections[0].removed == ["cat/2.png"]
    assert counts(ingests.run(prune=True)) == {"added": 1, "unchanged": 3} | (
        {"removed": 1} if dry_run else {}
    )


def test_labels_of_images_outside_the_sample_are_not_unused(ingests: Ingests) -> None:
    """They match files of the folder."""
    assert (
        ingests.run(labels={"cat/1.png": "x"}, takes=lambda found: found.path == "1.png").unused_labels == 0
    )


def test_a_collection_of_another_space_is_refused(ingests: Ingests) -> None:
    """The error names both identities, and the collection is unchanged."""
    ours = ingests.manifest
    theirs = replace(ours, identity=replace(ours.identity, preprocessing="another-224+caffe"))
    ingests.store.create(theirs)
    with pytest.raises(
        ManifestError, match=r"preprocessing is another-224\+caffe there and \S+ here"
    ) as refused:
        ingests.run()
    assert refused.value.exit_code == 6
    assert ingests.store.manifest(theirs.collection) == theirs
    assert ingests.stored() == {}


@pytest.mark.parametrize("dry_run", [True, False])
def test_vector_quantization_is_fixed_when_a_collection_is_created(ingests: Ingests, dry_run: bool) -> None:
    """Later runs may omit it; a different one is refused with the command that changes it."""
    ingests.run(quantize=VectorQuantization.INT8)
    assert ingests.store.manifest(ingests.name()).vector_quantization is VectorQuantization.INT8
    assert counts(ingests.run()) == {"unchanged": len(IMAGES)}
    assert counts(ingests.run(quantize=VectorQuantization.INT8)) == {"unchanged": len(IMAGES)}
    with refuses(UsageError, match=rf"ingest rebuild {ingests.name()} --quantize int4"):
        ingests.run(quantize=VectorQuantization.INT4, dry_run=dry_run)
    assert ingests.store.manifest(ingests.name()).vector_quantization is VectorQuantization.INT8
    ingests.assert_mirrored()


def test_a_foreign_folder_with_the_name_of_a_collection_is_left_alone(ingests: Ingests) -> None:
    """The ingest raises a manifest error."""
    diary = ingests.home.qdrant_dir / ingests.name() / "diary.txt"
    diary.parent.mkdir(parents=True)
    diary.write_text("not yours", encoding="utf-8")
    with pytest.raises(ManifestError, match=ingests.name()):
        ingests.run()
    assert list(diary.parent.iterdir()) == [diary]


def test_an_image_with_a_zero_vector_is_skipped(
    ingests: Ingests, write_weights: Callable[..., Path], tmp_path: Path
) -> None:
    """A zero vector has no direction to compare; it is never stored, and reported once for all collections.

    The kernels sum what is brighter than the mean colour, which is nothing in a black image.
    """
    weights = write_weights(tmp_path / "bright.h5", kernel=1.0)
    ingests.spec = ModelSpec.of("vgg", layer="block1_conv1", weights=str(weights))
    shutil.rmtree(ingests.root)
    ingests.root.mkdir()
    Image.new("RGB", (9, 9), "white").save(ingests.root / "white.png")
    for name in ("black.png", "black too.png"):
        Image.new("RGB", (9, 9), "black").save(ingests.root / name)
    report = ingests.run(distances=list(Distance))
    assert report.skipped == [
        Skipped(path="black too.png", reason=SkipReason.NO_EMBEDDING),
        Skipped(path="black.png", reason=SkipReason.NO_EMBEDDING),
    ]
    assert [collection.counts["added"] for collection in report.collections] == [1, 1]
    for distance in Distance:
        assert ingests.stored(distance).keys() == {"data:white.png"}
    assert counts(ingests.run()) == {"unchanged": 1}


def test_zero_vectors_alone_create_no_collection(
    ingests: Ingests, write_weights: Callable[..., Path], tmp_path: Path
) -> None:
    """This holds for batches of one, too."""
    weights = write_weights(tmp_path / "blind.h5", kernel=0.0)
    ingests.spec = ModelSpec.of("vgg", layer="block1_conv1", weights=str(weights))
    report = ingests.run(batch_size=1)
    assert (report.found, len(report.skipped), report.used) == (5, 5, False)
    assert ingests.store.names() == []


@pytest.mark.parametrize("batch_size", [1, 2])
def test_an_interrupted_ingest_is_finished_by_the_next_one(
    ingests: Ingests, tmp_path: Path, batch_size: int
) -> None:
    """Earlier batches can be searched, and the final result equals that of an uninterrupted run."""
    stop = StopRequest()
    report = ingests.run(batch_size=batch_size, stop=stop, show_bar=StoppingAfterABatch(stop))
    assert report.interrupted
    assert counts(report) == {"added": batch_size}
    partial = ingests.stored()
    assert len(partial) == batch_size
    assert counts(ingests.run()) == {"added": 5 - batch_size, "unchanged": batch_size}
    home = Settings(home=tmp_path / "undisturbed", provider="cpu")
    undisturbed = Ingests(root=ingests.root, home=home, spec=ingests.spec)
    undisturbed.run()
    finished, expected = ingests.stored(), undisturbed.stored()
    assert finished.keys() == expected.keys()
    for key, (payload, vector) in expected.items():
        assert replace(finished[key][0], ingested_at="") == replace(payload, ingested_at="")
        np.testing.assert_allclose(finished[key][1], vector, atol=VECTOR_TOLERANCE)


def test_a_batch_that_is_being_embedded_is_finished(
    ingests: Ingests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop that comes while the network computes does not waste what it computes."""
    stop = StopRequest()
    embed = Embedder.embed

    def embed_and_stop(self: Embedder, pixels: Any) -> Any:
        stop.requested = True
        return embed(self, pixels)

    monkeypatch.setattr(Embedder, "embed", embed_and_stop)
    report = ingests.run(batch_size=2, stop=stop)
    assert (report.interrupted, counts(report)) == (True, {"added": 2})
    assert len(ingests.stored()) == 2


def test_an_interrupted_ingest_prunes_nothing(ingests: Ingests, other: Path) -> None:
    """Files that were not looked at do not count as deleted."""
    ingests.run()
    for path in IMAGES:
        ingests.write(path, other)
    stop = StopRequest()
    report = ingests.run(prune=True, batch_size=1, stop=stop, show_bar=StoppingAfterABatch(stop))
    assert report.interrupted
    assert len(ingests.stored()) == 5


def test_an_unchanged_folder_can_be_interrupted(
    ingested: tuple[Ingests, IngestReport],
) -> None:
    """Listing a million files takes minutes."""
    ingests, _ = ingested
    for number in range(LOOKED_UP_AT_ONCE):
        ingests.write(f"zoo/{number}.png", b"")
    stop = StopRequest()
    report = ingests.run(
        stop=stop, show_bar=StoppingAfterABatch(stop), takes=lambda file: not file.path.startswith("zoo/")
    )
    assert (report.interrupted, counts(report)) == (True, {"unchanged": 5})
    assert report.not_taken == LOOKED_UP_AT_ONCE - 5


def test_a_stop_request_interrupts_a_wait() -> None:
    """There is no batch to finish while an index is built."""
    stop = StopRequest()
    stop.check()
    stop.requested = True
    with pytest.raises(KeyboardInterrupt):
        stop.check()


def test_a_folder_without_images_is_a_usage_error(ingests: Ingests) -> None:
    """The message lists the suffixes, and no model is exported."""
    shutil.rmtree(ingests.root)
    ingests.write("notes.txt", b"hello")
    with pytest.raises(UsageError, match=r"holds no images \(\.apng, .*\.webp\)"):
        ingests.run()
    assert not ingests.home.models_dir.exists()


@pytest.mark.parametrize(("path", "said"), [("gone", "does not exist"), ("1.png", "is not a folder")])
def test_a_path_that_is_no_folder_is_a_usage_error(ingests: Ingests, path: str, said: str) -> None:
    """The message names the absolute path."""
    with pytest.raises(UsageError, match=said) as refused:
        ingests.run(ingests.root / path)
    assert str(ingests.root / path) in str(refused.value)


class StoppingAfterABatch(SoleBar):
    """A progress bar that requests a stop after the first batch."""

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop

    def advance(self, done: int, *, skipped: int = 0) -> None:  # noqa: ARG002 - the bar's signature
        """Requests a stop."""
        self._stop.requested = self._stop.requested or done > 0


def test_a_copy_whose_original_is_deleted_later_is_not_a_move(ingests: Ingests) -> None:
    """The original's point stays until it is pruned."""
    ingests.write("backup/1.png", ingests.root / "cat/1.png")
    ingests.run()
    shutil.rmtree(ingests.root / "backup")
    assert counts(ingests.run()) == {"unchanged": 5}
    assert len(ingests.stored()) == 6
    ingests.write("later/1.png", ingests.root / "cat/2.png")
    ingests.run()
    (ingests.root / "cat/2.png").unlink()
    assert counts(ingests.run()) == {"unchanged": 5}
    assert len(ingests.stored()) == 7


def test_a_new_file_at_the_old_path_of_a_moved_one_is_not_removed(
    ingests: Ingests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`moved_from` does not apply to points that were written later."""
    ingests.run()
    ingests.move("cat/1.png", "cat/moved.png")
    ingests.run()
    assert ingests.payload("cat/moved.png").moved_from == "cat/1.png"
    monkeypatch.setattr(plan_module, "now", lambda: "2099-01-01T00:00:00+00:00")
    ingests.write("cat/1.png", ingests.root / "cat/moved.png")
    ingests.run()
    (ingests.root / "cat/1.png").unlink()
    assert counts(ingests.run()) == {"unchanged": 5}
    assert len(ingests.stored()) == 6


def test_links_to_an_unmounted_disk_do_not_empty_a_dataset(ingests: Ingests, tmp_path: Path) -> None:
    """A scan lists the broken links."""
    disk = ingests.root.rename(tmp_path / "disk")
    ingests.root.mkdir()
    for path in IMAGES:
        (ingests.root / path).parent.mkdir(exist_ok=True)
        (ingests.root / path).symlink_to(disk / path)
    ingests.run()
    disk.rename(tmp_path / "unplugged")
    with pytest.raises(UsageError, match="if a disk is not mounted"):
        ingests.run(prune=True)
    assert len(ingests.stored()) == 5
    assert counts(ingests.run(prune=True, force=True)) == {"removed": 5}


def test_the_recorded_size_of_a_growing_file_is_corrected(
    ingests: Ingests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run records the size of the scan; the next run corrects it."""
    read = reading_module.read_image

    def grown(found: FoundFile, is_known: Any, **words: Any) -> ReadFile:
        if found.path == "cat/1.png":
            found.file.write_bytes(found.file.read_bytes() + b"more")
        return read(found, is_known, **words)

    with monkeypatch.context() as patch:
        patch.setattr(reading_module, "read_image", grown)
        ingests.run()
    size = (ingests.root / "cat/1.png").stat().st_size
    assert ingests.payload("cat/1.png").bytes < size
    ingests.run()
    assert ingests.payload("cat/1.png").bytes == size


def test_runs_that_change_no_neighbour_keep_the_calibration(
    ingests: Ingests, calibration: Calibration
) -> None:
    """Such runs are of an unchanged folder, a new mtime, and a dry run."""
    ingests.run()
    with ingests.store.open(ingests.name()) as collection:
        collection.record_calibration(calibration)
    reports = [ingests.run()]
    ingests.touch("cat/1.png")
    reports.append(ingests.run())
    ingests.move("cat/1.png", "dog/9.png")
    reports.append(ingests.run(dry_run=True))
    assert ingests.store.manifest(ingests.name()).calibration == calibration
    assert not any(report.collections[0].calibration_dropped for report in reports)


CHANGES: dict[str, Callable[[Ingests, Path], Any]] = {
    "added": lambda ingests, other: ingests.write("cat/new.png", other),
    "updated": lambda ingests, other: ingests.write("cat/1.png", other),
    "moved": lambda ingests, _: ingests.move("cat/1.png", "cat/other.png"),
    "removed": lambda ingests, _: (ingests.root / "cat/1.png").unlink(),
    "another class": lambda _, __: {"cat/1.png": "tiger"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_runs_that_change_neighbours_or_classes_drop_the_calibration(
    ingests: Ingests, other: Path, calibration: Calibration, change: Callable[[Ingests, Path], Any]
) -> None:
    """The report says so once."""
    ingests.run()
    with ingests.store.open(ingests.name()) as collection:
        collection.record_calibration(calibration)
    labels = change(ingests, other)
    report = ingests.run(prune=True, labels=labels)
    assert report.collections[0].calibration_dropped
    assert ingests.store.manifest(ingests.name()).calibration is None
    assert not ingests.run(prune=True, labels=labels).collections[0].calibration_dropped


@pytest.mark.skipif(os.name == "nt", reason="there a lock cannot be looked at without taking it")
def test_other_processes_see_a_running_ingest(ingests: Ingests) -> None:
    """They see it even before a collection exists; a dry run leaves no lock file."""
    seen: list[str | None] = []

    def takes(found: FoundFile) -> bool:
        seen.append(ingests.store.local.ingest_under_way())
        return bool(found.path)

    ingests.run(takes=takes, dry_run=True)
    assert set(seen) == {None}
    assert not ingests.home.qdrant_dir.exists()
    seen.clear()
    ingests.run(takes=takes)
    assert len(seen) == len(IMAGES)
    assert all(said is not None and said.startswith(f"process {os.getpid()} ") for said in seen)
    assert ingests.store.local.ingest_under_way() is None


COMPOSED, DECOMPOSED = "Schildkr\u00f6te", "Schildkro\u0308te"
"""One name in Unicode's two forms: composed, as typed, and decomposed, as on disks of former Macs."""


@pytest.fixture
def decomposed(ingests: Ingests, draw: Draw) -> Ingests:
    """Draws two files in a folder with decomposed names, as on a Mac, and one more file."""
    shutil.rmtree(ingests.root)
    draw(ingests.root, *(f"{DECOMPOSED}/{DECOMPOSED}{number}.png" for number in (1, 2)), "cat/1.png")
    return ingests


def test_labels_match_files_in_any_unicode_form(decomposed: Ingests) -> None:
    """Typed names match decomposed ones on the disk; a row matches one file only."""
    labels = {f"{COMPOSED}/{COMPOSED}1.png": "turtle", f"{COMPOSED}/{COMPOSED}3.png": "turtle"}
    report = decomposed.run(labels=labels)
    assert report.unused_labels == 1
    assert decomposed.payload(f"{DECOMPOSED}/{DECOMPOSED}1.png").class_name == "turtle"
    assert decomposed.payload(f"{DECOMPOSED}/{DECOMPOSED}2.png").class_name == COMPOSED


def test_a_label_with_the_exact_path_overrides_another_unicode_form(decomposed: Ingests, draw: Draw) -> None:
    """Files in both forms may exist, as two points."""
    draw(decomposed.root, f"{DECOMPOSED}/{COMPOSED}1.png")
    paths = [f"{DECOMPOSED}/{each}1.png" for each in (COMPOSED, DECOMPOSED)]
    report = decomposed.run(labels=dict(zip(paths, ["one", "two"], strict=True)))
    assert counts(report) == {"added": 4}
    assert [decomposed.payload(path).class_name for path in paths] == ["one", "two"]


def test_files_renamed_to_another_unicode_form_are_moved(
    decomposed: Ingests, no_session: Callable[[], None]
) -> None:
    """Copying from a Mac's disk does this; the class stays, and nothing is embedded."""
    decomposed.run()
    (decomposed.root / DECOMPOSED).rename(decomposed.root / COMPOSED)
    no_session()
    assert counts(decomposed.run()) == {"moved": 2, "unchanged": 1}
    with decomposed.store.open(decomposed.name()) as collection:
        assert collection.tally("class") == {COMPOSED: 2, "cat": 1}


def test_a_class_stored_in_another_unicode_form_is_unchanged(decomposed: Ingests) -> None:
    """A former version may have stored it."""
    decomposed.run()
    with decomposed.store.open(decomposed.name()) as collection:
        old = [replace(p, class_name=DECOMPOSED) for p in collection.scan() if p.class_name == COMPOSED]
        collection.replace_payloads(old)
    for _ in range(2):
        assert counts(decomposed.run()) == {"unchanged": 3}


@pytest.mark.parametrize("form", [COMPOSED, DECOMPOSED])
def test_a_dataset_keeps_the_unicode_form_of_its_ids(
    decomposed: Ingests, draw: Draw, no_session: Callable[[], None], form: str
) -> None:
    """Later runs may use either form; a new dataset's name is composed."""
    decomposed.run(dataset=COMPOSED)
    no_session()
    assert counts(decomposed.run(dataset=form)) == {"unchanged": 3}
    assert decomposed.store.manifest(decomposed.name()).datasets == {COMPOSED: str(decomposed.root)}


def test_a_dataset_of_a_former_version_keeps_its_decomposed_name(decomposed: Ingests) -> None:
    """Otherwise its points would get new ids."""
    decomposed.run()
    with decomposed.store.open(decomposed.name()) as collection:
        vectors = collection.vectors([payload.id for payload in collection.scan()])
        former = [
            ImagePoint(payload=replace(each, dataset=DECOMPOSED), vector=vectors[each.id])
            for each in collection.scan()
        ]
        collection.upsert(former)
        collection.record_dataset(DECOMPOSED, str(decomposed.root))
    assert counts(decomposed.run(dataset=COMPOSED)) == {"unchanged": 3}
    assert COMPOSED not in decomposed.store.manifest(decomposed.name()).datasets


def test_a_root_renamed_to_another_unicode_form_is_the_same(ingests: Ingests, tmp_path: Path) -> None:
    """If both folders exist, they are two."""
    former, now = tmp_path / DECOMPOSED, tmp_path / COMPOSED
    shutil.copytree(ingests.root, former)
    ingests.run(former)
    former.rename(now)
    assert counts(ingests.run(now)) == {"unchanged": 5}
    assert ingests.store.manifest(ingests.name()).datasets == {"data": str(now)}
    shutil.copytree(now, former)
    with pytest.raises(UsageError, match="has the root"):
        ingests.run(former)
