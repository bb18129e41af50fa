"""Splits figures of an evaluation by the images and classes that a head was fitted to. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from lookalike_core.stores.points import Payload
from lookalike_core.text import nfc
from numpy.typing import NDArray

from lookalike_search.evaluation.bootstrap import Estimate, estimate, mean_of


class Part(StrEnum):
    """The role of an image when a head was fitted."""

    TRAINED = "trained"
    """A training image: its figures are too good."""
    HELD_OUT = "held-out"
    """A held-out image of a class that the head was fitted to."""
    UNSEEN = "unseen"
    """An image of another class."""
    NEW = "new"
    """An image that a head without labels was not fitted to; whether it saw the class is not known."""


MEANINGS = {
    Part.TRAINED: "training images of the head: these figures are too good",
    Part.HELD_OUT: "held-out images of the classes that the head was fitted to",
    Part.UNSEEN: "classes that the head was not fitted to",
    Part.NEW: "images that the head without labels was not fitted to",
}
"""The titles of parts; in a fusion an image is a training image if any of the heads was fitted to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadTraining:
    """What heads were fitted to: the SHA-256 of the `trained` images, and the names of the `classes`.

    `classes` is None if one of them was fitted without labels.
    """

    trained: frozenset[str]
    classes: frozenset[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFigures:
    """The figures of the queries of one part, and those that a perfect ranking would have."""

    part: Part
    images: int
    classes: int
    figures: Mapping[str, Estimate]
    best_possible: Mapping[str, float]


def split_figures(
    values: Mapping[str, NDArray[np.float64]],
    best: Mapping[str, NDArray[np.float64]],
    payloads: Sequence[Payload],
    *,
    training: HeadTraining,
    seed: int = 0,
) -> Iterator[PartFigures]:
    """Yields the figures of each part that has queries.

    `values` are those of all queries, float64 `[N]` by figure in the order of payloads, `best` those in a
    perfect ranking.
    """
    classes = None if training.classes is None else set(map(nfc, training.classes))
    of = np.array([_part(payload, training.trained, classes) for payload in payloads])
    for part in Part:
        own = of == part
        if own.any():
            names = {payload.class_name for payload, is_own in zip(payloads, own, strict=True) if is_own}
            yield PartFigures(
                part=part,
                images=int(own.sum()),
                classes=len(names),
                figures={figure: estimate(each[own], seed=seed) for figure, each in values.items()},
                best_possible={figure: mean_of(each[own]) for figure, each in best.items()},
            )


def _part(payload: Payload, trained: Collection[str], classes: Collection[str] | None) -> Part:
    if payload.sha256 in trained:
        return Part.TRAINED
    if classes is None:
        return Part.NEW
    return Part.HELD_OUT if payload.class_name in classes else Part.UNSEEN
