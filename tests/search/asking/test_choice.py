"""Laws of choosing hits from a ranking, whatever the floors and groups are."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lookalike_core.neighbours.diversity import pool_size
from lookalike_core.stores.points import Payload
from lookalike_search.asking.choice import (
    DEEPEST,
    ChosenHits,
    HitChoice,
    OnePer,
    Passing,
    Ranked,
    arrange_diversely,
    choose_hits,
    group_of,
)
from made_collections import payload_of

DEPTH = 300
"""Images of a ranking: more than a pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An image of a ranking."""

    payload: Payload
    score: float
    vector: tuple[float, ...]


def images(seed: int, count: int) -> list[Hit]:
    """Returns a ranking of images of up to six classes or none, in folders below these."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count, 3))
    vectors = vectors[np.argsort(-vectors[:, 0] / np.linalg.norm(vectors, axis=1), kind="stable")]
    names = random.integers(0, 7, size=(count, 2))
    return [
        Hit(
            payload=payload_of(f"{name}/{folder}/{place}.png", class_name=str(name) if name else None),
            score=float(vector[0] / np.linalg.norm(vector)),
            vector=tuple(vector.tolist()),
        )
        for place, (vector, (name, folder)) in enumerate(zip(vectors, names, strict=True))
    ]


def choose(
    hits: Sequence[Hit], choice: HitChoice, count: int, floor: float = -2.0, *, asked: list[int] | None = None
) -> ChosenHits[Hit]:
    """Chooses from a ranking; `asked` gets the depth of each search."""

    def find(depth: int) -> Sequence[Hit]:
        if asked is not None:
            asked.append(depth)
        return hits[:depth]

    def arrange(found: Sequence[Hit], wanted: int) -> Sequence[Hit]:
        return arrange_diversely(
            found,
            wanted,
            diversity=choice.diverse,
            score=lambda hit: hit.score,
            vectors_of=lambda some: [np.array([hit.vector for hit in some]).reshape(-1, 3)],
            queries=[np.array([1.0, 0.0, 0.0])],
        )

    def count_classes() -> int:
        return len({group_of(hit.payload, OnePer.CLASS) for hit in hits})

    ranked = Ranked(
        find=find,
        payload=lambda hit: hit.payload,
        passing=lambda found: Passing(
            passes=[hit.score >= floor for hit in found],
            is_complete=bool(found) and found[-1].score < floor,
        ),
        arrange=arrange,
        count_classes=count_classes,
    )
    return choose_hits(ranked, choice, count)


choices = st.builds(
    HitChoice,
    one_per=st.sampled_from([None, *OnePer]),
    diverse=st.sampled_from([0.0, 0.3, 1.0]),
)
rankings = st.builds(images, st.integers(0, 99), st.integers(0, DEPTH))
floors = st.sampled_from([-2.0, -0.5, 0.5, 0.9, 2.0])


@given(hits=rankings, choice=choices, floor=floors, sizes=st.tuples(st.integers(1, 15), st.integers(1, 15)))
def test_pages_of_a_choice_are_parts_of_the_longer_list(
    hits: list[Hit], choice: HitChoice, floor: float, sizes: tuple[int, int]
) -> None:
    """Whatever is chosen, the first page and the one behind it are the list of both."""
    first, second = sizes
    whole = choose(hits, choice, first + second, floor).shown[: first + second]
    pages = [
        choose(hits, choice, end, floor).page(start, end)[0]
        for start, end in ((0, first), (first, first + second))
    ]
    assert [*pages[0], *pages[1]] == whole


@given(hits=rankings, choice=choices, floor=floors, count=st.integers(1, 20))
def test_shown_hits_are_above_the_floor_and_of_groups_of_their_own(
    hits: list[Hit], choice: HitChoice, floor: float, count: int
) -> None:
    """Each is the best of its group; those below the floor are counted apart."""
    chosen = choose(hits, choice, count, floor)
    assert all(hit.score >= floor for hit in chosen.shown)
    assert all(hit.score < floor for hit in chosen.below)
    if choice.one_per is not None:
        groups = [group_of(hit.payload, choice.one_per) for hit in [*chosen.shown, *chosen.below]]
        assert len(set(groups)) == len(groups)
        for hit, group in zip(chosen.shown, groups, strict=False):
            best = next(each for each in hits if group_of(each.payload, choice.one_per) == group)
            assert hit is best


