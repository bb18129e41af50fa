"""Audits: wrong labels, outliers, leaks between splits, overlapping classes, blank and blurred images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lookalike_core.errors import UsageError
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Store
from lookalike_search.analysis.audit import Across, Audit, audit_collection, find_split
from lookalike_search.analysis.false_discoveries import rates_by_chances, rates_by_p_values
from lookalike_search.analysis.image_faults import Fault, find_fault, measure_faults
from lookalike_search.analysis.label_noise import count_votes, find_judged, find_width, judge_labels
from lookalike_search.analysis.outliers import Measure, measure_outlyingness
from made_collections import payload_of

Fill = Callable[..., str]


def clouds(count: int, *, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns vectors in a cloud around a centre for each class, and their classes."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return 3 * np.eye(classes, 8)[labels] + random.normal(size=(count, 8)) * 0.5, labels


def with_wrong(labels: np.ndarray, share: float, *, classes: int, seed: int = 0) -> np.ndarray:
    """Returns the rows whose labels are made wrong, and changes those."""
    random = np.random.default_rng(seed)
    rows = random.choice(len(labels), round(share * len(labels)), replace=False)
    labels[rows] = (labels[rows] + random.integers(1, classes, len(rows))) % classes
    return rows


def collection(vectors: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns images to fill a store with; a class of -1 is none."""
    return {
        f"c{label}/{row:03}.png" if label >= 0 else f"{row:03}.png": vectors[row]
        for row, label in enumerate(labels)
    }


def audit(store: Store, fill: Fill, images: dict[str, Any], **options: Any) -> Audit:
    """Audits a collection of these images."""
    made = {name: options.pop(name) for name in ("distance", "copies") if name in options}
    with store.open(fill(store, images, **made)) as source:
        return audit_collection(source, **options)


@pytest.mark.parametrize("distance", list(Distance))
def test_wrong_labels_are_found_with_the_right_class(
    both_stores: Store, fill: Fill, distance: Distance
) -> None:
    """All that were made wrong come first, each with its right class, and the noise is estimated."""
    vectors, labels = clouds(150, classes=3)
    right = labels.copy()
    wrong = with_wrong(labels, 0.06, classes=3)
    images = collection(vectors, labels)
    found = audit(both_stores, fill, images, distance=distance, false_discoveries=0.5)
    first = found.wrong_labels[: len(wrong)]
    rows = [int(Path(each.payload.path).stem) for each in first]
    assert sorted(rows) == sorted(wrong)
    assert [each.suggested for each in first] == [f"c{right[row]}" for row in rows]
    assert all(each.example and each.example.class_name == each.suggested for each in found.wrong_labels)
    assert found.noise == pytest.approx(0.06, abs=0.03)
    assert found.judged == 150
    assert not found.overlaps


def test_chances_are_calibrated() -> None:
    """Of labels with a chance of x to be wrong, a share of about x is wrong; clouds overlap."""
    expected, wrong_ones, count = 0.0, 0, 0
    for seed in range(5):
        vectors, labels = clouds(400, classes=4, seed=seed)
        vectors += np.random.default_rng(seed).normal(size=vectors.shape) * 0.4
        wrong = with_wrong(labels, 0.1, classes=4, seed=seed)
        similarity = -np.linalg.norm(vectors[:, np.newaxis] - vectors, axis=2)
        np.fill_diagonal(similarity, -np.inf)
        neighbours = np.argsort(-similarity, axis=1)[:, :100]
        nearness = np.take_along_axis(similarity, neighbours, axis=1)
        chances = judge_labels(labels, np.ones(400, dtype=bool), neighbours, nearness)
        listed = rates_by_chances(chances.wrong) <= 0.1
        expected += (1 - chances.wrong[listed]).sum()
        count += int(listed.sum())
        wrong_ones += int((~np.isin(np.flatnonzero(listed), wrong)).sum())
        assert chances.wrong.sum() == pytest.approx(40, abs=16)
    assert count > 100
    assert wrong_ones <= 2 * expected + 3


def test_a_label_gets_no_vote_from_its_image_or_an_exact_duplicate(both_stores: Store, fill: Fill) -> None:
    """A wrong label with ten copies of its image is found in spite of them."""
    vectors, labels = clouds(90, classes=3)
    images = collection(vectors, labels)
    copies = {f"c1/copy{number}.png": "same" for number in range(11)}
    images |= dict.fromkeys(copies, vectors[0])
    found = audit(both_stores, fill, images, copies=copies)
    assert {each.payload.path for each in found.wrong_labels} == set(copies)
    assert {each.suggested for each in found.wrong_labels} == {"c0"}


