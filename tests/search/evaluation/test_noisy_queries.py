"""Images that are read and embedded again, by a small real network."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.errors import ImageError, SkipReason, UsageError
from lookalike_core.hints import Action
from lookalike_core.neighbours.cosine import paired_cosines
from lookalike_core.progress import shown_by
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import Payload
from lookalike_core.stores.protocol import Collection
from lookalike_search.evaluation import noisy_queries
from lookalike_search.evaluation.image_noise import draw_order
from lookalike_search.evaluation.labelled_vectors import LabelledImages, load_labelled
from lookalike_search.evaluation.noisy_queries import NoisyQueries, embed_noisy
from sole_bar import SoleBar

import lookalike

TOLERANCE = 1e-6
"""Cosines of the same image's vectors, embedded in batches of other sizes."""

Draw = Callable[..., list[Path]]


class Photos:
    """A folder of drawn images in a collection, read into memory."""

    def __init__(self, collection: Collection, root: Path, settings: Settings) -> None:
        self.root, self.settings, self.manifest = root, settings, collection.manifest
        self.images: LabelledImages = load_labelled(collection)
        self.order = draw_order(self.images.vectors, np.ones(len(self.images.payloads), dtype=bool))

    def embed(
        self,
        *,
        levels: Sequence[float] = (0.0, 20.0),
        sample: int = 8,
        seed: int = 0,
        payloads: Sequence[Payload] | None = None,
        manifest: CollectionManifest | None = None,
    ) -> NoisyQueries:
        """Embeds a sample."""
        return embed_noisy(
            payloads or self.images.payloads,
            manifest or self.manifest,
            self.order,
            levels=levels,
            sample=sample,
            seed=seed,
            settings=self.settings,
        )

    def file(self, place: int) -> Path:
        """Returns the file of the image at a place of the order."""
        return self.root / self.images.payloads[self.order[place]].path


@pytest.fixture
def photos(tmp_path: Path, draw: Draw, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Photos:
    """Twelve drawn images of two classes."""
    monkeypatch.setenv("LOOKALIKE_HOME", str(tmp_path / "home"))
    draw(tmp_path / "photos", *(f"{name}/{number}.png" for name in ("ant", "bee") for number in range(6)))
    model = lookalike.Model("vgg16", weights=tiny_weights, layer="block1_conv1")
    with lookalike.open(tmp_path / "photos.index", model=model) as index:
        index.add(tmp_path / "photos")
        name = index.collection
    with EmbeddedStore(tmp_path / "photos.index").open(name) as collection:
        return Photos(collection, tmp_path / "photos", Settings(home=tmp_path / "home", provider="cpu"))


def test_images_without_noise_have_their_stored_vectors(photos: Photos) -> None:
    """So their neighbours and verdicts are the same; noise moves the vectors."""
    found = photos.embed(levels=(0.0, 5.0, 40.0), sample=12)
    assert found.provider == "CPUExecutionProvider"
    assert (found.rows == photos.order).all()
    stored = photos.images.vectors.vectors[found.rows]
    assert paired_cosines(found.vectors[0.0], stored).min() > 1 - TOLERANCE
    little, much = (paired_cosines(found.vectors[level], stored).mean() for level in (5.0, 40.0))
    assert much < little < 1 - TOLERANCE


def test_batches_and_order_do_not_matter(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image has the same noise and so the same vector; one level does not change another."""
    found = photos.embed(sample=12)
    monkeypatch.setattr(noisy_queries, "BATCH_SIZE", 5)
    photos.order = photos.order[::-1]
    turned = photos.embed(levels=(0.0, 7.0, 20.0), sample=12)
    assert (turned.rows == found.rows[::-1]).all()
    for level in (0.0, 20.0):
        assert paired_cosines(turned.vectors[level][::-1], found.vectors[level]).min() > 1 - TOLERANCE
    assert np.abs(photos.embed(sample=12, seed=1).vectors[20.0] - turned.vectors[20.0]).max() > TOLERANCE


def test_unreadable_images_are_replaced_by_the_next(photos: Photos, said: list[str]) -> None:
    """One is gone, one has other bytes, one is damaged; a warning counts them."""
    photos.file(0).unlink()
    photos.file(1).write_bytes(photos.file(2).read_bytes())
    photos.file(3).write_bytes(photos.file(3).read_bytes()[:100])
    found = photos.embed(sample=4)
    assert found.rows.tolist() == [photos.order[place] for place in (2, 4, 5, 6)]
    assert found.left_out == 3
    [warning] = [line for line in said if "left out" in line]
    assert warning.endswith(
        "left out of the sample, since they cannot be embedded again: 3 images (2 unreadable, 1 vanished)"
    )
    assert len(photos.embed(sample=100).rows) == 9, "there are no more"


def test_nothing_to_read_is_an_error(photos: Photos) -> None:
    """As where a disk is not mounted, or a dataset's folder is not recorded."""
    for place in range(12):
        photos.file(place).unlink()
    with pytest.raises(ImageError, match=r"none of the 12 images of .* from its file: 12 vanished") as raised:
        photos.embed()
    assert raised.value.reason is SkipReason.VANISHED
    assert raised.value.hint is not None
    assert raised.value.hint.action is Action.UPDATE
    photos.order = photos.order[:0]
    with pytest.raises(UsageError, match="no image with another of its class"):
        photos.embed()


def test_an_image_without_an_embedding_is_left_out(
    photos: Photos, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """It is left out at every level, so that levels have the same queries."""
    images = iter(range(12))

    def refuse_the_second(vectors: np.ndarray) -> np.ndarray:
        return np.array([next(images) != 1, *[True] * (len(vectors) - 1)])

    monkeypatch.setattr(noisy_queries, "usable_rows", refuse_the_second)
    found = photos.embed(sample=2)
    assert found.rows.tolist() == [photos.order[0], photos.order[2]]
    assert [len(vectors) for vectors in found.vectors.values()] == [2, 2]
    assert any("1 no-embedding" in line for line in said)


class Counting(SoleBar):
    """Counts what is done."""

    def __init__(self) -> None:
        self.done = 0

    def advance(self, done: int) -> None:
        """Counts further images."""
        self.done += done


def test_progress_counts_the_images_of_the_sample(photos: Photos) -> None:
    """Each counts once, however many levels there are."""
    bar = Counting()
    with shown_by(bar):
        photos.embed(sample=8)
    assert bar.done == 8
