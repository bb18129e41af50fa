"""Candidates for near-duplicates, and their connected components."""

import numpy as np
import pytest
from lookalike_core.neighbours.brute_force import Nearest
from lookalike_search.analysis.copy_candidates import Candidates, is_resized


def found(row: int, **scores: float) -> Nearest:
    """Returns the near rows of a row: `found(1, r2=0.97)`."""
    rows = np.array([int(name[1:]) for name in scores], dtype=np.int64)
    return Nearest(row=row, rows=rows, scores=np.array(list(scores.values()), dtype=np.float32))


def test_candidates_are_the_near_rows_before_each() -> None:
    """Candidates come with their similarity; the row itself and the rows after it are ignored."""
    near = Candidates(4)
    for each in (found(0, r2=0.97, r3=0.96), found(2, r0=0.97, r2=1.0, r3=0.99), found(3)):
        near.add(each)
    assert [sorted(near.before(row).tolist()) for row in range(4)] == [[], [], [0], [0, 2]]
    assert near.similarity(3, 2) == pytest.approx(0.99)
    assert near.similarity(3, 0) == pytest.approx(0.96)


def test_the_nearest_of_too_many_candidates_are_kept() -> None:
    """The order in which candidates are added does not matter."""
    near = Candidates(6, most=2)
    for row, score in enumerate((0.96, 0.99, 0.95, 0.98, 0.97)):
        near.add(found(row, r5=score))
    assert sorted(near.before(5).tolist()) == [1, 3]


def test_clusters_are_connected_components() -> None:
    """Clusters are in the order of their rows; a row without neighbours is in none."""
    near = Candidates(7)
    for each in (found(0, r4=0.97), found(4, r6=0.97), found(1, r3=0.97)):
        near.add(each)
    assert [rows.tolist() for rows in near.clusters()] == [[0, 4, 6], [1, 3]]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_without_neighbours_there_are_no_clusters(count: int) -> None:
    """A row that is alone forms no cluster, and no rows form none."""
    assert list(Candidates(count).clusters()) == []


def test_one_image_in_two_sizes_has_the_same_proportions() -> None:
    """Each side may be off by one pixel; an image of the same size is not a resized one."""
    sizes = np.array([(400, 300), (200, 150), (133, 100), (200, 160), (400, 300), (300, 400)])
    others = np.arange(1, len(sizes))
    assert is_resized(0, others, sizes).tolist() == [True, True, False, False, False]
