"""Recall of a search index: what counts as found, and which index is at fault."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import ScoredId
from lookalike_ingest.integrity.search_recall import FLOOR, measure_index_recall

IDS = [f"{number}" for number in range(40)]


class Indexed:
    """Stands in for a collection whose index misses every neighbour with a number in `missed`."""

    upkeep = None

    def __init__(self, distance: Distance, missed: Sequence[int], *, covered: int = 40) -> None:
        self.manifest = SimpleNamespace(distance=distance)
        self._missed, self._covered = set(missed), covered
        self._vectors = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
        self._vectors /= np.linalg.norm(self._vectors, axis=1, keepdims=True)

    def indexed_count(self) -> int:
        """Returns how many vectors the index covers."""
        return self._covered

    def vectors(self, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns vectors by id."""
        return {id_: self._vectors[int(id_)] for id_ in ids}

    def query_many(self, vectors: np.ndarray, *, limit: int, exact: bool = False) -> list[list[ScoredId]]:
        """Returns neighbours by brute force, without those that the index misses."""
        found = []
        for scores in vectors @ self._vectors.T:
            if self.manifest.distance is Distance.EUCLID:
                scores = np.sqrt(np.maximum(0, 2 - 2 * scores))  # noqa: PLW2901
            order = np.argsort(-scores if self.manifest.distance is Distance.COSINE else scores)
            kept = [row for row in order if exact or row not in self._missed]
            found.append([ScoredId(id=str(row), score=float(scores[row])) for row in kept[:limit]])
        return found


def recall(collection: Any) -> Any:
    """Measures the recall for all vectors."""
    return measure_index_recall(collection, IDS)


@pytest.mark.parametrize("distance", Distance)
def test_an_index_that_finds_everything_has_a_recall_of_1_with_an_interval(distance: Distance) -> None:
    """The interval says how few queries there were."""
    found = recall(Indexed(distance, ()))
    assert (found.queries, found.value, found.high) == (40, 1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 40))


@pytest.mark.parametrize("distance", Distance)
def test_an_index_that_misses_points_has_a_lower_recall(distance: Distance) -> None:
    """Half of the points are never found: the upper end of the interval is below what is accepted."""
    found = recall(Indexed(distance, range(20)))
    assert 0.3 < found.value < 0.7
    assert found.low < found.value < found.high < FLOOR


def test_a_collection_without_an_index_has_no_recall() -> None:
    """Every search is exact then."""
    assert recall(Indexed(Distance.COSINE, (), covered=0)) is None