@given(hits=rankings, one_per=st.sampled_from(OnePer), floor=floors, count=st.integers(1, 20))
def test_there_are_as_many_hits_as_groups_or_as_are_wanted(
    hits: list[Hit], one_per: OnePer, floor: float, count: int
) -> None:
    """Deeper ranks fill the answer up, and shown hits keep their order."""
    chosen = choose(hits, HitChoice(one_per=one_per), count, floor).shown
    there = {group_of(hit.payload, one_per) for hit in hits if hit.score >= floor}
    assert len(chosen[:count]) == min(count, len(there))
    assert all(one.score >= other.score for one, other in pairwise(chosen))


@given(hits=rankings, floor=floors, count=st.integers(1, 20), diverse=st.floats(0.01, 1))
def test_diverse_hits_come_from_the_pool(hits: list[Hit], floor: float, count: int, diverse: float) -> None:
    """The nearest is the first of them; a diversity of 0 keeps the order of all."""
    above = [hit for hit in hits if hit.score >= floor]
    shown = choose(hits, HitChoice(diverse=diverse), count, floor).shown
    pool = [id(hit) for hit in above[: pool_size(count)]]
    assert {id(hit) for hit in shown} <= set(pool)
    assert shown[:1] == above[:1]
    assert choose(hits, HitChoice(diverse=0.0), count, floor).shown[:count] == above[:count]


def test_a_ranking_is_not_searched_deeper_than_the_last_class() -> None:
    """Once each class has its hit, no further one can be shown."""
    hits, asked = images(1, DEPTH), []
    labelled = [hit for hit in hits if hit.payload.class_name]
    chosen = choose(labelled, HitChoice(one_per=OnePer.CLASS), 40, asked=asked)
    assert (len(chosen.shown), asked) == (6, [40])


def test_a_ranking_is_not_searched_below_the_floor() -> None:
    """A search whose last hit is below the floor is the last one."""
    asked: list[int] = []
    choose(images(1, DEPTH), HitChoice(one_per=OnePer.FOLDER, diverse=0.5), 10, 0.9, asked=asked)
    assert asked == [100]


def test_the_search_for_further_folders_ends() -> None:
    """Where all of many images are in one, no longer list finds more than a shorter one."""
    hits, asked = images(1, 1) * (2 * DEEPEST), []
    for count in (10, DEEPEST + 10):
        chosen = choose(hits, HitChoice(one_per=OnePer.FOLDER), count, asked=asked)
        assert (len(chosen.shown), asked[-1]) == (1, DEEPEST)


@pytest.mark.parametrize(
    ("one_per", "groups"), [(OnePer.CLASS, ["cat", "cat", ("data", "3.png"), ("data", "4.png")])]
)
def test_an_image_without_a_class_is_a_class_of_its_own(one_per: OnePer, groups: list[object]) -> None:
    """Two images of unknown classes may be of two."""
    names = {"cat/1.png": "cat", "cat/2.png": "cat", "3.png": None, "4.png": ""}
    found = [group_of(payload_of(path, class_name=name), one_per) for path, name in names.items()]
    assert found == groups


def test_a_folder_is_the_one_that_holds_the_file() -> None:
    """The root of a dataset is one, too; folders of two datasets are two."""
    places = [("data", "a/b/1.png"), ("data", "a/2.png"), ("data", "3.png"), ("more", "a/2.png")]
    found = [group_of(payload_of(path, dataset=dataset), OnePer.FOLDER) for dataset, path in places]
    assert found == [("data", "a/b"), ("data", "a"), ("data", ""), ("more", "a")]


def test_hits_behind_the_pool_follow_in_their_order() -> None:
    """Of 1,010 hits the first 1,000 are reordered."""
    hits = images(3, 1_010)
    shown = choose(hits, HitChoice(diverse=0.5), 1_010).shown
    assert shown[1_000:] == hits[1_000:]
    assert sorted(shown[:1_000], key=lambda hit: -hit.score) == hits[:1_000]
    assert shown[:1_000] != hits[:1_000]
