"""Rebuilding a collection: the old one can be searched until the new one is complete."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import (
    CollectionMissingError,
    ManifestError,
    StoreLockedError,
    UsageError,
)
from lookalike_core.images.profiles import SRGB_CHROMATICITIES, matrix_profile
from lookalike_core.models.backbones import VGG16
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.models.preprocessing import former_preprocessing_id
from lookalike_core.progress import ShowBar, shown_by
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance, VectorQuantization
from lookalike_core.stores.collection_names import staged_name
from lookalike_core.stores.connection import connect
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint, Payload
from lookalike_core.stores.server import ServerStore
from lookalike_core.stores.server_names import ServerNames
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest import rebuild as rebuild_module
from lookalike_ingest.labels import Label
from lookalike_ingest.rebuild import RebuildOptions, RebuildReport, rebuild
from lookalike_ingest.removal import Selection, find_holdings, remove_images
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from lookalike_ingest.status import read_statuses
from PIL import Image
from qdrant_client import QdrantClient, models
from qdrant_stand_in import running_stand_in
from refusals import refuses
from sole_bar import SoleBar

pytestmark = pytest.mark.filterwarnings(
    "ignore:Payload indexes have no effect in the local Qdrant:UserWarning"
)

IMAGES = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png", "3.png")


class Rebuilds:
    """A home with one collection of two datasets."""

    def __init__(self, folder: Path, home: Settings, spec: ModelSpec) -> None:
        self.roots = {"one": folder / "one", "two": folder / "two"}
        self.home, self.spec = home, spec
        self.store: Any = EmbeddedStore(home.qdrant_dir)

    def ingest(self, dataset: str, labels: Mapping[str, str | None], *, moved: bool = False) -> None:
        """Ingests one dataset."""
        request = IngestRequest(
            dataset=Dataset(name=dataset, root=self.roots[dataset], moved=moved),
            specs=[self.spec],
            distances=[Distance.COSINE],
            labels=labels,
        )
        run_ingest(request, store=self.store, settings=self.home, stop=StopRequest())

    @property
    def name(self) -> str:
        """Returns the name of the collection."""
        (name,) = self.store.names()
        return name

    def rebuild(
        self,
        stop: StopRequest | None = None,
        show_bar: ShowBar | None = None,
        *,
        force: bool = False,
        name: str | None = None,
        quantize: VectorQuantization | None = None,
    ) -> RebuildReport:
        """Rebuilds as the command does, in batches of one."""
        options = RebuildOptions(batch_size=1, force=force, quantize=quantize)
        with shown_by(show_bar):
            return rebuild(
                name or self.name,
                options,
                store=self.store,
                settings=self.home,
                stop=stop or StopRequest(),
            )

    def age(self, preprocessing: str = "squash-nearest-32") -> None:
        """Changes the manifest as if another preprocessing had made the collection."""
        manifest = self.store.directory / self.name / "manifest.json"
        data = json.loads(manifest.read_text(encoding="utf-8"))
        data["identity"]["preprocessing"] = preprocessing
        manifest.write_text(json.dumps(data), encoding="utf-8")

    def stored(self) -> dict[str, tuple[Payload, FloatVector]]:
        """Returns every point by dataset and path."""
        with self.store.open(self.name) as collection:
            payloads = list(collection.scan())
            vectors = collection.vectors([payload.id for payload in payloads])
        return {f"{p.dataset}:{p.path}": (p, vectors[p.id]) for p in payloads}


@pytest.fixture
def rebuilds(
    tmp_path: Path, home: Settings, tiny_spec: ModelSpec, draw: Callable[..., list[Path]]
) -> Rebuilds:
    """Ingests ten images, one of them with a class from a table."""
    one = Rebuilds(tmp_path, home, tiny_spec)
    for seed, (dataset, root) in enumerate(one.roots.items()):
        draw(root, *IMAGES, seed=seed)
        one.ingest(dataset, {"cat/1.png": "tiger"} if dataset == "one" else {})
    return one


def test_a_collection_of_another_version_is_rebuilt(rebuilds: Rebuilds) -> None:
    """Ids, classes and datasets stay the same, whatever the source of the classes."""
    before = rebuilds.stored()
    rebuilds.age()
    with refuses(ManifestError, match=rf"ingest rebuild {rebuilds.name}"):
        rebuilds.ingest("one", {})
    report = rebuilds.rebuild()
    assert (report.points, report.gone, report.embedded, report.interrupted) == (10, 0, 10, False)
    after = rebuilds.stored()
    assert after.keys() == before.keys()
    for key, (payload, vector) in after.items():
        assert payload.class_name == before[key][0].class_name
        np.testing.assert_array_equal(vector, before[key][1])
    manifest = rebuilds.store.manifest(rebuilds.name)
    assert manifest.datasets == {name: str(root) for name, root in rebuilds.roots.items()}
    assert not list(rebuilds.store.directory.glob(".*"))
    rebuilds.ingest("one", {"cat/1.png": "tiger"})


FORMER = former_preprocessing_id(VGG16)


def mark_vectors(rebuilds: Rebuilds) -> dict[str, FloatVector]:
    """Gives every point an artificial vector, so that copies of it are recognised."""
    random = np.random.default_rng(0)
    with rebuilds.store.open(rebuilds.name) as collection:
        payloads = list(collection.scan())
        length = rebuilds.store.manifest(rebuilds.name).identity.dimension
        vectors = random.normal(size=(len(payloads), length)).astype(np.float32)
        points = [ImagePoint(payload=p, vector=v) for p, v in zip(payloads, vectors, strict=True)]
        collection.upsert(points)
    return {key: vector for key, (_, vector) in rebuilds.stored().items()}


def test_vectors_of_images_that_decode_as_before_are_copied(rebuilds: Rebuilds) -> None:
    """Images with a profile, or whose bytes have changed, are embedded again."""
    one, profile = rebuilds.roots["one"], matrix_profile(1.0, SRGB_CHROMATICITIES)
    with Image.open(one / "cat/1.png") as image:
        image.save(one / "cat/1.png", icc_profile=profile)
    rebuilds.ingest("one", {"cat/1.png": "tiger"})
    before = mark_vectors(rebuilds)
    rebuilds.age(FORMER)
    with refuses(ManifestError, match=rf"crop-bicubic-224\+.*ingest rebuild {rebuilds.name}"):
        rebuilds.ingest("one", {})
    changed = one / "dog/1.png"
    status = changed.stat()
    changed.write_bytes((one / "dog/2.png").read_bytes())
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    report = rebuilds.rebuild()
    assert (report.points, report.taken_over, report.embedded) == (10, 8, 1)  # dog/1 is now a copy of dog/2
    after = rebuilds.stored()
    moved = {key for key in before if not np.allclose(before[key], after[key][1], atol=1e-6)}
    assert moved == {"one:cat/1.png", "one:dog/1.png"}
    assert after["one:cat/1.png"][0].class_name == "tiger"
    rebuilds.ingest("one", {"cat/1.png": "tiger"})
    assert rebuilds.rebuild().taken_over == 0


@pytest.mark.parametrize("after", [1, 5])
def test_an_interrupted_rebuild_copies_the_remaining_vectors(rebuilds: Rebuilds, after: int) -> None:
    """It is interrupted in the first dataset or between the two; nothing is embedded."""
    before = mark_vectors(rebuilds)
    rebuilds.age(FORMER)
    stop = StopRequest()
    with suppress(KeyboardInterrupt):
        rebuilds.rebuild(stop, StoppingLater(stop, after))
    assert rebuilds.store.manifest(rebuilds.name).identity.preprocessing == FORMER
    report = rebuilds.rebuild()
    assert (report.points, report.taken_over, report.embedded) == (10, 5, 0)
    for key, (_, vector) in rebuilds.stored().items():
        np.testing.assert_allclose(vector, before[key], atol=1e-6)


def test_vectors_of_missing_and_broken_images_are_not_copied(rebuilds: Rebuilds) -> None:
    """They are counted as in any rebuild."""
    rebuilds.age(FORMER)
    (rebuilds.roots["one"] / "cat/1.png").unlink()
    (rebuilds.roots["one"] / "cat/2.png").write_bytes(b"no image")
    report = rebuilds.rebuild()
    assert (report.replaced, report.taken_over, report.gone, len(report.left_out)) == (False, 8, 1, 1)


def test_a_rebuild_keeps_synsets_and_adds_no_images(
    rebuilds: Rebuilds, draw: Callable[..., list[Path]]
) -> None:
    """New files of the folder that are not in the sample are not ingested."""
    request = IngestRequest(
        dataset=Dataset(name="one", root=rebuilds.roots["one"]),
        specs=[rebuilds.spec],
        distances=[Distance.COSINE],
        label_of=lambda _: Label(class_name="tench", synset="n01440764"),
    )
    run_ingest(request, store=rebuilds.store, settings=rebuilds.home, stop=StopRequest())
    draw(rebuilds.roots["one"], "cat/3.png", "bird/1.png", seed=7)
    before = {key: replace(payload, ingested_at="") for key, (payload, _) in rebuilds.stored().items()}
    rebuilds.age()
    report = rebuilds.rebuild()
    assert (report.points, report.embedded, report.gone) == (10, 10, 0)
    after = {key: replace(payload, ingested_at="") for key, (payload, _) in rebuilds.stored().items()}
    assert after == before
    assert [payload.synset for payload in after.values()].count("n01440764") == 5


class StoppingLater(SoleBar):
    """A progress bar that requests a stop after a number of written images."""

    def __init__(self, stop: StopRequest, after: int) -> None:
        self.stop, self.left = stop, after

    def advance(self, done: int, *, skipped: int = 0) -> None:  # noqa: ARG002
        """Counts a batch."""
        self.left -= done
        self.stop.requested = self.left <= 0


@pytest.mark.parametrize("after", [1, 5, 7])
def test_an_interrupted_rebuild_is_continued(rebuilds: Rebuilds, after: int) -> None:
    """Until it completes, the old collection is unchanged; no image is embedded twice."""
    rebuilds.age()
    before, manifest = rebuilds.stored(), rebuilds.store.manifest(rebuilds.name)
    stop = StopRequest()
    first = rebuilds.rebuild(stop, StoppingLater(stop, after))
    assert (first.interrupted, first.embedded) == (True, after)
    assert rebuilds.store.manifest(rebuilds.name) == manifest
    assert {key: payload for key, (payload, _) in rebuilds.stored().items()} == {
        key: payload for key, (payload, _) in before.items()
    }
    second = rebuilds.rebuild()
    assert (second.interrupted, second.embedded, second.points) == (False, 10 - after, 10)
    assert rebuilds.store.manifest(rebuilds.name).identity != manifest.identity


def test_a_staged_collection_of_another_space_is_discarded(rebuilds: Rebuilds) -> None:
    """It may be left from before an upgrade."""
    stop = StopRequest()
    rebuilds.rebuild(stop, StoppingLater(stop, 2))
    manifest = rebuilds.store.directory / staged_name(rebuilds.name) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"preprocessing": "', '"preprocessing": "old-'))
    assert rebuilds.rebuild().embedded == 10


def test_vector_quantization_is_kept_by_default(rebuilds: Rebuilds) -> None:
    """A different one discards the staged collection."""
    stop = StopRequest()
    rebuilds.rebuild(stop, StoppingLater(stop, 2))
    assert rebuilds.rebuild(quantize=VectorQuantization.INT8).embedded == 10
    assert rebuilds.store.manifest(rebuilds.name).vector_quantization is VectorQuantization.INT8
    rebuilds.rebuild()
    assert rebuilds.store.manifest(rebuilds.name).vector_quantization is VectorQuantization.INT8
    rebuilds.rebuild(quantize=VectorQuantization.NONE)
    assert rebuilds.store.manifest(rebuilds.name).vector_quantization is VectorQuantization.NONE


def test_missing_images_keep_the_old_collection_unless_forced(rebuilds: Rebuilds) -> None:
    """Images are deleted or on a disk that is not mounted; after mounting, only those are embedded."""
    one, two = rebuilds.roots.values()
    (one / "cat/1.png").rename(one / "away.png.not")
    (two / "dog").rename(two / "away")
    (two / "dog").mkdir()
    before = rebuilds.stored()
    report = rebuilds.rebuild()
    assert (report.replaced, report.gone, report.left_out) == (False, 3, [])
    assert report.gone_files == [one / "cat/1.png", two / "dog/1.png", two / "dog/2.png"]
    assert rebuilds.stored().keys() == before.keys()
    (two / "dog").rmdir()
    (two / "away").rename(two / "dog")
    report = rebuilds.rebuild()
    assert (report.replaced, report.gone, report.embedded) == (False, 1, 2)
    report = rebuilds.rebuild(force=True)
    assert (report.replaced, report.gone, report.embedded, report.points) == (True, 1, 0, 9)


def test_a_forced_rebuild_does_not_empty_a_dataset(rebuilds: Rebuilds) -> None:
    """A folder that is missing or empty may not be mounted; `ingest remove` removes a dataset."""
    shutil.rmtree(rebuilds.roots["two"])
    for step in ("missing", "empty"):
        if step == "empty":
            rebuilds.roots["two"].mkdir()
        with refuses(UsageError, match="ingest remove --dataset"):
            rebuilds.rebuild(force=True)
        assert len(rebuilds.stored()) == 10


def test_a_missing_folder_is_refused_before_anything_is_done(rebuilds: Rebuilds) -> None:
    """It may be on a disk that is not mounted."""
    shutil.move(rebuilds.roots["two"], rebuilds.roots["two"].with_name("away"))
    with refuses(UsageError, match=r"dataset two of .*which does not exist; mount it"):
        rebuilds.rebuild()
    assert len(rebuilds.stored()) == 10
    assert staged_name(rebuilds.name) not in rebuilds.store


def test_an_emptied_folder_is_refused_too(rebuilds: Rebuilds) -> None:
    """The old collection is unchanged."""
    shutil.rmtree(rebuilds.roots["two"])
    rebuilds.roots["two"].mkdir()
    with pytest.raises(UsageError, match="holds no images"):
        rebuilds.rebuild()
    assert len(rebuilds.stored()) == 10


def test_rebuilding_a_missing_collection_is_refused(rebuilds: Rebuilds) -> None:
    """Nothing is created."""
    with pytest.raises(CollectionMissingError):
        rebuild("none", RebuildOptions(), store=rebuilds.store, settings=rebuilds.home, stop=StopRequest())
    assert "none" not in rebuilds.store


def test_unreadable_images_keep_the_old_collection_unless_forced(rebuilds: Rebuilds) -> None:
    """They are damaged, or links to a disk that is not mounted."""
    (rebuilds.roots["one"] / "cat/1.png").write_bytes(b"no image")
    (rebuilds.roots["two"] / "3.png").unlink()
    (rebuilds.roots["two"] / "3.png").symlink_to("/not-mounted/3.png")
    rebuilds.age()
    before = rebuilds.store.manifest(rebuilds.name)
    report = rebuilds.rebuild()
    assert not report.replaced
    assert report.left_out == [rebuilds.roots["one"] / "cat/1.png", rebuilds.roots["two"] / "3.png"]
    assert {skipped.path: skipped.reason for skipped in report.skipped} == {
        "cat/1.png": "not-an-image",
        "3.png": "vanished",
    }
    assert rebuilds.store.manifest(rebuilds.name) == before
    assert len(rebuilds.stored()) == 10
    report = rebuilds.rebuild(force=True)
    assert (report.replaced, report.points, report.gone, len(report.left_out)) == (True, 8, 0, 2)


def test_a_dataset_removed_during_a_rebuild_is_not_restored(rebuilds: Rebuilds) -> None:
    """Its staged points are removed, too."""
    stop = StopRequest()
    rebuilds.rebuild(stop, StoppingLater(stop, 7))
    name = rebuilds.name
    found = find_holdings(Selection(dataset="one"), store=rebuilds.store)
    removed = remove_images(store=rebuilds.store, among=found.found)
    assert [holding.points for holding in removed] == [5]
    assert staged_name(name) not in rebuilds.store
    assert rebuilds.rebuild().points == 5
    assert {payload.dataset for payload, _ in rebuilds.stored().values()} == {"two"}
    assert list(rebuilds.store.manifest(name).datasets) == ["two"]


def test_points_pruned_during_a_rebuild_are_not_restored(rebuilds: Rebuilds) -> None:
    """They were already staged, and their folder is empty like a mount point."""
    stop = StopRequest()
    rebuilds.rebuild(stop, StoppingLater(stop, 7))
    for file in (rebuilds.roots["one"] / "cat").iterdir():
        file.unlink()
    with rebuilds.store.open(rebuilds.name) as collection:
        of_one = [payload for payload in collection.scan() if payload.dataset == "one"]
        collection.delete([payload.id for payload in of_one if payload.path.startswith("cat/")])
    report = rebuilds.rebuild()
    assert (report.replaced, report.points) == (True, 8)
    assert {key for key in rebuilds.stored() if "cat" in key} == {"two:cat/1.png", "two:cat/2.png"}


def test_a_folder_that_moved_between_two_calls_is_found(rebuilds: Rebuilds) -> None:
    """The message of the first call says how: `ingest run --new-root`, then the same command again."""
    stop = StopRequest()
    rebuilds.rebuild(stop, StoppingLater(stop, 7))
    rebuilds.roots["one"] = rebuilds.roots["one"].rename(rebuilds.roots["one"].with_name("moved"))
    with refuses(UsageError, match="ingest run --new-root"):
        rebuilds.rebuild()
    rebuilds.ingest("one", {"cat/1.png": "tiger"}, moved=True)
    assert rebuilds.rebuild().points == 10
    assert rebuilds.store.manifest(rebuilds.name).datasets["one"] == str(rebuilds.roots["one"])


def test_images_added_during_a_rebuild_are_in_the_new_collection(
    rebuilds: Rebuilds, draw: Callable[..., list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are of a dataset that was already staged, and of a new dataset."""
    ingest = rebuild_module.run_ingest
    calls: list[str] = []

    def disturbed(request: IngestRequest, **words: Any) -> IngestReport:
        report = ingest(request, **words)
        calls.append(request.dataset.name)
        if len(calls) == 1:
            draw(rebuilds.roots["one"], "cat/late.png", seed=9)
            rebuilds.ingest("one", {"cat/1.png": "tiger"})
            draw(tmp_path / "three", "cat/1.png", seed=3)
            rebuilds.roots["three"] = tmp_path / "three"
            rebuilds.ingest("three", {})
        return report

    monkeypatch.setattr(rebuild_module, "run_ingest", disturbed)
    report = rebuilds.rebuild()
    assert (report.replaced, report.points, report.left_out) == (True, 12, [])
    assert calls == ["one", "two", "one", "three", "two"]
    assert list(rebuilds.store.manifest(rebuilds.name).datasets) == ["one", "three", "two"]


