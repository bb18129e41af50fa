"""Evaluations of fused rankings, against plain loops and scikit-learn; the images that they share."""

import math
import operator
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from lookalike_core.errors import UsageError
from lookalike_core.neighbours.rank_fusion import CANDIDATES, FusionRule
from lookalike_core.neighbours.vote import VoteRule, vote
from lookalike_search.evaluation.isotonic import draw_half
from lookalike_search.evaluation.labelled_vectors import LabelledImages, LabelledVectors, shared_images
from lookalike_search.evaluation.leave_one_out import leave_one_out
from lookalike_search.evaluation.similarity_blocks import count_passes
from lookalike_search.evaluation.summary import values_of
from made_collections import payload_of
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import average_precision_score

TOLERANCE = 1e-9
COUNT, CLASSES = 240, 5
"""More images than two networks' hundred nearest, so that some are no candidates."""


def two_networks(*, cosine: bool, seed: int = 0) -> list[LabelledVectors]:
    """Makes embeddings of the same images by two networks: clouds of other widths in other spaces."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, COUNT)
    copies = np.arange(COUNT)
    copies[1::70] = copies[::70]
    networks = []
    for dimension, noise in ((24, 1.0), (8, 0.6)):
        centres = np.abs(random.normal(size=(CLASSES, dimension)))
        vectors = centres[labels] + noise * np.abs(random.normal(size=(COUNT, dimension)))
        networks.append(
            LabelledVectors(
                vectors=vectors,
                classes=labels,
                copies=copies,
                names=[f"class {number}" for number in range(CLASSES)],
                higher_is_nearer=cosine,
            )
        )
    return networks


def nearness(network: LabelledVectors, query: int) -> dict[int, float]:
    """Computes how near all others but copies are to a query, one by one."""
    one, near = network.vectors[query], {}
    for row, other in enumerate(network.vectors):
        if network.copies[row] == network.copies[query]:
            continue
        if network.higher_is_nearer:
            near[row] = math.fsum(map(operator.mul, one, other)) / (math.hypot(*one) * math.hypot(*other))
        else:
            near[row] = -math.dist(one, other)
    return near


def chance_of_all(
    networks: Sequence[LabelledVectors], tables: Sequence[Sequence[dict[int, float]]]
) -> list[list[IsotonicRegression]]:
    """Fits curves for each half of the queries and each network to the other half's hundred nearest.

    They leave out pairs that the measured half has from the other end, and add a wrong case at the highest
    value and a right one at the lowest.
    """
    half = draw_half(networks[0].copies, seed=0)
    taught: list[list[IsotonicRegression]] = [[], []]
    for network, table in zip(networks, tables, strict=True):
        found = [sorted(near, key=lambda row, near=near: -near[row])[:CANDIDATES] for near in table]
        for number, measured in enumerate((half, ~half)):
            values, right = [], []
            for query in np.flatnonzero(~measured):
                for row in found[query]:
                    if measured[row] and query in found[row]:
                        continue
                    values.append(table[query][row])
                    right.append(network.classes[row] == network.classes[query])
            values += [max(values), min(values)]
            curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
            taught[number].append(curve.fit(values, [*right, False, True]))
    return taught


def by_hand(
    networks: Sequence[LabelledVectors], rule: FusionRule
) -> list[tuple[list[int], dict[int, float]]]:
    """Computes each query's fused ranking and its candidates' scores by plain loops."""
    half = draw_half(networks[0].copies, seed=0)
    tables = [[nearness(network, query) for query in range(COUNT)] for network in networks]
    taught = chance_of_all(networks, tables) if rule is FusionRule.CALIBRATED else []
    answers = []
    for query in range(COUNT):
        near = [table[query] for table in tables]
        ranks = [
            {row: rank for rank, row in enumerate(sorted(each, key=lambda row: -each[row]), start=1)}
            for each in near
        ]
        candidates = {row for each in ranks for row, rank in each.items() if rank <= CANDIDATES}
        z: dict[int, float] = dict.fromkeys(near[0], 0.0)
        for each, rank in zip(near, ranks, strict=True):
            values = [each[row] for row in rank if rank[row] <= CANDIDATES]
            mean = math.fsum(values) / len(values)
            deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
            for row in z:
                z[row] += (each[row] - mean) / deviation / 2
        match rule:
            case FusionRule.RRF:
                score = {
                    row: sum(1 / (60 + each[row]) for each in ranks if each[row] <= CANDIDATES)
                    for row in candidates
                }
            case FusionRule.ZSCORE:
                score = {row: z[row] for row in candidates}
            case FusionRule.CALIBRATED:
                pairs = zip(taught[0 if half[query] else 1], near, strict=True)
                chances = [curve.predict([each[row] for row in candidates]) for curve, each in pairs]
                score = dict(zip(candidates, np.mean(chances, axis=0), strict=True))
        # Scores of candidates that differ by nothing but rounding are ties, which z-scores undo.
        ranking = sorted(candidates, key=lambda row: (-round(score[row], 12), -z[row]))
        ranking += sorted(near[0].keys() - candidates, key=lambda row: -z[row])
        answers.append((ranking, score))
    return answers


@pytest.mark.slow  # counts every figure in plain Python
@pytest.mark.parametrize(
    ("cosine", "rule"),
    [
        (True, FusionRule.RRF),
        (False, FusionRule.RRF),
        (True, FusionRule.ZSCORE),
        (False, FusionRule.ZSCORE),
        (False, FusionRule.CALIBRATED),
    ],
)
def test_figures_of_a_fused_ranking_equal_plain_loops(cosine: bool, rule: FusionRule) -> None:
    """Precision, scikit-learn's average precision, scores and votes are compared."""
    networks = two_networks(cosine=cosine)
    results = leave_one_out(*networks, rule=rule)
    classes = networks[0].classes
    expected = by_hand(networks, rule)
    for cutoff in (1, 5, 10):
        right = [
            sum(classes[row] == classes[query] for row in ranking[:cutoff]) / cutoff
            for query, (ranking, _) in enumerate(expected)
        ]
        found = values_of(results, classes)[f"precision_at_{cutoff}"]
        np.testing.assert_allclose(found, right, atol=TOLERANCE)
    precision = [
        average_precision_score(classes[ranking] == classes[query], -np.arange(len(ranking)))
        for query, (ranking, _) in enumerate(expected)
    ]
    np.testing.assert_allclose(results.average_precision, precision, atol=TOLERANCE)
    unit = {FusionRule.RRF: 61 / 2, FusionRule.ZSCORE: 0.07, FusionRule.CALIBRATED: 1.0}[rule]
    for query, (ranking, score) in enumerate(expected):
        ten = ranking[:10]
        np.testing.assert_allclose(results.scores[query], [score[row] for row in ten], atol=3e-9)
        for vote_rule in (VoteRule.MAJORITY, VoteRule.NEARER_TIES, VoteRule.WEIGHTED):
            verdict = vote(
                [str(classes[row]) for row in ten],
                [unit * score[row] for row in ten],
                rule=vote_rule,
                k=10,
                higher_is_nearer=True,
            )
            assert verdict is not None
            assert results.verdicts[vote_rule][query] == int(verdict.class_name), vote_rule


