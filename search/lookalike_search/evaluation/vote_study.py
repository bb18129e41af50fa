"""Studies the votes: how often each rule is right, by the number of voters and by noise on the queries. Pure.

After Singh, Haddon, Markou, "Nearest-neighbour classifiers in natural scene analysis", Pattern Recognition
34(8), 2001, which asks for growing k and for test images with noise.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product

import numpy as np
from lookalike_core.neighbours.vote import VoteRule
from numpy.typing import NDArray

from lookalike_search.evaluation.bootstrap import Estimate, estimate
from lookalike_search.evaluation.comparisons import compare_pairs, is_certain
from lookalike_search.evaluation.labelled_vectors import FloatMatrix, IntVector
from lookalike_search.evaluation.leave_one_out import SHOWN, Ballot, find_verdicts
from lookalike_search.evaluation.similarity_blocks import Block, nearest_rows

SAMPLE = 200
"""Images that are embedded again at each level of noise, unless another number is given."""


class StudiedRule(StrEnum):
    """The rules of a vote that are studied: those of queries, and one that asks all classes."""

    MAJORITY = VoteRule.MAJORITY
    """As in queries."""
    NEARER_TIES = VoteRule.NEARER_TIES
    """As in queries."""
    NEAREST_CLASS = VoteRule.NEAREST_CLASS
    """As in queries: it asks only the classes among the k voters."""
    NEAREST_OF_ALL = "nearest-of-all"
    """The class, of all classes, whose own k nearest images are nearest on average."""
    WEIGHTED = VoteRule.WEIGHTED
    """As in queries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """The `ks`, numbers of voters, and the levels of `noise` to study, both ascending; no level is no noise.

    A level is the standard deviation of Gaussian noise on pixels of 0 to 255. `sample` is the number of
    images that are embedded again at each level.
    """

    ks: Sequence[int]
    noise: Sequence[float] = ()
    sample: int = SAMPLE


def plan_study(
    ks: Sequence[int], noise: Sequence[float] = (), sample: int = SAMPLE
) -> tuple[int, StudyOptions | None]:
    """Returns the number of voters of all other figures, and what is studied: None for one k and no noise.

    Of several k it is the default, `SHOWN`. Noise includes the level 0, which the others are compared with.
    """
    each = sorted(set(ks))
    if len(each) == 1 and not noise:
        return each[0], None
    levels = sorted({0.0, *map(float, noise)}) if noise else []
    return each[0] if len(each) == 1 else SHOWN, StudyOptions(ks=each, noise=levels, sample=sample)


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """The votes of Q queries with one number of voters.

    `verdicts` holds for each rule the class that won, int64 `[Q]`, -1 where none did; `tied` bool `[Q]` says
    where several classes have the most voters.
    """

    verdicts: Mapping[StudiedRule, IntVector]
    tied: NDArray[np.bool_]


class VoteCounter:
    """Counts the votes of queries for several numbers of voters, from blocks of their similarities."""

    def __init__(self, ballot: Ballot, ks: Sequence[int]) -> None:
        self._ballots = [replace(ballot, k=k) for k in ks]
        self._of_class = [np.flatnonzero(ballot.classes == number) for number in range(len(ballot.names))]
        self._parts: list[list[Votes]] = []

    def add(self, block: Block) -> None:
        """Counts the votes of a block's queries."""
        found, values = nearest_rows(block.similarity, max(ballot.k for ballot in self._ballots))
        of_all = self._nearest_of_all(block.similarity)
        part = []
        for ballot, nearest in zip(self._ballots, of_all, strict=True):
            each = [
                find_verdicts(ballot, *query) for query in zip(found, values, block.similarity, strict=True)
            ]
            verdicts = {
                StudiedRule(rule): np.array([one[rule][0] for one in each], dtype=np.int64)
                for rule in VoteRule
            }
            verdicts[StudiedRule.NEAREST_OF_ALL] = nearest
            tied = np.array([_is_tied(ballot.classes[rows[rows >= 0][: ballot.k]]) for rows in found])
            part.append(Votes(verdicts={rule: verdicts[rule] for rule in StudiedRule}, tied=tied))
        self._parts.append(part)

    def votes(self) -> dict[int, Votes]:
        """Returns the votes of all queries so far, in their order, by the number of voters."""
        return {
            ballot.k: Votes(
                verdicts={
                    rule: np.concatenate([part.verdicts[rule] for part in parts]) for rule in StudiedRule
                },
                tied=np.concatenate([part.tied for part in parts]),
            )
            for ballot, *parts in zip(self._ballots, *self._parts, strict=True)
        }

    def _nearest_of_all(self, similarity: FloatMatrix) -> list[IntVector]:
        """Returns the nearest of all classes for each number of voters, int64 `[B]`; -1 where there is none.

        Of classes that are equally near it is the first by name, as in `vote`.
        """
        means = np.full((len(self._ballots), len(similarity), len(self._of_class)), -np.inf)
        for number, own in enumerate(self._of_class):
            _, nearest = nearest_rows(similarity[:, own], min(len(own), max(b.k for b in self._ballots)))
            there = np.isfinite(nearest)
            sums, counts = (
                np.where(there, nearest, 0.0).cumsum(axis=1, dtype=np.float64),
                there.cumsum(axis=1),
            )
            for row, ballot in enumerate(self._ballots):
                last = min(ballot.k, len(own)) - 1
                with np.errstate(invalid="ignore", divide="ignore"):
                    mean = sums[:, last] / counts[:, last]
                means[row, :, number] = np.where(counts[:, last] > 0, mean, -np.inf)
        best = means.max(axis=2)
        return list(np.where(np.isfinite(best), means.argmax(axis=2), -1))