def test_only_one_rebuild_runs_at_a_time(rebuilds: Rebuilds) -> None:
    """The error names the process of the first; searches still work."""
    other = EmbeddedStore(rebuilds.store.directory, lock_timeout_s=0.2)
    with (
        rebuilds.store.rebuilding(rebuilds.name),
        pytest.raises(StoreLockedError, match=rf"the rebuild of {rebuilds.name} is in use by process"),
        other.rebuilding(rebuilds.name),
    ):
        pass
    with rebuilds.store.rebuilding(rebuilds.name), other.open(rebuilds.name) as collection:
        assert collection.count() == 10


def test_status_reports_outdated_collections_and_begun_rebuilds(rebuilds: Rebuilds) -> None:
    """The report has the command that finishes them."""
    (status,) = read_statuses(rebuilds.store)
    assert (status.outdated, status.rebuild_begun) == ([], False)
    rebuilds.age()
    stop = StopRequest()
    rebuilds.rebuild(stop, StoppingLater(stop, 2))
    (status,) = read_statuses(rebuilds.store)
    assert status.outdated == [
        "preprocessing is squash-nearest-32 there and crop-bicubic-224-srgb+caffe here"
    ]
    assert status.rebuild_begun


@pytest.fixture
def on_server() -> Iterator[ServerStore]:
    """Opens a store on a stand-in for a server."""
    with running_stand_in() as server:
        one = connect(server.url, api_key=None)
        yield one
        one.close()


