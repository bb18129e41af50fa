"""The random sample: uniform, and with the bound that is stated for it."""

import os
from pathlib import Path

import numpy as np
from lookalike_ingest.integrity.bounds import bound_wrong
from lookalike_ingest.integrity.collection_check import Drawn
from lookalike_ingest.integrity.stored_points import PresentPoint
from made_collections import payload_of

POINTS, SIZE, SEEDS = 120, 30, 800


def points() -> list[PresentPoint]:
    """Returns points whose files are not needed."""
    status = os.stat_result((0,) * 10)
    payloads = (payload_of(f"{number:03}.jpg") for number in range(POINTS))
    return [
        PresentPoint(id=each.id, payload=each, file=Path(each.path), status=status, has_other_size=False)
        for each in payloads
    ]


def draw(population: list[PresentPoint], seed: int, size: int = SIZE) -> list[str]:
    """Returns the paths of a sample."""
    drawn = Drawn(size, seed)
    for point in population:
        drawn.add(point)
    return [point.payload.path for point in drawn.points]


def test_every_point_is_in_as_many_samples_as_any_other() -> None:
    """Over 800 seeds each of 120 points is in a quarter of the samples, within five standard deviations."""
    population = points()
    drawn = [path for seed in range(SEEDS) for path in draw(population, seed)]
    _, counts = np.unique(drawn, return_counts=True)
    share = SIZE / POINTS
    assert len(counts) == POINTS
    assert np.abs(counts - SEEDS * share).max() < 5 * np.sqrt(SEEDS * share * (1 - share))


def test_samples_have_the_bound_that_is_stated() -> None:
    """Of 120 points 12 are wrong: in at most 5 % of the samples the bound is below that."""
    population = points()
    wrong = {point.payload.path for point in population[::10]}
    bounds = [bound_wrong(len(wrong.intersection(draw(population, s))), SIZE, POINTS) for s in range(SEEDS)]
    assert np.mean(np.array(bounds) < len(wrong)) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / SEEDS)


def test_the_order_of_the_points_does_not_matter() -> None:
    """Stores return them in any order."""
    population = points()
    assert draw(population, 7) == draw(population[::-1], 7) == sorted(draw(population, 7))
    assert len(draw(population, 7, size=500)) == POINTS
    assert draw(population, 7, size=0) == []
