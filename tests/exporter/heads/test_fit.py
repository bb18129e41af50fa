"""Fitting heads to collections: held-out images, what a head records, refusals, and the models of heads."""

import io
import json
import shutil
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from lookalike_core.errors import (
    CollectionMissingError,
    LookalikeError,
    ManifestError,
    ModelError,
    UsageError,
)
from lookalike_core.models.embedder import Embedder
from lookalike_core.models.model_manifest import ModelIdentity, Precision
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, collection_name
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint, Payload, PointFilter
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.heads.fit import FitRequest, fit_head, train_head
from lookalike_exporter.heads.head_file import (
    Head,
    check_name,
    head_path,
    read_collection_head,
    read_head,
    write_head,
)
from lookalike_exporter.heads.head_graph import get_headed_model
from lookalike_exporter.heads.held_out import seeded_hash, split_images
from lookalike_exporter.heads.training_images import TrainingImages
from lookalike_exporter.model_cache import ModelFile, list_models
from lookalike_exporter.spec import ModelSpec
from refusals import refuses

PARITY = 0.99999
"""Least cosine between the graph's output and the head applied to the base's vectors in NumPy."""


@pytest.fixture
def base(tiny_spec: ModelSpec, home: Settings) -> ModelFile:
    """Exports a small model without a head: 64 values."""
    return ensure_exported(tiny_spec, settings=home)


def images_of(counts: dict[str, int], *, seed: int = 0, length: int = 64) -> TrainingImages:
    """Returns random unit vectors around one direction per class, with artificial hashes."""
    random = np.random.default_rng(seed)
    classes = [name for name, count in counts.items() for _ in range(count)]
    centres = {name: np.random.default_rng(number).normal(size=length) for number, name in enumerate(counts)}
    vectors = np.stack([centres[name] + random.normal(size=length) for name in classes]).astype(np.float32)
    return TrainingImages(
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        classes=classes,
        sha256=[f"{seeded_hash(str(row), seed)}" for row in range(len(classes))],
    )


def stored(
    home: Settings,
    base: ModelFile,
    images: TrainingImages,
    *,
    distance: Distance = Distance.COSINE,
    extra: Sequence[ImagePoint] = (),
) -> str:
    """Stores a collection of these images, with raw vectors of several lengths; returns its name."""
    store = EmbeddedStore(home.qdrant_dir)
    manifest = CollectionManifest(
        identity=base.manifest.identity,
        distance=distance,
        weights=base.manifest.weights,
        exporter_version="0",
        graph_revision=1,
        provider="CPUExecutionProvider",
        created_at="2026-01-01T00:00:00+00:00",
        datasets={"data": "/data"},
    )
    points = [
        point(f"{row}.png", name, sha256, vector * (1 + row % 3))
        for row, (name, sha256, vector) in enumerate(
            zip(images.classes, images.sha256, images.vectors, strict=True)
        )
    ]
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        collection.upsert([*points, *extra])
    return manifest.collection


def point(path: str, class_name: str | None, sha256: str, vector: np.ndarray) -> ImagePoint:
    """Returns a point of the dataset `data`."""
    payload = Payload(
        dataset="data",
        path=path,
        class_name=class_name,
        sha256=sha256,
        width=1,
        height=1,
        bytes=1,
        mtime_ns=1,
        ingested_at="2026-01-01T00:00:00+00:00",
    )
    return ImagePoint(payload=payload, vector=vector.astype(np.float32))


def fitted(home: Settings, *names: str, **options: object) -> Head:
    """Fits a head with the command's function."""
    request = FitRequest(collections=names, name="pets", **options)  # type: ignore[arg-type]
    store = EmbeddedStore(home.qdrant_dir)
    return fit_head(request, store=store, settings=home).head


def test_a_fifth_of_each_class_is_held_out_by_its_bytes_alone() -> None:
    """The order of the images does not matter; another seed holds out others; two are always trained on."""
    images = images_of({"cat": 50, "dog": 20, "cow": 3, "ant": 2})
    parts = split_images(images, seed=0)
    assert Counter(images.classes[row] for row in parts.held_out) == {"cat": 10, "dog": 4, "cow": 1}
    assert sorted([*parts.training, *parts.held_out]) == list(range(75))
    turned = TrainingImages(
        vectors=images.vectors[::-1], classes=images.classes[::-1], sha256=images.sha256[::-1]
    )
    again = {turned.sha256[row] for row in split_images(turned, seed=0).held_out}
    assert again == {images.sha256[row] for row in parts.held_out}
    assert set(split_images(images, seed=1).held_out) != set(parts.held_out)


