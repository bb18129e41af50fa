"""Star clustering, on examples worked by hand."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest
from lookalike_core.neighbours.brute_force import IntVector, Nearest
from lookalike_search.analysis.star_clustering import find_stars

Pairs = Mapping[tuple[int, int], float]


def near(pairs: Pairs) -> Callable[[IntVector], Iterator[Nearest]]:
    """Returns a search of near rows by a table, in both directions."""

    def look(rows: IntVector) -> Iterator[Nearest]:
        for row in rows.tolist():
            found = {b if a == row else a: score for (a, b), score in pairs.items() if row in (a, b)}
            yield Nearest(
                row=row,
                rows=np.array(list(found), dtype=np.int64),
                scores=np.array(list(found.values()), dtype=np.float32),
            )

    return look


def belongs(count: int, pairs: Pairs, *, block: int = 100) -> list[int]:
    """Returns the centre of each row."""
    blocks = (np.arange(start, min(start + block, count)) for start in range(0, count, block))
    return find_stars(count, blocks, near(pairs))[0].tolist()


@pytest.mark.parametrize("block", [1, 2, 100])
@pytest.mark.parametrize(
    ("count", "pairs", "expected"),
    [
        pytest.param(3, {}, [0, 1, 2], id="none-alike"),
        pytest.param(3, {(0, 2): 0.99}, [0, 1, 0], id="a-pair"),
        pytest.param(
            4, {(0, 1): 1, (0, 2): 1, (0, 3): 1, (1, 2): 1, (1, 3): 1, (2, 3): 1}, [0] * 4, id="all"
        ),
        # 2 is like 1, and 1 like 0: without 1 there would be nothing like 2
        pytest.param(3, {(0, 1): 0.99, (1, 2): 0.99}, [0, 0, 2], id="chain"),
        pytest.param(
            5, {(0, 1): 0.99, (1, 2): 0.99, (2, 3): 0.99, (3, 4): 0.99}, [0, 0, 2, 2, 4], id="long-chain"
        ),
        # 1 stands between 0 and 2, and there is nothing better than either
        pytest.param(3, {(0, 2): 0.99, (1, 2): 0.999}, [0, 1, 1], id="with-the-most-similar"),
        pytest.param(3, {(0, 2): 0.999, (1, 2): 0.99}, [0, 1, 0], id="and-stays-there"),
        pytest.param(3, {(0, 2): 0.99, (1, 2): 0.99}, [0, 1, 0], id="of-equals-with-the-better"),
    ],
)
def test_each_row_belongs_to_the_nearest_earlier_centre(
    count: int, pairs: Pairs, expected: list[int], block: int
) -> None:
    """The result does not depend on the size of blocks."""
    assert belongs(count, pairs, block=block) == expected


def test_every_member_is_near_its_own_centre() -> None:
    """On random similarities, no centre is near an earlier centre, and others belong to the nearest one."""
    random = np.random.default_rng(2)
    pairs = {
        (a, b): float(random.uniform(0.99, 1))
        for a in range(60)
        for b in range(a + 1, 60)
        if random.random() < 0.1
    }
    blocks = (np.arange(start, start + 20) for start in range(0, 60, 20))
    done: list[int] = []
    kept_of, similarity = find_stars(60, blocks, near(pairs), done.append)
    assert sum(done) == 60
    kept = {row for row in range(60) if kept_of[row] == row}
    for row in range(60):
        better = {k: pairs[k, row] for k in kept if (k, row) in pairs}
        if row in kept:
            assert not better
            assert similarity[row] == 1
        else:
            assert kept_of[row] == max(better, key=lambda k: better[k])
            assert similarity[row] == pytest.approx(better[kept_of[row]], abs=1e-6)


def test_a_row_without_known_neighbours_is_a_centre() -> None:
    """Its point was deleted while the collection was read."""
    kept_of, similarity = find_stars(2, iter([np.arange(2)]), lambda _: [])
    assert kept_of.tolist() == [0, 1]
    assert similarity.tolist() == [1, 1]