def test_nearest_class_vote_uses_the_whole_fused_ranking() -> None:
    """A class with fewer candidates among its k nearest is farther away."""
    networks = two_networks(cosine=True)
    results = leave_one_out(*networks, rule=FusionRule.RRF, k=10)
    classes = networks[0].classes
    for query, (ranking, score) in enumerate(by_hand(networks, FusionRule.RRF)):
        own: dict[int, list[int]] = {}
        for row in ranking:
            own.setdefault(int(classes[row]), []).append(row)
        asked = {int(classes[row]) for row in ranking[:10]}
        best = max(asked, key=lambda name: sum(score.get(row, -2.0) for row in own[name][:10]))
        assert results.verdicts[VoteRule.NEAREST_CLASS][query] == best


@pytest.mark.parametrize("rule", FusionRule)
def test_the_number_of_voters_changes_no_ranking(rule: FusionRule) -> None:
    """This holds even for more voters than a network has candidates."""
    networks = two_networks(cosine=True)
    few, many = (leave_one_out(*networks, rule=rule, k=k) for k in (10, 200))
    assert (few.neighbours == many.neighbours).all()
    assert (few.scores == many.scores).all()
    assert (few.average_precision == many.average_precision).all()


def test_near_duplicates_in_one_network_are_left_out_of_the_fusion() -> None:
    """Otherwise the fusion would find images that the network alone may not."""
    one, other = two_networks(cosine=True)
    vectors = one.vectors.copy()
    vectors[10] = 2 * vectors[11]
    networks = [replace(one, vectors=vectors), other]
    results = leave_one_out(*networks, rule=FusionRule.RRF, near_above=0.99999, without_near=True, k=300)
    assert results.near_identical[[10, 11]].tolist() == [1, 1]
    assert results.near_identical.sum() == 2
    assert 11 not in results.neighbours[10]
    kept = leave_one_out(*networks, rule=FusionRule.RRF, near_above=0.99999)
    assert kept.near_identical.sum() == 2
    assert 11 in kept.neighbours[10]