def test_nothing_is_learned_from_held_out_images(base: ModelFile) -> None:
    """Other classes and vectors of held-out images give the same bytes; of training images other ones."""
    images = images_of({"cat": 40, "dog": 40, "cow": 40})
    request = FitRequest(collections=["some"], name="pets")
    parts = split_images(images, seed=0)
    # those that would be held out of any class, so that they stay so under another class
    last = max(seeded_hash(images.sha256[row], 0) for row in parts.training)
    noisy = [row for row in parts.held_out if seeded_hash(images.sha256[row], 0) > last]
    classes, vectors = list(images.classes), images.vectors.copy()
    for row, other in zip(noisy, reversed(noisy), strict=True):
        classes[row], vectors[row] = images.classes[other], -images.vectors[other][::-1]
    assert classes != list(images.classes)
    planted = replace(images, classes=classes, vectors=vectors)
    assert split_images(planted, seed=0) != parts or noisy
    clean, after = (train_head(request, base.manifest, each, {}) for each in (images, planted))
    assert clean.trained == after.trained
    assert clean.weight.tobytes() == after.weight.tobytes()
    assert clean.bias.tobytes() == after.bias.tobytes()
    assert clean.record["candidates"] == after.record["candidates"]
    assert clean.record["held_out_against_training"] != after.record["held_out_against_training"]
    classes = list(images.classes)
    for row in parts.training[:10]:
        classes[row] = "cow"
    mislearned = train_head(request, base.manifest, replace(images, classes=classes), {})
    assert mislearned.weight.tobytes() != clean.weight.tobytes()


def relabelled(home: Settings, name: str, *, seed: int) -> None:
    """Gives every image of a collection another class or none, at random, and one image its own."""
    random = np.random.default_rng(seed)
    with EmbeddedStore(home.qdrant_dir).open(name) as collection:
        payloads = sorted(collection.scan(), key=lambda payload: payload.path)
        classes = ["alone", *random.choice(["cat", "dog", "yak", ""], len(payloads) - 1)]
        collection.replace_payloads(
            [
                replace(payload, class_name=str(new) or None)
                for payload, new in zip(payloads, classes, strict=True)
            ]
        )


@pytest.mark.parametrize("options", [{"principal": 8}, {"unlabelled": True}, {"unlabelled": True, "dims": 8}])
def test_a_fit_without_labels_does_not_change_when_labels_do(
    home: Settings, base: ModelFile, options: dict[str, Any]
) -> None:
    """Weight, bias, key and split stay, with other classes, contradictory ones, and none; figures change."""
    images = images_of({"cat": 20, "dog": 20, "cow": 1})
    name = stored(home, base, images, extra=[point("x/0.png", "cow", images.sha256[0], images.vectors[0])])
    before = fitted(home, name, **options)
    assert before.classes == []
    assert before.record["split"] == {"training": 33, "held_out": 8, "left_out": {"copy": 1}}
    for seed in range(2):
        relabelled(home, name, seed=seed)
        after = fitted(home, name, **options)
        assert after.weight.tobytes() == before.weight.tobytes()
        assert after.bias.tobytes() == before.bias.tobytes()
        assert (after.key, after.trained) == (before.key, before.trained)
        assert after.record["split"] == before.record["split"]
        assert after.record["held_out_against_training"] != before.record["held_out_against_training"]


@pytest.mark.parametrize("options", [{"principal": 8}, {"unlabelled": True}, {"unlabelled": True, "dims": 8}])
def test_images_without_any_class_make_a_head_without_labels(
    home: Settings, base: ModelFile, options: dict[str, Any]
) -> None:
    """It has no figures of held-out images, and is read back as any other head."""
    images = images_of({"": 41})
    head = fitted(home, stored(home, base, replace(images, classes=[None] * 41)), **options)
    assert head.record["held_out_against_training"] == {"before": None, "after": None}
    again = read_head("pets", home)
    assert (again.key, again.classes, len(again.trained)) == (head.key, (), 33)
    assert get_headed_model(again, settings=home).manifest.identity == head.identity


