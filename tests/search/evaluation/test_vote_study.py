"""Studies of votes: the same figures as single evaluations, and laws of rules, noise and names."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from lookalike_search.evaluation.labelled_vectors import LabelledVectors
from lookalike_search.evaluation.leave_one_out import SHOWN, Ballot, leave_one_out
from lookalike_search.evaluation.similarity_blocks import Block, changed_blocks
from lookalike_search.evaluation.vote_study import (
    StudiedRule,
    StudyPart,
    VoteCounter,
    Votes,
    make_study,
    measure_votes,
    plan_study,
)

KS = (1, 3, 10, 25)
NEW_RULE = StudiedRule.NEAREST_OF_ALL


def clouds(count: int = 300, *, cosine: bool = True, classes: int = 6, seed: int = 0) -> LabelledVectors:
    """Makes clouds that overlap, with some exact duplicates; names are sorted."""
    random = np.random.default_rng(seed)
    centres = np.abs(random.normal(size=(classes, 16)))
    labels = random.integers(0, classes, count)
    copies = np.arange(count)
    copies[1::50] = copies[::50][: len(copies[1::50])]
    return LabelledVectors(
        vectors=centres[labels] + 2 * np.abs(random.normal(size=(count, 16))),
        classes=labels,
        copies=copies,
        names=[f"class {number}" for number in range(classes)],
        higher_is_nearer=cosine,
    )


def studied(*networks: LabelledVectors, ks: Sequence[int] = KS, **options: object) -> dict[int, Votes]:
    """Counts the votes of all images in one pass."""
    counter = VoteCounter(Ballot.of(*networks), ks)
    add: Callable[[Block], None] = counter.add
    leave_one_out(*networks, on_block=add, **options)  # type: ignore[arg-type]
    return counter.votes()


def part_of(images: LabelledVectors, *, noise: float | None = None, seed: int = 0) -> StudyPart:
    """Measures the votes of all images."""
    relevant = leave_one_out(images).relevant
    rows = np.arange(len(relevant))
    return measure_votes(
        studied(images), rows, classes=images.classes, relevant=relevant, noise=noise, seed=seed
    )


@pytest.mark.parametrize("cosine", [True, False])
def test_one_pass_gives_the_verdicts_of_an_evaluation_for_each_k(cosine: bool) -> None:
    """Each rule of queries has the same verdicts for each k, near-duplicates left out or not."""
    images = clouds(cosine=cosine)
    for options in ({}, {"without_near": True, "near_above": 0.9}):
        votes = studied(images, **options)
        assert list(votes) == list(KS)
        for k in KS:
            alone = leave_one_out(images, k=k, **options)  # type: ignore[arg-type]
            for rule in VoteRule:
                assert (votes[k].verdicts[StudiedRule(rule)] == alone.verdicts[rule]).all(), (k, rule)


def test_one_pass_gives_the_verdicts_of_a_fusion_for_each_k() -> None:
    """Fused rankings vote by the unit of their rule."""
    one, other = clouds(120), replace(clouds(120, seed=1), classes=clouds(120).classes)
    for rule in (FusionRule.RRF, FusionRule.ZSCORE):
        counter = VoteCounter(Ballot.of(one, other, rule=rule), KS)
        leave_one_out(one, other, rule=rule, on_block=counter.add)
        for k, votes in counter.votes().items():
            alone = leave_one_out(one, other, rule=rule, k=k)
            for vote in VoteRule:
                assert (votes.verdicts[StudiedRule(vote)] == alone.verdicts[vote]).all(), (rule, k, vote)


@pytest.mark.parametrize("cosine", [True, False])
def test_the_nearest_of_all_classes_has_the_nearest_mean(cosine: bool) -> None:
    """It is found by plain loops over all classes, each by its own k nearest or by all that it has."""
    images = clouds(80, cosine=cosine)
    vectors = images.vectors
    table = -np.linalg.norm(vectors[:, np.newaxis] - vectors, axis=2)
    if cosine:
        table = (vectors @ vectors.T) / np.outer(*[np.linalg.norm(vectors, axis=1)] * 2)
    for k, votes in studied(images).items():
        for query in range(len(vectors)):
            others = images.copies != images.copies[query]
            means = [
                np.mean(sorted(table[query, others & (images.classes == number)], reverse=True)[:k])
                for number in range(len(images.names))
            ]
            assert votes.verdicts[NEW_RULE][query] == int(np.argmax(means))


def test_the_nearest_class_differs_only_where_the_nearest_of_all_has_no_voter() -> None:
    """The restricted rule asks the voters' classes alone; where both could win, they agree."""
    images = clouds(400, classes=12)
    differ = 0
    for k, votes in studied(images, ks=(3, 10)).items():
        restricted, of_all = votes.verdicts[StudiedRule.NEAREST_CLASS], votes.verdicts[NEW_RULE]
        neighbours = leave_one_out(images, k=k).neighbours[:, :k]
        among = (images.classes[neighbours] == of_all[:, np.newaxis]).any(axis=1)
        assert (restricted[among] == of_all[among]).all()
        assert (restricted[~among] != of_all[~among]).all()
        differ += int((~among).sum())
    assert differ, "the rules part somewhere, or this shows nothing"


