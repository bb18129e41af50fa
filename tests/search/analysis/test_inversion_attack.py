"""Tests the attack on made vectors: its splits, its figures, and the comparison of trained and unseen."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lookalike_search.analysis.inversion import Attacker
from lookalike_search.analysis.inversion_attack import (
    FEWEST,
    AttackedImages,
    Group,
    _make_splits,
    attack,
)

RIDGE = [Attacker.RIDGE]
NAMES = ["ant", "bee", "cow", "dog", "eel"]


def make_attacked(count: int = 100, *, noise: float = 0.0, classes: int = 5, seed: int = 0) -> AttackedImages:
    """Returns images of few patterns whose vectors are a linear function of the pixels, and noise."""
    random = np.random.default_rng(seed)
    places = np.linspace(0, np.pi, 12)
    patterns = np.array(
        [np.outer(np.cos(i * places), np.cos(j * places)) for i in range(2) for j in range(3)]
    )
    mixed = np.einsum("ncp,pij->nijc", random.normal(size=(count, 3, 6)) * 30, patterns) + 128
    images = np.clip(mixed, 0, 255).astype(np.uint8)
    axes = random.normal(size=(images[0].size, 24))
    clean = images.reshape(count, -1) / 255 @ axes
    vectors = clean * (1 - noise) + noise * random.normal(size=clean.shape) * clean.std(axis=0)
    names = [NAMES[number % classes] if classes else None for number in range(count)]
    return AttackedImages(vectors=vectors.astype(np.float32), images=images, classes=names)


def test_trained_images_come_back_and_unseen_ones_less() -> None:
    """With noise on the vectors, the paired test finds the asymmetry between the same images."""
    found = attack(make_attacked(noise=0.6), attackers=RIDGE)
    rows = {row.group: row for row in found.rows}
    assert rows[Group.TRAINED].images == rows[Group.UNSEEN].images == 40
    assert rows[Group.TRAINED].candidates == 20
    assert rows[Group.TRAINED].first.value > rows[Group.UNSEEN].first.value
    [asymmetry] = found.asymmetries
    difference = rows[Group.TRAINED].first.value - rows[Group.UNSEEN].first.value
    assert asymmetry.difference.value == pytest.approx(difference)
    assert asymmetry.p < 0.05


def test_baselines_are_the_mean_the_nearest_and_the_original() -> None:
    """The mean image identifies exactly one of each fifth, the original itself every image."""
    found = attack(make_attacked(), attackers=RIDGE)
    rows = {row.group: row for row in found.rows}
    assert rows[Group.MEAN].first.value == pytest.approx(1 / 20)
    assert rows[Group.MEAN].in_ten.value == pytest.approx(10 / 20)
    assert rows[Group.REDUCED].first.value == rows[Group.REDUCED].ssim.value == 1
    assert rows[Group.UNSEEN].psnr.value > rows[Group.NEAREST].psnr.value > rows[Group.MEAN].psnr.value


def test_each_attacker_has_its_rows_and_examples() -> None:
    """Groups stand in their order; examples of trained and unseen images are the same images."""
    found = attack(make_attacked(60))
    groups = [(row.attacker, row.group) for row in found.rows]
    of_each = [Group.TRAINED, Group.UNSEEN, Group.UNSEEN_CLASSES]
    assert groups[:6] == [(attacker, group) for attacker in Attacker for group in of_each]
    assert [row.group for row in found.rows[6:]] == [Group.MEAN, Group.NEAREST, Group.REDUCED]
    examples = {group: [each.row for each in found.examples if each.group is group] for group in of_each}
    assert examples[Group.TRAINED] == examples[Group.UNSEEN]
    assert len(examples[Group.UNSEEN_CLASSES]) == 12
    assert all(set(each.reconstructions) == set(Attacker) for each in found.examples)


@settings(max_examples=40)
@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(lambda each: sum(each) >= FEWEST),
    unlabelled=st.integers(0, 20),
    seed=st.integers(0, 3),
)
def test_nothing_held_out_is_trained_on(counts: list[int], unlabelled: int, seed: int) -> None:
    """This holds for images and for classes; both fifths are disjoint and equally large."""
    classes = [f"c{number}" for number, count in enumerate(counts) for _ in range(count)]
    named: list[str | None] = [*classes, *[None] * unlabelled]
    splits = _make_splits(named, np.random.default_rng(seed))
    for split in splits.all:
        assert not set(split.training.tolist()) & set(split.held_out.tolist())
        assert len(set(split.held_out.tolist())) == len(split.held_out)
    first, second = splits.first.held_out.tolist(), splits.second.held_out.tolist()
    assert not set(first) & set(second)
    assert len(first) == len(second) == len(named) // 5
    if splits.without_classes is not None:
        trained = {named[row] for row in splits.without_classes.training.tolist()}
        held_out = {named[row] for row in splits.without_classes.held_out.tolist()}
        assert held_out == set(splits.unseen_classes)
        assert not trained & held_out
        assert None not in trained | held_out
        assert 2 * len(splits.without_classes.training) >= len(classes)


def test_fifths_are_stratified_by_class() -> None:
    """Of five classes of 20 images, each fifth holds four of each class."""
    classes = [name for name in NAMES for _ in range(20)]
    splits = _make_splits(classes, np.random.default_rng(0))
    for rows in (splits.first.held_out, splits.second.held_out):
        assert set(Counter(classes[row] for row in rows.tolist()).values()) == {4}


@pytest.mark.parametrize("classes", [0, 1])
def test_without_classes_there_is_no_row_for_unseen_ones(classes: int) -> None:
    """The result says so, and that no class is recognised; the recogniser is not called."""
    found = attack(make_attacked(40, classes=classes), attackers=RIDGE, recognise=refuse)
    assert Group.UNSEEN_CLASSES not in [row.group for row in found.rows]
    assert [text.split(":")[0] for text in found.missing] == [
        "unseen classes are left out",
        "no class is recognised",
    ]
    assert all(row.recognised is None for row in found.rows)


def refuse(images: np.ndarray, rows: np.ndarray) -> list[str | None]:
    """Fails, where no class should be recognised."""
    raise AssertionError


def test_recognised_classes_are_counted_over_the_sample() -> None:
    """A recogniser that always says one class is right for that class's share; it is asked once."""
    attacked, asked = make_attacked(), []

    def always_ant(images: np.ndarray, rows: np.ndarray) -> list[str | None]:
        asked.append((images, rows))
        return ["ant"] * len(rows)

    found = attack(attacked, attackers=RIDGE, recognise=always_ant, recognised=15)
    [(images, rows)] = asked
    assert images.shape == (len(rows), 12, 12, 3)
    assert [row.embedded for row in found.rows] == [15] * 6
    known = [row for row in found.rows if row.group is not Group.UNSEEN_CLASSES]
    share = np.mean([attacked.classes[row] == "ant" for row in rows[:15].tolist()])
    assert [row.recognised.value for row in known if row.recognised] == pytest.approx([share] * 5)