def test_options_that_a_fit_without_labels_excludes_are_refused(home: Settings, base: ModelFile) -> None:
    """It takes no classes, and one method; the number of principal values is the dimension."""
    name = stored(home, base, images_of({"cat": 6, "dog": 6}))
    with refuses(UsageError, match=r"the dimension of the head's vectors; leave --dims out"):
        fitted(home, name, principal=4, dims=4)
    for options in ({"principal": 4}, {"unlabelled": True}):
        with refuses(UsageError, match=r"without labels takes all images, .*; leave --class out"):
            fitted(home, name, classes=["cat"], **options)
    with refuses(UsageError, match=r"leave one of --unlabelled or --principal out"):
        fitted(home, name, principal=4, unlabelled=True)
    with refuses(UsageError, match=r"--principal: 10 principal values .* to 10 images .* choose 1 to 9"):
        fitted(home, name, principal=10)
    with refuses(UsageError, match=r"--unlabelled: too few .*: 10, .* needs 20, .* 25 .*ingest run DIR"):
        fitted(home, name, unlabelled=True)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_tiny_collections_make_no_head_without_labels(home: Settings, base: ModelFile, count: int) -> None:
    """The message says how many images there are; five images make a head of up to three principal values."""
    images = images_of({"cat": count}) if count else replace(images_of({"cat": 1}), classes=[], sha256=[])
    name = stored(home, base, replace(images, vectors=images.vectors[:count]))
    kept = count - round(0.2 * count)
    with pytest.raises(UsageError, match=f"too few images to fit to: {kept},"):
        fitted(home, name, unlabelled=True)
    if kept < 2:
        with pytest.raises(UsageError, match=f"too few images to fit to: {kept}, .* principal values need 2"):
            fitted(home, name, principal=1)
    else:
        assert len(fitted(home, name, principal=kept - 1).bias) == kept - 1


def test_raw_and_normalised_vectors_make_the_same_head(home: Settings, base: ModelFile) -> None:
    """They are from Euclid and cosine collections and from both together, with duplicates counted once."""
    images = images_of({"cat": 15, "dog": 15})
    cosine = stored(home, base, images)
    euclid = stored(home, base, images, distance=Distance.EUCLID)
    one = fitted(home, cosine)
    for names in ([euclid], [cosine, euclid]):
        other = fitted(home, *names, force=True)
        np.testing.assert_allclose(other.weight, one.weight, atol=1e-4)
        np.testing.assert_allclose(other.bias, one.bias, atol=1e-4)
        assert other.trained == one.trained
    assert other.record["split"]["left_out"] == {"copy": 30}


def test_images_left_out_of_fitting_are_counted(home: Settings, base: ModelFile) -> None:
    """Reasons are: no class, duplicates, the same bytes in two classes, and only one image of a class."""
    images = images_of({"cat": 6, "dog": 6})
    vector = images.vectors[0]
    extra = [
        point("none.png", None, "a" * 64, vector),
        point("copy.png", "cat", images.sha256[0], vector),
        point("x/1.png", "cat", "b" * 64, vector),
        point("y/1.png", "dog", "b" * 64, vector),
        point("alone.png", "cow", "c" * 64, vector),
    ]
    head = fitted(home, stored(home, base, images, extra=extra))
    expected = {"unlabelled": 1, "copy": 2, "contradictory": 1, "alone": 1}
    assert head.record["split"]["left_out"] == expected
    assert head.classes == ["cat", "dog"]
    assert not head.trained & {"a" * 64, "b" * 64, "c" * 64}


def test_a_file_of_two_datasets_is_one_image_with_one_class(home: Settings, base: ModelFile) -> None:
    """The outermost dataset with a class decides: no image is unlabelled, contradictory or a duplicate."""
    images = images_of({"cat": 6, "dog": 6})
    name = stored(home, base, images)
    alone = fitted(home, name)
    none = "a" * 64
    inner = [
        point(f"{row}.png", "pets", sha256, vector)
        for row, (sha256, vector) in enumerate(zip(images.sha256, images.vectors, strict=True))
    ]
    with EmbeddedStore(home.qdrant_dir).open(name) as collection:
        collection.record_dataset("inner", "/data/in")
        collection.upsert([point("in/none.png", None, none, images.vectors[0])])
        inner.append(point("none.png", "cat", none, images.vectors[0]))
        moved = [replace(each.payload, path=f"in/{each.payload.path}") for each in inner[:-1]]
        outer = list(collection.scan(PointFilter(dataset="data", labelled=True)))
        classes = {payload.sha256: payload.class_name for payload in outer}
        collection.delete([payload.id for payload in outer])
        collection.upsert(
            [
                ImagePoint(payload=replace(payload, class_name=classes[payload.sha256]), vector=each.vector)
                for payload, each in zip(moved, inner, strict=False)
            ]
        )
        collection.upsert([replace(each, payload=replace(each.payload, dataset="inner")) for each in inner])
    both = fitted(home, name, force=True)
    assert both.record["split"]["left_out"] == {}
    assert both.classes == alone.classes == ["cat", "dog"]
    assert both.record["split"]["training"] + both.record["split"]["held_out"] == 13
    plain = fitted(home, name, principal=4, force=True)
    assert plain.record["split"] == {"training": 10, "held_out": 3, "left_out": {}}