def _is_tied(classes: IntVector) -> bool:
    """Returns whether several classes have the most of some voters."""
    counts = np.sort(np.unique(classes, return_counts=True)[1])
    return bool(len(counts) > 1 and counts[-1] == counts[-2])


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPart:
    """The votes of the same queries: `noise` on them, None for their stored vectors.

    `rows` int64 `[Q]` are the queries, and `votes` their verdicts by k. `right` says how far each is right: 0
    or 1, NaN for a query without another image of its class, float64 `[Q]` by k and rule; `accuracy` is its
    mean. `tied` is the share of queries with several classes that have the most voters.
    """

    noise: float | None
    rows: IntVector
    votes: Mapping[int, Votes]
    right: Mapping[int, Mapping[StudiedRule, NDArray[np.float64]]]
    accuracy: Mapping[int, Mapping[StudiedRule, Estimate]]
    tied: Mapping[int, Estimate]


def measure_votes(
    votes: Mapping[int, Votes],
    rows: IntVector,
    *,
    classes: IntVector,
    relevant: IntVector,
    noise: float | None = None,
    seed: int = 0,
) -> StudyPart:
    """Returns how often votes are right: those of the queries `rows`, int64 `[Q]`.

    `classes` int64 `[N]` and `relevant` int64 `[N]`, how many others of their class each could find, are of
    all images.
    """
    countable, truth = relevant[rows] > 0, classes[rows]
    right = {
        k: {rule: np.where(countable, won == truth, np.nan) for rule, won in each.verdicts.items()}
        for k, each in votes.items()
    }
    return StudyPart(
        noise=noise,
        rows=rows,
        votes=votes,
        right=right,
        accuracy={
            k: {rule: estimate(values, seed=seed) for rule, values in each.items()}
            for k, each in right.items()
        },
        tied={k: estimate(np.where(countable, each.tied, np.nan), seed=seed) for k, each in votes.items()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteComparison:
    """How much more often the votes of `rule` are right, with `k` voters and `noise`, than others.

    The others are those of `against_rule` with `against_noise`, of the same k and queries. `p` is that of the
    sign-flip test, corrected (Holm) for all comparisons of the same kind in a study.
    """

    rule: StudiedRule
    k: int
    noise: float | None
    against_rule: StudiedRule
    against_noise: float | None
    difference: Estimate
    p: float

    @property
    def is_certain(self) -> bool:
        """Whether the interval excludes zero and the corrected p is below 5 %."""
        return is_certain(self.difference, self.p)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteStudy:
    """How often votes are right, by the number of voters and by noise on the queries.

    `stored` is about all images, by their stored vectors. `noisy` is about a sample of them that was embedded
    again at each level of noise, 0 first; it is empty without noise. `left_out` images were drawn and could
    not be embedded. `provider` is what embedded them, None without noise.

    `rules` compares each rule with the majority of the same k and queries, `levels` each level of noise with
    0 for the same rule and k.
    """

    stored: StudyPart
    noisy: Sequence[StudyPart]
    left_out: int
    provider: str | None
    rules: Sequence[VoteComparison]
    levels: Sequence[VoteComparison]

    @property
    def parts(self) -> Sequence[StudyPart]:
        """The stored vectors and each level of noise."""
        return [self.stored, *self.noisy]

    @property
    def ks(self) -> Sequence[int]:
        """The numbers of voters, ascending."""
        return list(self.stored.votes)


def make_study(
    stored: StudyPart,
    noisy: Sequence[StudyPart] = (),
    *,
    left_out: int = 0,
    provider: str | None = None,
    seed: int = 0,
) -> VoteStudy:
    """Returns a study with its comparisons; `noisy` parts are of the same queries, without noise first."""
    return VoteStudy(
        stored=stored,
        noisy=noisy,
        left_out=left_out,
        provider=provider,
        rules=_compare(_rule_pairs([stored, *noisy]), seed),
        levels=_compare(_level_pairs(noisy), seed),
    )


_Side = tuple[StudyPart, StudiedRule]
_Pair = tuple[int, _Side, _Side]
"""The number of voters, and the parts and rules that are compared."""


def _rule_pairs(parts: Sequence[StudyPart]) -> Iterator[_Pair]:
    """Yields each rule and the majority; those of one voter agree."""
    others = [rule for rule in StudiedRule if rule is not StudiedRule.MAJORITY]
    for part, k, rule in product(parts, parts[0].votes, others):
        if k > 1:
            yield k, (part, rule), (part, StudiedRule.MAJORITY)


def _level_pairs(noisy: Sequence[StudyPart]) -> Iterator[_Pair]:
    """Yields each level of noise and the one without noise; one voter gives one verdict for all rules."""
    for part, k, rule in product(noisy[1:], noisy[0].votes if noisy else (), StudiedRule):
        if k > 1 or rule is StudiedRule.MAJORITY:
            yield k, (part, rule), (noisy[0], rule)


def _compare(pairs: Iterator[_Pair], seed: int) -> list[VoteComparison]:
    asked = list(pairs)
    values = [
        (one.right[k][one_rule], other.right[k][other_rule])
        for k, (other, other_rule), (one, one_rule) in asked
    ]
    return [
        VoteComparison(
            rule=rule,
            k=k,
            noise=part.noise,
            against_rule=other_rule,
            against_noise=other.noise,
            difference=difference,
            p=p,
        )
        for (k, (part, rule), (other, other_rule)), (difference, p) in zip(
            asked, compare_pairs(values, seed=seed), strict=True
        )
    ]