def test_only_some_groups_are_recognised() -> None:
    """The others have no figure, and rows keep their order."""
    found = attack(
        make_attacked(50),
        attackers=RIDGE,
        recognise=lambda _, rows: ["ant"] * len(rows),
        recognised_groups=[Group.UNSEEN, Group.REDUCED],
    )
    asked = [row.group for row in found.rows if row.recognised is not None]
    assert asked == [Group.UNSEEN, Group.REDUCED]
    assert [row.group for row in found.rows] == list(Group)


def test_the_means_are_those_of_each_image() -> None:
    """Each image's figure stands beside the mean, in the same order for other vectors."""
    one, other = (attack(make_attacked(noise=noise), attackers=RIDGE) for noise in (0.2, 0.7))
    for row, same in zip(one.rows, other.rows, strict=True):
        assert row.first_of_each.mean() == pytest.approx(row.first.value)
        assert row.in_ten_of_each.mean() == pytest.approx(row.in_ten.value)
        assert len(row.first_of_each) == len(same.first_of_each) == row.images


def test_the_same_seed_gives_the_same_figures() -> None:
    """Another seed holds other images out."""
    attacked = make_attacked(60, noise=0.5)
    first, again, other = (attack(attacked, seed=seed) for seed in (3, 3, 4))
    assert first.rows == again.rows
    assert first.rows != other.rows