def test_nothing_is_suspected_where_labels_are_right(both_stores: Store, fill: Fill) -> None:
    """No label, no class and no pair; only the farthest image in a hundred is named."""
    found = audit(both_stores, fill, collection(*clouds(150, classes=3)))
    assert not found.wrong_labels
    assert not found.overlaps
    assert not found.near_pairs
    assert len(found.outliers) == 1
    assert found.outliers[0].false_discovery_rate is None


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("labelled", [True, False])
def test_few_images_are_audited_as_far_as_they_go(
    both_stores: Store, fill: Fill, count: int, labelled: bool
) -> None:
    """Labels are not judged, and a note says why."""
    vectors, labels = clouds(count, classes=2)
    found = audit(both_stores, fill, collection(vectors, labels if labelled else labels * 0 - 1))
    assert (found.images, found.judged, found.noise) == (count, 0, None)
    assert "labels are judged from 20 different images of 2 classes on" in found.notes[0]


def test_one_class_is_audited_for_outliers_by_neighbours(both_stores: Store, fill: Fill) -> None:
    """No other class could be right; an image far from all others is still the farthest."""
    vectors, labels = clouds(100, classes=2)
    vectors[5] = -vectors[5] * 9
    found = audit(both_stores, fill, collection(vectors, labels * 0))
    assert not found.wrong_labels
    assert found.outlier_measure is Measure.NEIGHBOURS
    assert [each.payload.path for each in found.outliers] == ["c0/005.png"]


def test_images_without_a_class_that_are_like_none_are_outliers(both_stores: Store, fill: Fill) -> None:
    """Those of an unknown cloud are listed, those of a known one are not."""
    vectors, labels = clouds(160, classes=4)
    labels[labels == 3] = -1
    labels[:9:4] = -1  # three images of a known class, without one
    found = audit(both_stores, fill, collection(vectors, labels), false_discoveries=0.1)
    assert found.outlier_measure is Measure.CLASS_MEANS
    strange = [int(Path(each.payload.path).stem) for each in found.outliers if not each.payload.class_name]
    assert len(strange) > 30
    assert np.mean([row % 4 == 3 for row in strange]) > 0.9
    assert all((each.false_discovery_rate or 0) <= 0.1 for each in found.outliers)


def test_near_duplicates_are_found_across_classes_datasets_and_splits(both_stores: Store, fill: Fill) -> None:
    """Those in one class of one dataset and split are none of an audit's business."""
    vectors, _ = clouds(30, classes=8)
    images = {f"train/{row:03}.png": vectors[row] for row in range(20)}
    images |= {"val/a.png": vectors[0], "other:train/b.png": vectors[1] * 2, "train/c.png": vectors[2]}
    found = audit(both_stores, fill, images, copies={"val/a.png": "x", "train/000.png": "x"})
    between = {(each.payload.path, each.other.path): each for each in found.near_pairs}
    assert set(between) == {("train/000.png", "val/a.png"), ("train/001.png", "train/b.png")}
    same = found.near_pairs[0]
    assert same.is_identical
    assert list(same.across) == [Across.CLASSES, Across.SPLITS]
    assert list(found.near_pairs[1].across) == [Across.DATASETS]
    assert found.near_pairs[1].similarity == pytest.approx(1, abs=1e-5)


def test_classes_that_are_the_same_are_named(both_stores: Store, fill: Fill) -> None:
    """Two names for one cloud are taken for each other, a third class is not."""
    vectors, labels = clouds(180, classes=2)
    names = np.where(labels == 0, 0, 1 + np.random.default_rng(1).integers(0, 2, 180))
    found = audit(both_stores, fill, collection(vectors, names))
    assert {(each.class_name, each.other) for each in found.overlaps} <= {("c1", "c2"), ("c2", "c1")}
    assert found.overlaps
    assert all(each.taken > each.images / 4 for each in found.overlaps)


def test_a_dataset_is_audited_alone(both_stores: Store, fill: Fill) -> None:
    """Others are not compared, and an unknown one is refused."""
    name = fill(both_stores, {"a/1.png": [1, 0], "other:b/2.png": [1, 0]})
    with both_stores.open(name) as source:
        assert len(audit_collection(source).near_pairs) == 1
        assert not audit_collection(source, where=PointFilter(dataset="other")).near_pairs
        with pytest.raises(UsageError, match="othr"):
            audit_collection(source, where=PointFilter(dataset="othr"))


def test_files_that_are_gone_are_counted(both_stores: Store, fill: Fill) -> None:
    """Reading files is optional, and a file that is gone is no fault of the image."""
    found = audit(both_stores, fill, {"a/1.png": [1, 0], "b/2.png": [0, 1]}, read_files=True)
    assert found.faults == []
    assert sum(found.unread.values()) == 2


@pytest.mark.parametrize(
    ("path", "dataset", "split"),
    [
        ("train/cat/1.png", "data", "train"),
        ("cat/Validation/1.png", "data", "val"),
        ("cat/1.png", "test", "test"),
        ("cat/train.png", "data", ""),
        ("trained/1.png", "data", ""),
    ],
)
def test_a_split_is_named_by_a_folder_or_the_dataset(path: str, dataset: str, split: str) -> None:
    """A file's own name is none."""
    assert find_split(payload_of(path, dataset=dataset)) == split


