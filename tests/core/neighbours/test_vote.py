"""Four rules of the vote, on examples worked by hand."""

import math

import pytest
from lookalike_core.neighbours.vote import TEMPERATURE, Verdict, VoteRule, needs_labelled_search, vote

CLASSES = ["cat", "dog", "dog", "cat", "", "fox", "cat", "dog"]
COSINE = [0.95, 0.90, 0.89, 0.60, 0.59, 0.58, 0.57, 0.50]
EUCLID = [1.0, 2.0, 2.5, 6.0, 6.5, 7.0, 7.5, 8.0]


def verdict(rule: VoteRule, *, k: int, euclid: bool = False) -> Verdict | None:
    """Returns the verdict on the neighbours above."""
    return vote(CLASSES, EUCLID if euclid else COSINE, rule=rule, k=k, higher_is_nearer=not euclid)


def test_the_majority_wins_and_ties_go_to_the_first_name() -> None:
    """Two of three are dogs; among four, six and seven cats and dogs tie."""
    assert verdict(VoteRule.MAJORITY, k=3) == Verdict(class_name="dog", share=2 / 3, voters=3)
    assert verdict(VoteRule.MAJORITY, k=4) == Verdict(class_name="cat", share=2 / 4, voters=4)
    assert verdict(VoteRule.MAJORITY, k=6) == Verdict(class_name="cat", share=3 / 6, voters=6)
    assert verdict(VoteRule.MAJORITY, k=7) == Verdict(class_name="cat", share=3 / 7, voters=7)


@pytest.mark.parametrize("euclid", [False, True])
def test_a_tie_goes_to_the_nearer_neighbours(euclid: bool) -> None:
    """Cat 0.95 and 0.60 (1 and 6) are further off on average than dog 0.90 and 0.89 (2 and 2.5)."""
    assert verdict(VoteRule.NEARER_TIES, k=4, euclid=euclid) == Verdict(
        class_name="dog", share=2 / 4, voters=4
    )
    assert verdict(VoteRule.NEARER_TIES, k=6, euclid=euclid) == Verdict(
        class_name="cat", share=3 / 6, voters=6
    )


@pytest.mark.parametrize(("euclid", "k", "winner"), [(False, 1, "cat"), (False, 2, "dog"), (True, 2, "dog")])
def test_the_class_with_the_nearest_own_neighbours_wins(euclid: bool, k: int, winner: str) -> None:
    """Of two: cat's are 0.95 and 0.60, dog's 0.90 and 0.89, though only one dog is among the two voters."""
    found = verdict(VoteRule.NEAREST_CLASS, k=k, euclid=euclid)
    assert found is not None
    assert found.class_name == winner
    assert found.share == 1 / k


def test_a_class_without_a_voter_cannot_win() -> None:
    """Its own nearest neighbours do not count."""
    found = vote(
        ["cat", "cat", "fox"], [0.9, 0.1, 0.8], rule=VoteRule.NEAREST_CLASS, k=2, higher_is_nearer=True
    )
    assert found == Verdict(class_name="cat", share=1.0, voters=2)


def test_votes_are_weighted_by_similarity() -> None:
    """By exp(s / 0.07): one near cat outweighs two dogs that are farther away."""
    rule, classes = VoteRule.WEIGHTED, ["cat", "dog", "dog"]
    found = vote(classes, [0.9, 0.8, 0.8], rule=rule, k=3, higher_is_nearer=True)
    cat, dogs = math.exp(0.9 / TEMPERATURE), 2 * math.exp(0.8 / TEMPERATURE)
    assert found is not None
    assert found.class_name == "cat"
    assert found.share == pytest.approx(cat / (cat + dogs), rel=1e-9)
    closer = vote(
        ["cat", "dog", "dog"], [0.9, 0.88, 0.88], rule=VoteRule.WEIGHTED, k=3, higher_is_nearer=True
    )
    assert closer is not None
    assert closer.class_name == "dog"


def test_weights_are_invariant_to_the_scale_of_distances() -> None:
    """Vectors twice as long have the same verdict."""
    answers = {
        vote(["cat", "dog"], [unit * 1.0, unit * 1.1], rule=VoteRule.WEIGHTED, k=2, higher_is_nearer=False)
        for unit in (1, 2, 1024)
    }
    (answer,) = answers
    share = math.exp(-1 / 1.1 / TEMPERATURE) / (math.exp(-1 / 1.1 / TEMPERATURE) + math.exp(-1 / TEMPERATURE))
    assert answer is not None
    assert (answer.class_name, answer.share) == ("cat", pytest.approx(share, rel=1e-9))


@pytest.mark.parametrize("rule", VoteRule)
def test_neighbours_without_a_class_do_not_vote(rule: VoteRule) -> None:
    """They do not count among the k; if none has a class there is no verdict."""
    found = vote(["", "cat", ""], [0.9, 0.5, 0.4], rule=rule, k=1, higher_is_nearer=True)
    assert found == Verdict(class_name="cat", share=1.0, voters=1)
    assert vote(["", ""], [0.9, 0.5], rule=rule, k=2, higher_is_nearer=True) is None
    assert vote([], [], rule=rule, k=2, higher_is_nearer=True) is None


def test_distances_of_zero_have_equal_weights() -> None:
    """All neighbours are duplicates; there is no division by zero."""
    found = vote(["cat", "cat"], [0.0, 0.0], rule=VoteRule.WEIGHTED, k=2, higher_is_nearer=False)
    assert found == Verdict(class_name="cat", share=1.0, voters=2)


@pytest.mark.parametrize(
    ("classes", "k", "expected"),
    [
        (["cat", "", "dog"], 2, False),
        (["cat", "", "dog"], 3, True),
        (["cat", None], 2, True),
        (["cat", "dog"], 3, False),
        ([], 3, False),
    ],
    ids=["enough", "one-short", "none", "too-few-all-labelled", "no-neighbours"],
)
def test_a_labelled_search_is_needed_where_neighbours_lack_a_class(
    classes: list[str | None], k: int, expected: bool
) -> None:
    """If all neighbours have a class, no further search is needed."""
    assert needs_labelled_search(classes, k=k) is expected
