"""Tests which images are attacked, and how the class of a reconstruction is recognised."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.errors import UsageError
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.protocol import Store
from lookalike_core.text import format_count
from lookalike_search.analysis.inversion_attack import AttackedImages
from lookalike_search.analysis.privacy import ClassVote, measure_privacy, sample_vectors


def test_one_of_several_images_with_the_same_bytes_is_attacked(
    both_stores: Store, fill: Callable[..., str]
) -> None:
    """It is one with a class, if any has one; the others are counted."""
    images = {f"cat/{number:02}.png": [1.0, number] for number in range(30)}
    loose = {"00.png": [1.0, 0.0], "01.png": [1.0, 50.0]}
    name = fill(both_stores, {**loose, **images}, copies={"00.png": "same", "cat/00.png": "same"})
    with both_stores.open(name) as collection:
        sampled = sample_vectors(collection, limit=100, seed=0)
    paths = [payload.path for payload in sampled.payloads]
    assert (sampled.total, sampled.duplicates) == (31, 1)
    assert "cat/00.png" in paths
    assert "00.png" not in paths
    assert sampled.vectors.shape == (31, 2)


def test_the_sample_is_bounded_and_depends_on_the_seed(both_stores: Store, fill: Callable[..., str]) -> None:
    """The same seed draws the same images."""
    name = fill(both_stores, {f"cat/{number}.png": [1.0, number] for number in range(40)})
    with both_stores.open(name) as collection:
        first, again, other = (sample_vectors(collection, limit=25, seed=seed) for seed in (0, 0, 1))
    assert len(first.payloads) == 25
    assert first.payloads == again.payloads
    assert first.payloads != other.payloads


@pytest.mark.parametrize("count", [1, 2, 24])
def test_too_few_images_are_refused(both_stores: Store, fill: Callable[..., str], count: int) -> None:
    """The message says how many there are and how many are needed."""
    name = fill(both_stores, {f"cat/{number}.png": [1.0, number] for number in range(count)})
    with (
        both_stores.open(name) as collection,
        pytest.raises(UsageError, match=f"holds {format_count(count, 'different image')}, too few to attack"),
    ):
        sample_vectors(collection, limit=100, seed=0)


def test_missing_files_are_counted_before_anything_is_trained(
    both_stores: Store, fill: Callable[..., str], tmp_path: Path
) -> None:
    """No model is needed to say so."""
    name = fill(both_stores, {f"cat/{number}.png": [1.0, number] for number in range(30)})
    with both_stores.open(name) as collection:
        sampled = sample_vectors(collection, limit=100, seed=0)
    with pytest.raises(UsageError, match=r"0 of 30 images .* files \(30 gone\), .*: this attacker trains"):
        measure_privacy(sampled, settings=Settings(home=tmp_path, provider="cpu"))


def make_attacked(vectors: object, classes: list[str | None]) -> AttackedImages:
    """Returns images of which only vectors and classes matter."""
    return AttackedImages(
        vectors=np.array(vectors, np.float32),
        images=np.zeros((len(classes), 32, 32, 3), np.uint8),
        classes=classes,
    )


def test_an_image_s_own_vector_does_not_vote() -> None:
    """A reconstruction that is exactly its vector takes the class of the others around it."""
    attacked = make_attacked([[1, 0], [1, 0.1], [1, 0.2], [0, 1]], ["dog", "cat", "cat", "cat"])
    votes = ClassVote(attacked, distance=Distance.COSINE)
    assert votes.classify(np.array([[1.0, 0.0]], np.float32), np.array([0])) == ["cat"]


@pytest.mark.parametrize(("distance", "expected"), [(Distance.COSINE, "far"), (Distance.EUCLID, "near")])
def test_neighbours_are_those_of_the_collection_s_distance(distance: Distance, expected: str) -> None:
    """Ten of one class lie near in space, ten of another in the same direction."""
    near = [[1, 1 + number / 100] for number in range(10)]
    far = [[100, number / 100] for number in range(10)]
    attacked = make_attacked([*near, *far, [5, 5]], ["near"] * 10 + ["far"] * 10 + [None])
    votes = ClassVote(attacked, distance=distance)
    assert votes.classify(np.array([[1.0, 0.0]], np.float32), np.array([20])) == [expected]


def test_a_vector_of_zeros_has_no_class() -> None:
    """It counts as not recognised, and so does one that is not finite."""
    votes = ClassVote(make_attacked([[1, 0], [0, 1]], ["cat", "dog"]), distance=Distance.COSINE)
    vectors = np.array([[0, 0], [np.nan, 1]], np.float32)
    assert votes.classify(vectors, np.array([0, 1])) == [None, None]
