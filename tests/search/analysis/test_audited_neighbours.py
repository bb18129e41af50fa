"""Audits of many images, whose neighbours the store's index finds instead of brute force."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_search.analysis.all_neighbours import ComparisonLimits
from lookalike_search.analysis.audit import Audit, audit_collection
from lookalike_search.analysis.outliers import _MOST_MEMBERS, _thin

Fill = Callable[..., str]

BY_INDEX = ComparisonLimits(exact_images=0, at_once=50)


def make_images(count: int = 120) -> dict[str, Any]:
    """Returns three clouds with a few wrong labels; some test images have near-duplicates for training."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 3
    vectors = 3 * np.eye(3, 8)[labels] + random.normal(size=(count, 8)) * 0.5
    given = np.where(np.arange(count) < 6, 0, labels)
    images = {
        f"c{given[row]}/{'test' if row % 5 == 0 else 'train'}/{row:03}.png": vectors[row]
        for row in range(count)
    }
    for row in range(0, 40, 5):
        images[f"c{given[row]}/train/near{row:03}.png"] = vectors[row] + 0.03 * random.normal(size=8)
    return images


def summarise(found: Audit) -> dict[str, Any]:
    """Returns what two audits must agree on."""
    return {
        "wrong": sorted((each.payload.path, each.suggested) for each in found.wrong_labels),
        "noise": pytest.approx(found.noise, abs=1e-3),
        "pairs": sorted((pair.payload.path, pair.other.path) for pair in found.near_pairs),
        "outliers": [each.payload.path for each in found.outliers],
        "overlaps": found.overlaps,
        "judged": found.judged,
    }


@pytest.mark.parametrize("distance", list(Distance))
def test_an_audit_by_index_finds_what_brute_force_finds(
    tmp_path: Path, fill: Fill, distance: Distance
) -> None:
    """Wrong labels, near-duplicates in other splits and outliers, with exact duplicates among the images."""
    images = make_images()
    copies = {f"c1/train/copy{number}.png": "same" for number in range(30)}
    images |= dict.fromkeys(copies, 3 * np.eye(8)[1] + 0.3)
    store = EmbeddedStore(tmp_path)
    with store.open(fill(store, images, distance=distance, copies=copies)) as source:
        exact = audit_collection(source, false_discoveries=0.3)
        by_index = audit_collection(source, false_discoveries=0.3, limits=BY_INDEX)
    assert len(exact.wrong_labels) > 3
    assert len(exact.near_pairs) >= 8
    assert summarise(by_index) == summarise(exact)


def test_images_with_a_class_are_found_among_many_without(tmp_path: Path, fill: Fill) -> None:
    """They alone vote, though nearly all of the nearest images have no class."""
    random = np.random.default_rng(1)
    labels = np.arange(60) % 2
    images = {
        f"c{label}/{row:03}.png": np.eye(2, 4)[label] * 5 + random.normal(size=4)
        for row, label in enumerate(labels)
    }
    images |= {f"{row:03}.png": np.eye(2, 4)[row % 2] * 5 + random.normal(size=4) for row in range(200)}
    store = EmbeddedStore(tmp_path)
    with store.open(fill(store, images)) as source:
        exact, by_index = audit_collection(source), audit_collection(source, limits=BY_INDEX)
    assert exact.judged == 60
    assert summarise(by_index) == summarise(exact)


def test_twice_the_images_are_twice_the_queries(
    tmp_path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each image is one query of a limited number of neighbours: no image is compared with all others."""
    asked: list[tuple[int, int]] = []
    search = EmbeddedCollection.query_many

    def count(self: EmbeddedCollection, vectors: np.ndarray, **options: Any) -> Any:
        asked.append((len(vectors), options["limit"]))
        return search(self, vectors, **options)

    monkeypatch.setattr(EmbeddedCollection, "query_many", count)
    queries = {}
    for images in (120, 240):
        asked.clear()
        store = EmbeddedStore(tmp_path / str(images))
        with store.open(fill(store, make_images(images))) as source:
            audit_collection(source, limits=BY_INDEX)
        queries[images] = sum(number for number, _ in asked)
        assert max(limit for _, limit in asked) <= 128
    assert queries == {120: 128, 240: 248}


def test_an_image_is_compared_with_a_limited_number_of_its_class() -> None:
    """A class of many is thinned out evenly, for else a class would be compared with itself as a whole."""
    for count in (1, _MOST_MEMBERS, _MOST_MEMBERS + 1, 5 * _MOST_MEMBERS - 3):
        rows = _thin(np.arange(count)[:, np.newaxis])[:, 0]
        assert len(rows) == min(count, len(rows))
        assert _MOST_MEMBERS / 2 < len(rows) <= _MOST_MEMBERS or len(rows) == count
        assert len(np.unique(np.diff(rows))) <= 1
        assert rows[-1] > count - 2 - count // _MOST_MEMBERS
