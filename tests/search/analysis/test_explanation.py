"""Explanations of similarities, with real images, models and collections."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from lookalike_core.errors import ImageError, ManifestError, SkipReason, UsageError
from lookalike_core.models.backbones import Pooling
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_exporter.resnet101v2 import resnet101v2
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from lookalike_search.analysis.explanation import (
    LEAST_AGREEMENT,
    Explained,
    SeenImage,
    explain_by,
    load_image,
    require_average,
)
from PIL import Image
from refusals import refuses

SUM_TOLERANCE = 1e-5
"""Between the sum of all parts and a collection's score: vectors lie there as float32."""

Draw = Callable[..., list[Path]]


@dataclass(frozen=True, kw_only=True)
class Library:
    """Two images, ingested with one model and both distances."""

    root: Path
    home: Settings

    def name(self, distance: Distance) -> str:
        """Returns the name of the collection of this distance."""
        [name] = [name for name in self.store.names() if name.endswith(distance)]
        return name

    @property
    def store(self) -> EmbeddedStore:
        """The store of the collections."""
        return EmbeddedStore(self.home.qdrant_dir)

    def see(self, *words: str, distance: Distance = Distance.COSINE) -> list[SeenImage]:
        """Returns the images of these names."""
        with self.store.open(self.name(distance)) as collection:
            return [load_image(word, [collection], max_pixels=10**6) for word in words]

    def explain(self, images: Sequence[SeenImage], distance: Distance) -> Explained:
        """Returns the explanation of the similarity of two images."""
        name = self.name(distance)
        manifest = self.store.manifest(name)
        return explain_by(manifest, name, *images, settings=self.home)


@pytest.fixture(scope="module", params=["vgg", "resnet"])
def library(
    request: pytest.FixtureRequest, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory, draw: Draw
) -> Library:
    """Returns a library of VGG16's first pooling, and of a layer of ResNet101V2 with negative values."""
    folder = tmp_path_factory.mktemp("library")
    draw(folder / "data", "cat/1.png", size=(90, 40))
    draw(folder / "data", "dog/1.png", size=(40, 70))
    specs = {
        "vgg": ModelSpec.of("vgg", layer="block1_pool", weights=str(tiny_weights)),
        "resnet": ModelSpec.of(
            "resnet", layer="conv2_block1_preact_bn", weights=str(_resnet_weights(folder / "resnet.h5"))
        ),
    }
    library = Library(root=folder / "data", home=Settings(home=folder / "home", provider="cpu"))
    wanted = IngestRequest(
        dataset=Dataset(name="data", root=library.root),
        specs=[specs[request.param]],
        distances=list(Distance),
    )
    run_ingest(wanted, store=library.store, settings=library.home, stop=StopRequest())
    return library


@pytest.mark.parametrize("distance", Distance)
def test_shares_sum_to_the_score(library: Library, distance: Distance) -> None:
    """In a Euclidean collection they sum to the cosine similarity of its vectors."""
    images = library.see(str(library.root / "cat/1.png"), "dog/1.png", distance=distance)
    found = library.explain(images, distance).explanation
    with library.store.open(library.name(distance)) as collection:
        ids = {payload.path: payload.id for payload in collection.scan()}
        stored = collection.vectors(list(ids.values()))
        cat, dog = stored[ids["cat/1.png"]], stored[ids["dog/1.png"]]
        score = float(cat @ dog / np.linalg.norm(cat) / np.linalg.norm(dog))
        if distance is Distance.COSINE:
            hits = collection.query(cat, limit=2, exact=True)
            [score] = [hit.score for hit in hits if hit.payload.path == "dog/1.png"]
    for parts in (found.query, found.neighbour, found.pairs):
        assert parts.sum() == pytest.approx(score, abs=SUM_TOLERANCE)


@pytest.mark.parametrize("distance", Distance)
def test_shares_sum_to_the_score_of_vectors_of_another_provider(library: Library, distance: Distance) -> None:
    """The stored values are half a per cent off, as after rounding to bfloat16; the shares sum to theirs."""
    name = library.name(distance)
    cat, dog = library.see(str(library.root / "cat/1.png"), "dog/1.png", distance=distance)
    off = np.random.default_rng(0).uniform(0.995, 1.005, dog.stored[name].shape)
    dog = replace(dog, stored={name: (dog.stored[name] * off).astype(np.float32)})
    found = library.explain([cat, dog], distance)
    assert (found.query.is_stored, found.neighbour.is_stored) == (False, True)
    one, other = (each.vector.astype(np.float64) for each in (found.query, found.neighbour))
    np.testing.assert_array_equal(found.neighbour.vector, dog.stored[name])
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    score = cosine if distance is Distance.COSINE else np.linalg.norm(one - other)
    assert found.score == pytest.approx(score, rel=1e-9)
    for parts in (found.explanation.query, found.explanation.neighbour, found.explanation.pairs):
        assert parts.sum() == pytest.approx(cosine, abs=1e-9)
    assert LEAST_AGREEMENT < found.agreement == found.neighbour.agreement < 1


def test_a_stored_vector_of_another_image_is_refused(library: Library) -> None:
    """Providers never differ that much; the message names the image and the remedy."""
    cat, dog = library.see("cat/1.png", "dog/1.png")
    name = library.name(Distance.COSINE)
    turned = replace(dog, stored={name: np.roll(dog.stored[name], 1)})
    with refuses(ManifestError, match=r"the stored vector of dog/1\.png in .*: ingest rebuild") as caught:
        library.explain([cat, turned], Distance.COSINE)
    assert caught.value.exit_code == 6