def test_graph_and_numpy_agree(home: Settings, base: ModelFile) -> None:
    """The ONNX model gives the head applied to the base's vectors; an image without features gives NaN."""
    head = fitted(home, stored(home, base, images_of({"cat": 12, "dog": 12})), dims=16)
    model = get_headed_model(head, settings=home)
    onnx.checker.check_model(model.path, full_check=True)
    images = np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3), dtype=np.uint8)
    plain, headed = (Embedder.load(each.path, provider="cpu") for each in (base, model))
    expected, found = head.apply(plain.embed(images)), headed.embed(images)
    assert found.shape == (4, 16)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert (found * expected).sum(axis=1).min() >= PARITY
    assert headed.manifest.identity == head.identity
    assert np.isnan(head.apply(np.zeros((1, 64), dtype=np.float32))).all()


def test_the_model_records_its_training_data(home: Settings, base: ModelFile) -> None:
    """Base, classes, split, method, candidates and held-out results are in its metadata."""
    head = fitted(home, stored(home, base, images_of({"cat": 12, "dog": 12})))
    model = get_headed_model(head, settings=home)
    [said] = [p.value for p in onnx.load(model.path).metadata_props if p.key == "lookalike-head"]
    for key in (
        "base",
        "classes",
        "split",
        "method",
        "candidates",
        "held_out_against_training",
        "seed",
    ):
        assert f'"{key}"' in said


def test_a_head_is_found_by_name_and_by_collection(home: Settings, base: ModelFile) -> None:
    """It equals what was written; if it is missing or different, the message says how to restore it."""
    head = fitted(home, stored(home, base, images_of({"cat": 12, "dog": 12})))
    again = read_head("pets", home)
    assert (again.key, again.classes, again.trained) == (head.key, ("cat", "dog"), head.trained)
    assert read_collection_head(head.identity, home, collection="c").key == head.key
    write_head(replace(head, bias=head.bias + 1), home)
    with refuses(ManifestError, match="ingest rebuild c"):
        read_collection_head(head.identity, home, collection="c")
    head_path("pets", home).unlink()
    with refuses(ManifestError, match="exporter fit"):
        read_collection_head(head.identity, home, collection="c")
    with pytest.raises(UsageError, match="available: none"):
        read_head("pets", home)


def test_a_head_with_a_manifest_of_former_names_is_read(home: Settings) -> None:
    """An earlier version wrote it; it is the same head, with the same vector space."""
    home.heads_dir.mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "former_heads" / "pets.npz", head_path("pets", home))
    head = read_head("pets", home)
    assert head.key == "pets-1687ee0a"
    assert head.identity.key == "1cc2746894522a64"
    assert head.base.graph_precision is Precision.INT8
    assert head.base.activation_ranges is not None


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut"])
def test_a_damaged_head_is_refused(home: Settings, content: bytes) -> None:
    """The message names its file."""
    path = head_path("pets", home)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"pets\.npz is not a valid head file"):
        read_head("pets", home)


def changed(head: Head, home: Settings, **changes: object) -> None:
    """Writes the head's file with other arrays or another description."""
    path = write_head(head, home)
    with np.load(path) as archive:
        arrays = dict(archive)
    said = json.loads(arrays["said"].tobytes())
    for key, value in changes.items():
        if key in arrays:
            arrays[key] = value
        else:
            said[key] = value
    arrays["said"] = np.frombuffer(json.dumps(said).encode(), dtype=np.uint8)
    with path.open("wb") as file:
        np.savez(file, **arrays)