@pytest.mark.parametrize("rule", FusionRule)
def test_a_network_fused_with_itself_has_the_ranking_of_one(rule: FusionRule) -> None:
    """The whole ranking is equal, by every rule."""
    network, _ = two_networks(cosine=False)
    alone, together = leave_one_out(network), leave_one_out(network, network, rule=rule)
    assert (alone.neighbours == together.neighbours).all()
    np.testing.assert_allclose(alone.average_precision, together.average_precision, atol=TOLERANCE)


@pytest.mark.parametrize("rule", FusionRule)
def test_progress_counts_every_pass(rule: FusionRule) -> None:
    """It ends at the announced total."""
    told: list[int] = []
    networks = two_networks(cosine=True)
    leave_one_out(*networks, rule=rule, on_done=told.append)
    assert sum(told) == count_passes(2, rule) * COUNT


def test_a_collection_of_one_image_has_no_calibration() -> None:
    """All images have the same bytes, so that none has a neighbour."""
    networks = [replace(each, copies=np.zeros(COUNT, dtype=np.int64)) for each in two_networks(cosine=True)]
    with pytest.raises(UsageError, match="too few different images"):
        leave_one_out(*networks, rule=FusionRule.CALIBRATED)
    results = leave_one_out(*networks, rule=FusionRule.RRF)
    assert (results.neighbours == -1).all()


def images(*held: tuple[str, str, str], seed: int = 0) -> LabelledImages:
    """Makes labelled images of these paths, classes and hashes."""
    names = sorted({name for _, name, _ in held})
    hashes = sorted({content for *_, content in held})
    vectors = np.random.default_rng(seed).random((len(held), 3))
    return LabelledImages(
        vectors=LabelledVectors(
            vectors=vectors,
            classes=np.array([names.index(name) for _, name, _ in held]),
            copies=np.array([hashes.index(content) for *_, content in held]),
            names=names,
            higher_is_nearer=True,
        ),
        payloads=[payload_of(path, class_name=name, sha256=content) for path, name, content in held],
        unlabelled=0,
    )


def test_only_images_in_all_collections_are_fused() -> None:
    """They have the same bytes and class in each, and keep their vectors."""
    one = images(
        ("a.jpg", "ant", "1"), ("b.jpg", "bee", "2"), ("c.jpg", "cat", "3"), ("d.jpg", "dog", "4"), seed=1
    )
    other = images(
        ("b.jpg", "bee", "2"),
        ("c.jpg", "cat", "other bytes"),
        ("d.jpg", "dog", "4"),
        ("e.jpg", "ant", "5"),
        seed=2,
    )
    shared = shared_images([one, other])
    assert shared.only_in_some == 4, "a, e, and c twice"
    for part, whole, rows in zip(shared.networks, (one, other), ([1, 3], [0, 2]), strict=True):
        assert [payload.path for payload in part.payloads] == ["b.jpg", "d.jpg"]
        assert [part.vectors.names[number] for number in part.vectors.classes] == ["bee", "dog"]
        assert (part.vectors.vectors == whole.vectors.vectors[rows]).all()
    assert shared_images([one, one]).networks[0] is one
    with pytest.raises(UsageError, match="share 1 image"):
        shared_images([one, images(("a.jpg", "ant", "1"), ("z.jpg", "bee", "2"))])