def test_an_interrupted_change_on_a_server_keeps_the_classes(
    rebuilds: Rebuilds, on_server: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are stored with the new collection, which answers from the deletion of the old one on."""
    rebuilds.store = on_server
    for dataset in rebuilds.roots:
        rebuilds.ingest(dataset, {"cat/1.png": "tiger"} if dataset == "one" else {})
    name = rebuilds.name

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ServerNames, "point", cut_off)
        with pytest.raises(KeyboardInterrupt):
            rebuilds.rebuild()
    assert rebuilds.stored()["one:cat/1.png"][0].class_name == "tiger"
    assert rebuilds.rebuild(name=name).points == 10
    assert rebuilds.stored()["one:cat/1.png"][0].class_name == "tiger"


def test_two_rebuilds_on_a_server_do_not_mix(rebuilds: Rebuilds, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose staged collection has replaced the old one by then stops, and nothing is lost."""
    store = ServerStore(QdrantClient(":memory:"), label="the client's in-memory mode")
    rebuilds.store = store
    for dataset in rebuilds.roots:
        rebuilds.ingest(dataset, {})
    name = rebuilds.name
    change = ServerStore.replace

    def overtaken(one: ServerStore, name: str) -> None:
        change(one, name)
        change(one, name)

    monkeypatch.setattr(ServerStore, "replace", overtaken)
    with pytest.raises(CollectionMissingError):  # what was staged is gone
        rebuilds.rebuild()
    assert store.manifest(name).collection == name
    assert len(rebuilds.stored()) == 10


def test_rebuilding_an_alias_is_refused(rebuilds: Rebuilds) -> None:
    """The message names the collection; nothing is staged."""
    client = QdrantClient(":memory:")
    rebuilds.store = ServerStore(client, label="the client's in-memory mode")
    rebuilds.ingest("one", {})
    name = rebuilds.name
    alias = models.CreateAlias(collection_name=name, alias_name="mine")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    with refuses(ManifestError, match=f"mine is an alias of {name}, .*ingest rebuild {name}$"):
        rebuilds.rebuild(name="mine")
    assert staged_name("mine") not in rebuilds.store
    assert staged_name(name) not in rebuilds.store


def test_rebuilding_a_staged_collection_is_refused(rebuilds: Rebuilds) -> None:
    """The message says how to continue its rebuild."""
    name = rebuilds.name
    rebuilds.store.create(rebuilds.store.manifest(name), name=staged_name(name))
    with refuses(ManifestError, match=f"continue with: ingest rebuild {name}$"):
        rebuilds.rebuild(name=staged_name(name))


def test_a_renamed_collection_is_not_rebuilt(rebuilds: Rebuilds) -> None:
    """The new collection would have a different name."""
    name = rebuilds.name
    rebuilds.store.create(rebuilds.store.manifest(name), name="copied")
    with pytest.raises(ManifestError, match=rf"copied is named {name} in its manifest"):
        rebuilds.rebuild(name="copied")


def test_a_rebuilt_collection_is_not_calibrated(rebuilds: Rebuilds, calibration: Calibration) -> None:
    """The report says that the old one was."""
    with rebuilds.store.open(rebuilds.name) as collection:
        collection.record_calibration(calibration)
    assert rebuilds.rebuild().calibration_dropped
    assert rebuilds.store.manifest(rebuilds.name).calibration is None
    assert not rebuilds.rebuild().calibration_dropped


def test_removing_a_dataset_drops_the_calibration(rebuilds: Rebuilds, calibration: Calibration) -> None:
    """The remaining images have other neighbours."""
    with rebuilds.store.open(rebuilds.name) as collection:
        collection.record_calibration(calibration)
    found = find_holdings(Selection(dataset="one"), store=rebuilds.store)
    (removed,) = remove_images(store=rebuilds.store, among=found.found)
    assert removed.calibration_dropped
    assert rebuilds.store.manifest(rebuilds.name).calibration is None
