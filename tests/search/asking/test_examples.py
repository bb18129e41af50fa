"""Several examples become one vector, by hand-worked cases."""

import numpy as np
import pytest
from lookalike_core.stores.collection_manifest import Distance
from lookalike_search.asking.examples import combine


def vector(*values: float) -> np.ndarray:
    """Returns a float32 vector."""
    return np.array(values, dtype=np.float32)


def test_a_single_example_is_searched_with_unchanged() -> None:
    """Its vector is equal bit by bit."""
    one = vector(3, 4e-3, 1 / 3)
    assert combine([one], [], Distance.COSINE) is one


def test_for_cosine_examples_are_normalised_before_the_mean() -> None:
    """(3, 0) and (0, 5) are (1, 0) and (0, 1); their mean is (1/2, 1/2)."""
    mean = combine([vector(3, 0), vector(0, 5)], [], Distance.COSINE)
    assert mean == pytest.approx([0.5, 0.5])


def test_for_euclid_examples_are_not_normalised() -> None:
    """The mean is that of (3, 0) and (0, 5)."""
    assert combine([vector(3, 0), vector(0, 5)], [], Distance.EUCLID) == pytest.approx([1.5, 2.5])


def test_negatives_push_away_as_qdrants_recommendation_does() -> None:
    """The vector is avg(positives) + avg(positives) - avg(negatives)."""
    positives, negatives = [vector(2, 0), vector(4, 2)], [vector(1, 1), vector(1, 3)]
    assert combine(positives, negatives, Distance.EUCLID) == pytest.approx([6 - 1, 2 - 2])
    pushed = combine([vector(7, 0)], [vector(0, 9)], Distance.COSINE)
    assert pushed == pytest.approx([2, -1])


def test_qdrant_itself_recommends_the_same() -> None:
    """The client's own engine, with the average-vector strategy, gives the same scores."""
    from qdrant_client import QdrantClient, models

    random = np.random.default_rng(3)
    rows = random.normal(size=(30, 8)).astype(np.float32)
    client = QdrantClient(":memory:")
    client.create_collection("c", models.VectorParams(size=8, distance=models.Distance.EUCLID))
    client.upsert("c", [models.PointStruct(id=i, vector=row.tolist()) for i, row in enumerate(rows)])
    recommended = models.RecommendInput(
        positive=[0, 1, 2], negative=[3, 4], strategy=models.RecommendStrategy.AVERAGE_VECTOR
    )
    theirs = client.query_points("c", query=models.RecommendQuery(recommend=recommended), limit=30).points
    one = combine(list(rows[:3]), list(rows[3:5]), Distance.EUCLID)
    for point in theirs:
        assert point.score == pytest.approx(np.linalg.norm(rows[int(point.id)] - one), rel=1e-5)
    client.close()


@pytest.mark.parametrize(
    ("positives", "negatives"),
    [
        ([vector(1, 0), vector(-1, 0)], []),
        ([vector(1e-20, 0), vector(-7, 0)], []),
        ([vector(1, 1), vector(0.3, 0.3)], [vector(5, 5)] * 2),
    ],
    ids=["opposite", "opposite-of-other-lengths", "not-zero"],
)
def test_examples_that_cancel_each_other_out_leave_nothing(
    positives: list[np.ndarray], negatives: list[np.ndarray]
) -> None:
    """This holds up to rounding; 2 x - x is still x."""
    one = combine(positives, negatives, Distance.COSINE)
    if negatives:
        assert one == pytest.approx([0.5**0.5, 0.5**0.5])
    else:
        assert one is None


def test_euclidean_examples_cancel_out_by_their_lengths() -> None:
    """Twice a vector less its double is zero, since vectors are not normalised."""
    assert combine([vector(1, 3)], [vector(2, 6)], Distance.EUCLID) is None
    assert combine([vector(1e4, 0.1), vector(-1e4, -0.1)], [], Distance.EUCLID) is None
