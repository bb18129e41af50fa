"""Divides images into those that a head is fitted to and those that it is measured on. Pure.

Which images are held out depends on their bytes, the seed and, if the head is fitted to classes, the number
of images of their class.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from lookalike_exporter.heads.metric_learning import FEWEST_IMAGES
from lookalike_exporter.heads.training_images import TrainingImages

HELD_OUT = 0.2
"""Share of the images that is held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The rows of the training images and of the held-out images."""

    training: Sequence[int]
    held_out: Sequence[int]


def split_images(images: TrainingImages, *, seed: int) -> Split:
    """Holds out a fifth of each class, but keeps at least two to train on; both sorted by hash."""
    rows_of: dict[str, list[int]] = {}
    for row in sorted(range(len(images.sha256)), key=lambda row: seeded_hash(images.sha256[row], seed)):
        rows_of.setdefault(images.classes[row], []).append(row)
    training, held_out = [], []
    for _, rows in sorted(rows_of.items()):
        kept = max(len(rows) - round(HELD_OUT * len(rows)), min(FEWEST_IMAGES, len(rows)))
        training += rows[:kept]
        held_out += rows[kept:]
    return Split(training=training, held_out=held_out)


def split_without_labels(images: TrainingImages, *, seed: int) -> Split:
    """Holds out a fifth of all images, whatever their class; both sorted by hash."""
    rows = sorted(range(len(images.sha256)), key=lambda row: seeded_hash(images.sha256[row], seed))
    kept = len(rows) - round(HELD_OUT * len(rows))
    return Split(training=rows[:kept], held_out=rows[kept:])


def seeded_hash(sha256: str, seed: int) -> str:
    """Returns the hash by which images are ordered; another seed holds out other images."""
    return hashlib.sha256(f"{seed}:{sha256}".encode()).hexdigest()