def test_blank_dark_and_blurred_images_are_told_apart() -> None:
    """Noise is sharp; what is nearly black is dark and not blurred; what is even is blank."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    ramp = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[:, np.newaxis, np.newaxis], (64, 64, 3))
    kinds = [find_fault(measure_faults(each)) for each in (noise, noise // 10, ramp, ramp * 0 + 200)]
    assert kinds == [None, Fault.DARK, Fault.BLURRED, Fault.BLANK]


@given(st.lists(st.floats(0, 1), max_size=40))
def test_rates_rise_with_the_rank_of_a_finding(values: list[float]) -> None:
    """They are between 0 and 1, equal for equal values, and the last is the mean of all."""
    chances = np.array(values)
    rates = rates_by_chances(chances)
    order = np.argsort(-chances, kind="stable")
    assert (np.diff(rates[order]) >= -1e-9).all()
    assert ((rates >= -1e-9) & (rates <= 1 + 1e-9)).all()
    if values:
        assert rates[order[-1]] == pytest.approx((1 - chances).mean())


def test_rates_of_p_values_are_those_of_benjamini_and_hochberg() -> None:
    """By hand for four tests, and for four of eight; of random tests few are discoveries."""
    p_values = np.array([0.01, 0.5, 0.02, 0.04])
    np.testing.assert_allclose(rates_by_p_values(p_values), [0.04, 0.5, 0.04, 4 / 3 * 0.04])
    np.testing.assert_allclose(rates_by_p_values(p_values, tests=8), [0.08, 1, 0.08, 8 / 3 * 0.04])
    assert not len(rates_by_p_values(np.zeros(0)))


def test_votes_count_each_class_once() -> None:
    """Missing neighbours have no vote, and the nearest the largest."""
    votes = count_votes(
        np.array([0, 1, 1, 0]),
        np.array([[1, 2, 3], [0, -1, -1]]),
        np.array([[3.0, 2.0, 2.0], [1.0, np.nan, np.nan]]),
        of=np.array([0, -1]),
        width=1.0,
    )
    weight = np.exp(-1)
    np.testing.assert_allclose(votes.shares[0], np.array([1 + weight, weight]) / (1 + 2 * weight))
    assert votes.classes.tolist() == [[1, 0], [0, -1]]
    np.testing.assert_allclose(votes.own, [weight / (1 + 2 * weight), 0])


def test_the_only_image_of_a_class_is_not_judged() -> None:
    """Nor are exact duplicates that are the only ones of their class."""
    judged = find_judged(np.array([0, 0, 1, 2, 2, -1]), np.array([0, 1, 2, 3, 3, 4]))
    assert judged.tolist() == [True, True, False, False, False, False]


def test_equal_vectors_have_a_width() -> None:
    """Nothing is divided by zero."""
    assert find_width(np.ones((3, 12))) == 1
    found = measure_outlyingness(
        np.ones((8, 3), dtype=np.float32),
        np.arange(8) % 2,
        np.arange(8),
        np.ones((8, 1)),
        known=np.ones(8, dtype=bool),
    )
    assert np.isfinite(found.scores).all()


def test_an_image_is_an_outlier_by_what_its_class_is_used_to() -> None:
    """As far from a class of like images and one of unlike ones, it is likelier of the latter."""
    random = np.random.default_rng(0)
    spread = np.repeat([0.05, 0.6], 40)
    vectors = np.zeros((82, 12))
    vectors[:40, 0] = vectors[40:80, 1] = 1
    vectors[:80, 2:] = spread[:, np.newaxis] * random.standard_normal((80, 10))
    aside = random.standard_normal(10)
    vectors[80, 0] = vectors[81, 1] = 1
    vectors[80:, 2:] = aside / np.linalg.norm(aside)
    classes = np.concatenate([np.repeat([0, 1], 40), [-1, -1]])
    found = measure_outlyingness(
        vectors.astype(np.float32), classes, np.arange(82), np.ones((82, 1)), known=classes >= 0
    )
    assert found.measure is Measure.CLASS_MEANS
    assert found.scores[80] > found.scores[81]
    assert found.p_values[80] < found.p_values[81]


def test_a_class_of_one_image_has_outliers_as_other_classes_have() -> None:
    """It says nothing of how near its images are to each other, and all scores are numbers."""
    random = np.random.default_rng(0)
    classes = np.array([0] * 20 + [1] * 20 + [2, -1])
    vectors = random.standard_normal((42, 6)) * 0.1 + np.eye(6)[np.where(classes < 0, 3, classes)]
    found = measure_outlyingness(
        vectors.astype(np.float32), classes, np.arange(42), np.ones((42, 1)), known=classes >= 0
    )
    assert np.isfinite(found.scores).all()
    assert found.scores[41] > np.median(found.scores)