def test_a_head_with_invalid_arrays_is_refused(home: Settings, base: ModelFile) -> None:
    """Values are not finite, shapes or types do not fit, or the base has a head itself."""
    head = train_head(
        FitRequest(collections=["c"], name="pets"), base.manifest, images_of({"a": 4, "b": 4}), {}
    )
    changed(head, home)
    assert read_head("pets", home).key == head.key
    identity = head.base.identity.with_head("pets-00000000", dimension=64)
    for change in (
        {"weight": np.full_like(head.weight, np.nan)},
        {"bias": np.full_like(head.bias, np.inf)},
        {"weight": head.weight[:, :9]},
        {"weight": head.weight.astype(np.float64)},
        {"bias": np.float32(3)},
        {"bias": np.zeros((64, 2), np.float32)},
        {"bias": np.zeros(0, np.float32), "weight": np.zeros((0, 64), np.float32)},
        {"trained": np.zeros(31, np.uint8)},
        {"trained": np.zeros(32, np.float32)},
        {"schema": None},
        {"schema": "new"},
        {"record": [1]},
        {"record": None},
        {"classes": "abc"},
        {"classes": {"a": 1}},
        {"base": replace(head.base, identity=identity).to_json()},
    ):
        changed(head, home, **change)
        with refuses(
            ModelError, match=r"pets\.npz is not a valid head file .*exporter fit .*--name pets --force"
        ):
            read_head("pets", home)


def test_a_head_of_a_newer_version_or_of_another_name_is_refused(home: Settings, base: ModelFile) -> None:
    """The message has the file and the name in it; files of older versions have none."""
    head = train_head(
        FitRequest(collections=["c"], name="pets"), base.manifest, images_of({"a": 4, "b": 4}), {}
    )
    changed(head, home, schema=99)
    with pytest.raises(
        ModelError, match=r"the head .*pets\.npz has schema 99 and this version reads up to 1"
    ):
        read_head("pets", home)
    changed(head, home)
    shutil.copyfile(head_path("pets", home), head_path("zoo", home))
    with pytest.raises(ModelError, match=r"zoo\.npz holds the head 'pets' and not zoo") as caught:
        read_head("zoo", home)
    assert caught.value.exit_code == 3
    changed(head, home, name="pets")
    assert read_head("pets", home).key == head.key


def test_an_array_that_declares_more_than_its_file_takes_no_memory(home: Settings) -> None:
    """It is reported as damage, and not as a lack of memory."""
    path = head_path("pets", home)
    path.parent.mkdir(parents=True)
    header = io.BytesIO()
    huge = {"shape": (2**30, 2**10), "fortran_order": False, "descr": "<f4"}
    np.lib.format.write_array_header_1_0(header, huge)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weight.npy", header.getvalue())
    with pytest.raises(ModelError, match=r"pets\.npz is not a valid head file .*weight is truncated"):
        read_head("pets", home)


@pytest.mark.slow  # a layer for thousands of classes
def test_a_collection_of_thousands_of_classes_of_two_images_makes_a_head(
    home: Settings, base: ModelFile
) -> None:
    """Product photos are like that; no image is held out or left out."""
    counts = {f"c{number:04}": 2 for number in range(2_000)}
    head = fitted(home, stored(home, base, images_of(counts)), dims=16)
    assert head.classes == sorted(counts)
    assert len(head.trained) == 2 * len(counts)
    assert np.isfinite(head.weight).all()
    assert np.isfinite(head.bias).all()