def test_ties_for_the_first_place_are_counted() -> None:
    """Two voters of different classes tie; three of which two agree do not."""
    images = LabelledVectors(
        vectors=np.array([[1.0, 0.0], [0.9, 0.1], [0.9, 0.2], [0.9, 0.3]]),
        classes=np.array([0, 0, 1, 1]),
        copies=np.arange(4),
        names=["a", "b"],
        higher_is_nearer=True,
    )
    votes = studied(images, ks=(1, 2, 3))
    assert not votes[1].tied.any()
    assert votes[2].tied.all()
    assert not votes[3].tied.any()


def test_names_of_classes_do_not_matter() -> None:
    """Renamed classes have the same verdicts; only a tied majority goes to the first class by name."""
    images = clouds(classes=7)
    turned = replace(images, classes=len(images.names) - 1 - images.classes)
    before, after = studied(images), studied(turned)
    changed = 0
    for k in KS:
        for rule, won in before[k].verdicts.items():
            is_same = len(images.names) - 1 - after[k].verdicts[rule] == won
            if rule is StudiedRule.MAJORITY:
                assert is_same[~before[k].tied].all()
                changed += int((~is_same).sum())
            else:
                assert is_same.all(), (k, rule)
    assert changed, "ties were there to be broken by name"


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("without_near", [True, False])
def test_unchanged_queries_have_the_votes_of_the_stored_images(cosine: bool, without_near: bool) -> None:
    """The stored vectors as their own changed versions leave the same out, in any order of the rows."""
    images = clouds(cosine=cosine)
    votes = studied(images, without_near=without_near, near_above=0.95)
    rows = np.random.default_rng(3).permutation(len(images.vectors))[:270]
    scale = 3.0 if cosine else 1.0  # the length of a vector does not matter to cosines
    counter = VoteCounter(Ballot.of(images), KS)
    for block in changed_blocks(
        images, rows, scale * images.vectors[rows], near_above=0.95, without_near=without_near
    ):
        counter.add(block)
    for k, changed in counter.votes().items():
        for rule in StudiedRule:
            assert (changed.verdicts[rule] == votes[k].verdicts[rule][rows]).all(), (k, rule)


def test_a_study_compares_rules_and_levels() -> None:
    """Each rule with the majority at the same k and noise, and each level with none."""
    images = clouds()
    blurred = replace(images, vectors=images.vectors + 3 * np.random.default_rng(1).random((300, 16)))
    stored, calm, noisy = part_of(images), part_of(images, noise=0.0), part_of(blurred, noise=20.0)
    study = make_study(stored, [calm, noisy])
    assert {(each.rule, each.k, each.noise) for each in study.rules} == {
        (rule, k, noise)
        for rule in StudiedRule
        for k in KS
        for noise in (None, 0.0, 20.0)
        if k > 1 and rule is not StudiedRule.MAJORITY
    }
    assert all(each.against_rule is StudiedRule.MAJORITY for each in study.rules)
    assert all((each.noise, each.against_noise) == (20.0, 0.0) for each in study.levels)
    assert sum(each.k == 1 for each in study.levels) == 1, "one voter gives one verdict"
    for each in study.levels:
        expected = noisy.accuracy[each.k][each.rule].value - calm.accuracy[each.k][each.rule].value
        assert each.difference.value == pytest.approx(expected)
    assert any(each.is_certain and each.difference.value < 0 for each in study.levels)
    assert make_study(stored).levels == []
    assert make_study(stored, [calm, noisy], seed=0).levels == study.levels


def test_an_image_alone_in_its_class_counts_nowhere() -> None:
    """Neither its verdict nor its tie is in a figure."""
    images = LabelledVectors(
        vectors=np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]),
        classes=np.array([0, 0, 1]),
        copies=np.arange(3),
        names=["a", "b"],
        higher_is_nearer=True,
    )
    part = part_of(images)
    assert np.isnan(part.right[1][StudiedRule.MAJORITY][2])
    assert part.accuracy[1][StudiedRule.MAJORITY].value == 1
    assert part.votes[3].tied[:2].all(), "each has one neighbour of each class"
    assert part.tied[3].value == 1


def test_collections_without_neighbours_have_no_verdict() -> None:
    """Two copies of one image, of two classes, leave each other out."""
    images = replace(clouds(2, classes=2), classes=np.array([0, 1]), copies=np.zeros(2, dtype=np.int64))
    for votes in studied(images).values():
        assert all((won == -1).all() for won in votes.verdicts.values())
        assert not votes.tied.any()


def test_one_k_without_noise_is_no_study() -> None:
    """Several, or noise, are one; the other figures then keep their k, or the default."""
    assert plan_study([5]) == (5, None)
    assert plan_study([5, 5]) == (5, None)
    k, options = plan_study([20, 1, 5, 5])
    assert options is not None
    assert (k, options.ks, options.noise) == (SHOWN, [1, 5, 20], [])
    k, options = plan_study([7], [20, 10])
    assert options is not None
    assert (k, options.ks, options.noise) == (7, [7], [0, 10, 20])