def test_an_ingested_file_is_embedded_as_a_query_and_read_as_a_neighbour(
    library: Library,
) -> None:
    """A search does the same: it embeds the query's file and compares it with stored vectors."""
    file = str(library.root / "cat/1.png")
    with library.store.open(library.name(Distance.COSINE)) as collection:
        query, neighbour, indexed = (
            load_image(word, [collection], max_pixels=10**6, is_neighbour=is_neighbour)
            for word, is_neighbour in ((file, False), (file, True), ("cat/1.png", False))
        )
    assert query.stored == {}
    assert list(neighbour.stored) == list(indexed.stored) == [collection.name]


def test_an_image_is_given_by_file_path_or_id(library: Library) -> None:
    """All three name the same image, which is shown whole."""
    with library.store.open(library.name(Distance.COSINE)) as collection:
        [id_] = [payload.id for payload in collection.scan() if payload.path == "cat/1.png"]
    file, path, by_id = library.see(str(library.root / "cat/1.png"), "cat/1.png", id_)
    np.testing.assert_array_equal(file.pixels, path.pixels)
    np.testing.assert_array_equal(file.pixels, by_id.pixels)
    assert (path.shown.width, path.shown.height) == (90, 40)


def test_bytes_and_pixels_are_explained_like_the_file(library: Library) -> None:
    """An image from bytes is shown whole, one from pixels as the networks see it; a vector is refused."""
    file = library.root / "cat/1.png"
    [named] = library.see(str(file))
    with Image.open(file) as image, library.store.open(library.name(Distance.COSINE)) as collection:
        content, pixels = (
            load_image(each, [collection], max_pixels=10**6) for each in (file.read_bytes(), image)
        )
        with pytest.raises(UsageError, match="a feature vector cannot be explained"):
            load_image(
                np.ones(collection.manifest.identity.dimension, np.float32), [collection], max_pixels=10**6
            )
    assert content.shown == named.shown
    for seen in (content, pixels):
        np.testing.assert_array_equal(seen.pixels, named.pixels)
    assert (pixels.shown.width, pixels.shown.height) == (224, 224)


def test_what_is_no_image_is_refused(library: Library) -> None:
    """A folder and an unknown name are refused."""
    with pytest.raises(UsageError, match="is a folder; name one image"):
        library.see(str(library.root / "cat"))
    with pytest.raises(ImageError, match=r"no image of .* has this path or id"):
        library.see("cat/2.png")


def test_an_indexed_image_with_a_changed_file_is_refused(library: Library) -> None:
    """The collection holds the vector of the old file; the new file itself can be explained."""
    file = library.root / "dog/1.png"
    kept = file.read_bytes()
    file.write_bytes((library.root / "cat/1.png").read_bytes())
    try:
        with refuses(ImageError, match=r"dog/1\.png has changed .*: ingest run DIR") as caught:
            library.see("dog/1.png")
        [seen] = library.see(str(file))
    finally:
        file.write_bytes(kept)
    assert caught.value.exit_code == 4
    assert str(file) in str(caught.value)
    assert (seen.shown.width, seen.shown.height) == (90, 40)
    assert library.see("dog/1.png")


@pytest.mark.parametrize("pooling", [Pooling.MAX, Pooling.FLATTEN, Pooling.NONE])
def test_other_poolings_are_refused_with_the_reason(library: Library, pooling: Pooling) -> None:
    """Other similarities are no sums over pairs of cells; the message says what to ingest with."""
    manifest = library.store.manifest(library.name(Distance.COSINE))
    other: CollectionManifest = replace(manifest, identity=replace(manifest.identity, pooling=pooling))
    with refuses(UsageError, match=r"cell by cell: its vectors .* create it with: .* --pooling avg"):
        require_average("other", other)


def test_an_image_with_zero_features_is_refused(
    write_weights: Callable[..., Path], tmp_path: Path, home: Settings, draw: Draw
) -> None:
    """Negative kernels leave only zeros after a ReLU."""
    [image] = draw(tmp_path, "cat.png")
    spec = ModelSpec.of("vgg", layer="block1_pool", weights=str(write_weights(tmp_path / "w.h5", kernel=1.0)))
    wanted = IngestRequest(
        dataset=Dataset(name="data", root=tmp_path), specs=[spec], distances=[Distance.COSINE]
    )
    library = Library(root=tmp_path, home=home)
    run_ingest(wanted, store=library.store, settings=home, stop=StopRequest())
    [seen] = library.see(str(image))
    dark = replace(seen, name="dark.png", pixels=np.zeros_like(seen.pixels))
    with pytest.raises(ImageError, match=r"dark\.png has no embedding") as caught:
        library.explain([seen, dark], Distance.COSINE)
    assert caught.value.reason is SkipReason.NO_EMBEDDING


def _resnet_weights(path: Path) -> Path:
    """Writes random weights of ResNet101V2 up to its first batch norm."""
    random = np.random.default_rng(0)
    layers = [layer for layer in resnet101v2().up_to("conv2_block1_preact_bn").layers if layer.variables]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{variable}:0" for variable in layer.variables]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, shape in zip(names, layer.variables.values(), strict=True):
                values = random.normal(0, 0.3, shape)
                group[name] = (np.abs(values) + 0.5 if "variance" in name else values).astype(np.float32)
    return path