def test_the_second_of_two_concurrent_fits_of_one_name_is_refused(
    home: Settings, base: ModelFile, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """It waits while the first one writes, then finds the name taken, and writes no model."""
    name = stored(home, base, images_of({"cat": 12, "dog": 12}))
    ended: dict[int, object] = {}

    def fit(dims: int) -> None:
        request = FitRequest(collections=[name], name="pets", dims=dims)
        try:
            ended[dims] = fit_head(request, store=EmbeddedStore(home.qdrant_dir), settings=home).head.key
        except UsageError as error:
            ended[dims] = error

    def slow(head: Head, settings: Settings) -> Path:
        is_writing.set()
        until = time.monotonic() + 60
        while not any("waiting" in line for line in said):  # the second, for this one
            assert time.monotonic() < until
            time.sleep(0.001)
        return write_head(head, settings)

    is_writing = threading.Event()
    monkeypatch.setattr("lookalike_exporter.heads.fit.write_head", slow)
    first = threading.Thread(target=fit, args=(16,))
    first.start()
    assert is_writing.wait(60)
    fit(8)
    first.join()
    assert ended[16] == read_head("pets", home).key
    assert isinstance(ended[8], UsageError)
    assert "holds another head" in str(ended[8])
    assert len([model for model in list_models(home) if model.manifest.identity.head]) == 1


def test_a_head_is_never_unpickled(home: Settings, tmp_path: Path) -> None:
    """Files from others are read as data only."""
    path = head_path("pets", home)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        np.savez(file, weight=np.array([{}], dtype=object), bias=[0], trained=[0], said=[0])
    with pytest.raises(ModelError, match="not a valid head file"):
        read_head("pets", home)


def test_an_equal_head_is_not_written_again_and_a_different_one_needs_force(
    home: Settings, base: ModelFile
) -> None:
    """The existing file is unchanged without `force`."""
    name = stored(home, base, images_of({"cat": 12, "dog": 12}))
    first = fitted(home, name)
    before = head_path("pets", home).stat()
    assert fitted(home, name).key == first.key
    assert head_path("pets", home).stat().st_mtime_ns == before.st_mtime_ns
    with refuses(UsageError, match="--force"):
        fitted(home, name, dims=8)
    assert fitted(home, name, dims=8, force=True).key == read_head("pets", home).key != first.key


def test_too_little_training_data_is_refused(home: Settings, base: ModelFile) -> None:
    """All points are unlabelled, there is one class or one image per class, or a class has no images."""
    images = images_of({"cat": 4, "dog": 1})
    name = stored(home, base, images)
    with pytest.raises(UsageError, match="there is 1 class of two images or more, and 1 more with only one"):
        fitted(home, name)
    with pytest.raises(UsageError, match="'cow'"):
        fitted(home, name, classes=["cow", "cat"])
    bare = [point(f"{n}.png", None, f"{n}" * 64, images.vectors[0]) for n in range(3)]
    euclid = stored(home, base, TrainingImages(vectors=images.vectors[:0], classes=[], sha256=[]), extra=bare,
                    distance=Distance.EUCLID)  # fmt: skip
    with pytest.raises(UsageError, match="0 classes of two images or more, and 3 images without a class"):
        fitted(home, euclid)
    with refuses(UsageError, match="--dims: 65 "):
        fitted(home, stored_more(home, euclid), dims=65)


def stored_more(home: Settings, name: str) -> str:
    """Stores the same collection with enough images."""
    images = images_of({"cat": 4, "dog": 4})
    with EmbeddedStore(home.qdrant_dir).open(name) as collection:
        rows = zip(images.classes, images.sha256, images.vectors, strict=True)
        collection.upsert([point(f"m{n}.png", *row) for n, row in enumerate(rows)])
    return name


def test_missing_collections_and_collections_of_two_spaces_are_refused(
    home: Settings, base: ModelFile
) -> None:
    """The message names both, or the existing ones if one is missing."""
    name = stored(home, base, images_of({"cat": 4, "dog": 4}))
    other = ModelFile(
        path=base.path,
        manifest=replace(
            base.manifest, identity=replace(base.manifest.identity, weights_fingerprint="0" * 64)
        ),
    )
    second = stored(home, other, images_of({"cat": 4, "dog": 4}))
    with pytest.raises(UsageError, match=f"{name} and {second} hold different spaces"):
        fitted(home, name, second)
    with pytest.raises(CollectionMissingError, match=r"'nix'.*available: "):
        fitted(home, name, "nix")


@pytest.mark.parametrize(
    "name", ["", "Pets", "a-b", "../x", "avg", "cosine", "vgg", "w0123abcd", "block5_pool", "x" * 41, "a\n"]
)
def test_reserved_names_are_refused_for_heads(name: str) -> None:
    """They would be ambiguous in a collection's name, or invalid on some file system or in a terminal."""
    with refuses(UsageError, match="--name"):
        check_name(name)


def test_a_head_is_part_of_the_identity_and_of_the_name(base: ModelFile) -> None:
    """Identities without a head keep their key and their JSON."""
    plain = base.manifest.identity
    headed = plain.with_head("pets-0a1b2c3d", dimension=8)
    assert "head" not in plain.to_json()
    assert headed.key != plain.key
    assert plain == ModelIdentity(**plain.to_json())
    assert collection_name(headed, Distance.COSINE, official=True) == "vgg16-block1_conv1-pets-cosine"


def test_vectors_that_are_not_finite_are_refused(base: ModelFile) -> None:
    """Stores do not hold any, but callers of the library may pass them."""
    images = images_of({"cat": 6, "dog": 6})
    images.vectors[0, 0] = np.nan
    with pytest.raises(LookalikeError, match="not finite"):
        train_head(FitRequest(collections=["c"], name="pets"), base.manifest, images, {})
