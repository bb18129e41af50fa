"""Leave-one-out evaluation: every image of a collection is a query for the others of its class. Pure.

An image is never its own neighbour, nor is one with the same bytes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.neighbours.precision import average_precision
from lookalike_core.neighbours.rank_fusion import FusionRule, vote_unit
from lookalike_core.neighbours.vote import VoteRule, vote
from numpy.typing import NDArray

from lookalike_search.evaluation.labelled_vectors import FloatMatrix, IntVector, LabelledVectors
from lookalike_search.evaluation.similarity_blocks import Block, nearest_rows, ranked_blocks, spread_rows

CUTOFFS = (1, 5, 10)
SHOWN = max(CUTOFFS)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResults:
    """The results of N queries, one row or value each.

    `neighbours` int64 `[N, depth]` are the rows of the nearest, best first, `scores` float `[N, depth]` their
    cosine similarities or Euclidean distances; -1 and NaN for missing ones.
    `verdicts` holds for each rule of the vote the class that won, int64 `[N]`, -1 where none did, `shares`
    its share of the vote, float64 `[N]`, NaN there.
    `nearest_impostors` float `[N]` are the scores of the nearest of other classes, NaN where there is none.
    `relevant` int64 `[N]` says how many others of its class each could find: 0 for the only image of a
    class, whose `average_precision` float64 `[N]` is NaN. `near_identical` int64 `[N]` says how many
    near-duplicates each has.

    Images that were no queries have a `relevant` of -1, and no neighbours and verdicts.
    """

    neighbours: IntVector
    scores: FloatMatrix
    relevant: IntVector
    average_precision: NDArray[np.float64]
    near_identical: IntVector
    nearest_impostors: NDArray[np.floating]
    verdicts: Mapping[VoteRule, IntVector]
    shares: Mapping[VoteRule, NDArray[np.float64]]

    @property
    def queries(self) -> IntVector:
        """The rows that were queries, ascending, int64 `[Q]`."""
        return np.flatnonzero(self.relevant >= 0)


def draw_queries(count: int, most: int | None, *, seed: int) -> IntVector:
    """Returns the rows of a random sample of `most` of `count` images, ascending; all if it is None."""
    if most is None or most >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def leave_one_out(
    *networks: LabelledVectors,
    rule: FusionRule = FusionRule.RRF,
    k: int = SHOWN,
    depth: int = SHOWN,
    near_above: float = NEAR_ABOVE,
    without_near: bool = False,
    near_in: Sequence[LabelledVectors] = (),
    queries: int | None = None,
    seed: int = 0,
    on_block: Callable[[Block], None] = lambda _: None,
    on_done: Callable[[int], None] = lambda _: None,
) -> QueryResults:
    """Returns each image's `depth` nearest by brute force, and the verdicts of its `k` nearest.

    One network ranks by its own similarity. Several, of the same images in the same order, are fused by
    `rule`:

    - `scores` are then fused similarities. Average precision is over the whole ranking: the candidates, which
      are the 100 nearest of each network, and behind them the rest by standardised similarity.
    - Chances (`CALIBRATED`) are learned from other queries than those they are applied to: those of one
      random half, drawn by `seed` and with copies together, serve the other.
    - The votes take the scores times `vote_unit`, which the weighted rule alone notices. The
      nearest of a class are those of the whole fused ranking; one that is no candidate is farther from the
      query, by 1 at least, than all candidates are: what counts first is how many of a class' own k are.

    Images whose cosine similarity is over `near_above`, whatever the distance, are near-duplicates: the same
    photo at another size, as a rule. Those in one of the networks, or in one of the further ones `near_in`,
    are so in all; they are counted, and left out with `without_near`.

    With `queries` a random sample of so many images, drawn by `seed`, are queries among all: all of them take
    time that grows with the square of their number.

    `on_block` is called with each block of similarities, so that more can be computed in the same pass.
    `on_done` is called with the number of further queries that are done; over all passes (see `count_passes`)
    each query counts once a pass.

    Raises:
        UsageError: there are too few different images to learn a calibration from.
    """
    ballot = Ballot.of(*networks, rule=rule, k=k)
    count, parts = len(ballot.classes), []
    rows = draw_queries(count, queries, seed=seed)
    for block in ranked_blocks(
        networks,
        rule,
        near_above=near_above,
        without_near=without_near,
        near_in=near_in,
        queries=rows,
        seed=seed,
        on_done=on_done,
    ):
        parts.append(_evaluate_block(block, ballot, depth))
        on_block(block)
        on_done(len(block.rows))

    def join(found: Iterable[NDArray[Any]], missing: float) -> NDArray[Any]:
        return spread_rows(np.concatenate(list(found)), rows, count, missing=missing)

    return QueryResults(
        neighbours=join((part.neighbours for part in parts), -1),
        scores=join((part.scores for part in parts), np.nan),
        relevant=join((part.relevant for part in parts), -1),
        average_precision=join((part.average_precision for part in parts), np.nan),
        near_identical=join((part.near_identical for part in parts), 0),
        nearest_impostors=join((part.nearest_impostors for part in parts), np.nan),
        verdicts={rule: join((part.verdicts[rule] for part in parts), -1) for rule in VoteRule},
        shares={rule: join((part.shares[rule] for part in parts), np.nan) for rule in VoteRule},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """The vote of every query's neighbours: `k` of them, by scores times `unit`.

    `classes` int64 `[N]` are those of the images; they index into `names`, as `numbers` says.
    """

    classes: IntVector
    names: Sequence[str]
    numbers: Mapping[str, int]
    k: int
    higher_is_nearer: bool
    unit: float

    @classmethod
    def of(cls, *networks: LabelledVectors, rule: FusionRule = FusionRule.RRF, k: int = SHOWN) -> "Ballot":
        """Returns the vote among the images of one network, or of several that are fused by `rule`."""
        images, is_fused = networks[0], len(networks) > 1
        return cls(
            classes=images.classes,
            names=images.names,
            numbers={name: number for number, name in enumerate(images.names)},
            k=k,
            higher_is_nearer=is_fused or images.higher_is_nearer,
            unit=vote_unit(rule, networks=len(networks)) if is_fused else 1.0,
        )


def _evaluate_block(block: Block, ballot: Ballot, depth: int) -> QueryResults:
    neighbours, values = nearest_rows(block.similarity, max(depth, ballot.k))
    sign = 1 if ballot.higher_is_nearer else -1
    verdicts = [
        find_verdicts(ballot, found, near, row)
        for found, near, row in zip(neighbours, values, block.similarity, strict=True)
    ]
    same = ballot.classes[block.rows, np.newaxis] == ballot.classes
    impostors = np.where(same, -np.inf, block.similarity).max(axis=1)
    return QueryResults(
        neighbours=neighbours[:, :depth],
        scores=sign * values[:, :depth],
        relevant=(same & np.isfinite(block.similarity)).sum(axis=1),
        average_precision=average_precision(block.similarity, same),
        near_identical=block.near.sum(axis=1),
        nearest_impostors=sign * np.where(np.isfinite(impostors), impostors, np.nan),
        verdicts={rule: np.array([each[rule][0] for each in verdicts]) for rule in VoteRule},
        shares={rule: np.array([each[rule][1] for each in verdicts]) for rule in VoteRule},
    )


def find_verdicts(
    ballot: Ballot, found: IntVector, values: FloatMatrix, similarity: FloatMatrix
) -> dict[VoteRule, tuple[int, float]]:
    """Returns each rule's verdict on one query: the class's number and its share, -1 and NaN for none."""
    found, values = found[found >= 0][: ballot.k], values[found >= 0][: ballot.k]
    unit = ballot.unit if ballot.higher_is_nearer else -ballot.unit
    verdicts = {}
    for rule in VoteRule:
        rows, near = found, values
        if rule is VoteRule.NEAREST_CLASS:
            rows, near = _nearest_of_classes(ballot, sorted(set(ballot.classes[found].tolist())), similarity)
        verdict = vote(
            [ballot.names[number] for number in ballot.classes[rows]],
            unit * near,
            rule=rule,
            k=ballot.k,
            higher_is_nearer=ballot.higher_is_nearer,
        )
        verdicts[rule] = (
            (ballot.numbers[verdict.class_name], verdict.share) if verdict else (-1, float("nan"))
        )
    return verdicts


def _nearest_of_classes(
    ballot: Ballot, classes: Sequence[int], similarity: FloatMatrix
) -> tuple[IntVector, FloatMatrix]:
    """Returns the k nearest of each of these classes, rows and similarities together best first."""
    parts = [np.empty(0, dtype=np.int64)]
    for number in classes:
        own = np.flatnonzero((ballot.classes == number) & np.isfinite(similarity))
        parts.append(own[np.argsort(-similarity[own], kind="stable")[: ballot.k]])
    rows = np.concatenate(parts)
    rows = rows[np.argsort(-similarity[rows], kind="stable")]
    return rows, similarity[rows]


def right_of(neighbours: IntVector, classes: IntVector) -> NDArray[np.bool_]:
    """Returns which of the neighbours int64 `[N, depth]` have their query's class, bool `[N, depth]`.

    A missing neighbour, -1, counts as wrong.
    """
    return np.asarray((classes[neighbours] == classes[:, np.newaxis]) & (neighbours >= 0))


def keep_countable(results: QueryResults) -> IntVector:
    """Returns the first neighbours of each query that could all be right, int64 `[N, depth]`; -1 for others.

    Later ones are of other classes even in a perfect ranking, and so are no confusion.
    """
    places = np.arange(results.neighbours.shape[1])
    return np.where(places < results.relevant[:, np.newaxis], results.neighbours, -1)


def confusion(found: IntVector, classes: IntVector, *, count: int) -> NDArray[np.int64]:
    """Counts the neighbours of class j of queries of class i, int64 `[count, count]`.

    `found` int64 `[N, depth]` are rows, -1 for missing neighbours.
    """
    table = np.zeros((count, count), dtype=np.int64)
    queries = np.broadcast_to(classes[:, np.newaxis], found.shape)
    there = found >= 0
    np.add.at(table, (queries[there], classes[found[there]]), 1)
    return table
