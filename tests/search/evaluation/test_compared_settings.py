"""Comparisons of settings, over the same queries among the same images."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.progress import Bar, shown_by
from lookalike_core.settings import Settings
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_search.evaluation.comparisons import Comparison
from lookalike_search.evaluation.plan import Plan
from lookalike_search.evaluation.runs import EvaluationOptions, Setting, evaluate_settings
from sole_bar import SoleBar

SETTINGS = Settings(home=Path("never-read"), provider="cpu")
Vectors = Mapping[str, np.ndarray]
Fill = Callable[..., str]


class Titles(SoleBar):
    """Records the titles of progress bars."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def __call__(self, title: str, *, unit: str, total: int | None) -> AbstractContextManager[Bar]:
        """Records the title."""
        self.titles.append(title)
        return super().__call__(title, unit=unit, total=total)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    """Returns an empty store."""
    return EmbeddedStore(tmp_path / "qdrant")


def clouds(count: int, seed: int, noise: float = 0.6) -> dict[str, np.ndarray]:
    """Makes images of three overlapping classes."""
    random = np.random.default_rng(seed)
    return {
        f"class{number % 3}/{number:03}.png": np.eye(3, 6)[number % 3] + random.normal(0, noise, 6)
        for number in range(count)
    }


def settings(
    store: EmbeddedStore,
    *names: str,
    pairs: bool = False,
    options: EvaluationOptions | None = None,
) -> list[Setting]:
    """Evaluates these collections."""
    plan = Plan(collections=names, pairs=[names] if pairs else [], rules=[FusionRule.RRF])
    return list(evaluate_settings(store, plan, options or EvaluationOptions(), settings=SETTINGS))


def gains(differences: list[Comparison]) -> dict[str, tuple[float, float, float]]:
    """Returns the differences by figure."""
    return {each.figure: (each.difference.value, each.difference.low, each.p) for each in differences}


def test_collections_are_compared_on_their_shared_images(store: EmbeddedStore, fill: Fill) -> None:
    """Images in only one collection change its figures but not the difference."""
    one = clouds(45, seed=1)
    shared, others = clouds(39, seed=2), clouds(60, seed=3)
    first, lean = fill(store, one), fill(store, shared)
    full = fill(store, others | shared, copies={key: f"x{key}" for key in others.keys() - shared.keys()})
    _, alone = settings(store, first, lean)
    _, among_more = settings(store, first, full)
    assert among_more.evaluation.figures != alone.evaluation.figures
    assert gains(list(among_more.differences)) == gains(list(alone.differences))
    for found in (*alone.differences, *among_more.differences):
        assert (found.images, found.is_partial) == (39, True)


def test_images_of_different_bytes_are_not_shared(store: EmbeddedStore, fill: Fill) -> None:
    """Equal paths do not make them the same image."""
    one, other = (
        fill(store, clouds(30, seed=1)),
        fill(store, clouds(30, seed=2), copies={"class0/000.png": "changed"}),
    )
    _, found = settings(store, one, other)
    assert {each.images for each in found.differences} == {29}


def test_collections_of_the_same_images_are_not_evaluated_again(store: EmbeddedStore, fill: Fill) -> None:
    """The difference is computed from the existing figures."""
    names, bars = [fill(store, clouds(30, seed=seed)) for seed in (1, 2)], Titles()
    with shown_by(bars):
        one, other = settings(store, *names)
    assert bars.titles == names
    found = gains(list(other.differences))["precision_at_1"][0]
    figures = (each.evaluation.figures["precision_at_1"].value for each in (other, one))
    assert found == pytest.approx(next(figures) - next(figures))
    assert not any(each.is_partial for each in other.differences)


def test_collections_sharing_one_image_are_not_compared(
    store: EmbeddedStore, fill: Fill, said: list[str]
) -> None:
    """A warning is logged."""
    one = clouds(12, seed=1)
    other = {f"{key}x": vector for key, vector in clouds(12, seed=2).items()}
    other["class0/000.png"] = np.ones(6)
    first, second = fill(store, one), fill(store, other)
    _, found = settings(store, first, second)
    assert found.differences == []
    (line,) = said
    assert line.startswith(f"{first} and {second}: not compared: the collections share 1 image")


@pytest.mark.parametrize("pairs", [False, True])
def test_near_duplicates_in_one_network_are_left_out_of_all(
    store: EmbeddedStore, fill: Fill, pairs: bool
) -> None:
    """Otherwise one network alone would find an image that the other and the fusion may not."""
    angles = {"a/1": 0, "a/2": 1, "b/1": 60, "b/2": 80}
    apart = angles | {"a/2": 25}
    vectors = [
        {
            f"{key}.png": np.array([np.cos(a), np.sin(a)])
            for key, a in zip(of, np.deg2rad(list(of.values())), strict=True)
        }
        for of in (angles, apart)
    ]
    names = [fill(store, each) for each in vectors]
    *_, found = settings(store, *names, pairs=pairs, options=EvaluationOptions(without_near=True))
    by_one = {
        each.one: each.difference.value for each in found.differences if each.figure == "precision_at_1"
    }
    assert by_one == dict.fromkeys(names if pairs else names[:1], 0)
    _, other, *_ = settings(store, *names, options=EvaluationOptions(without_near=True))
    assert other.evaluation.figures["precision_at_1"].value == 1, "alone it finds a/2 by a/1"
