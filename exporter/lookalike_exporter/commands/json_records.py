"""The records that `exporter ... --json` prints: builders return them, and the reference documents them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

from lookalike_core.models.model_manifest import ModelIdentity, ModelManifest

from lookalike_exporter.heads.fit import LeftOut
from lookalike_exporter.heads.metric_learning import Method
from lookalike_exporter.verify import Check


class Model(TypedDict):
    """A model that is here; its manifest's keys stand beside these."""

    schema: Literal[1]
    path: Path
    """Absolute path of the `.onnx` file."""


class Verification(TypedDict):
    """All checks of one model, in the order in which they were made."""

    schema: Literal[1]
    path: Path
    """Absolute path of the `.onnx` file."""
    failed: bool
    """Whether any check failed; the exit code is 1 then."""
    checks: Sequence[Check]
    """All checks, in order."""


class Split(TypedDict):
    """How many images of the collections a head was fitted to and measured on."""

    training: int
    """Images that the head was fitted to."""
    held_out: int
    """Images that it was measured on."""
    left_out: dict[LeftOut, int]
    """Images that were neither, by reason."""


class Candidate(TypedDict):
    """How a layer can be fitted."""

    method: Method
    """How the layer is fitted."""
    strength: float | None
    """Strength of the regularization; null where the method has none."""
    pull: float
    """Weight of the fitted directions; 1 is as much as the whole vector."""


class CandidateScore(Candidate):
    """A candidate and its R-precision among at most ten nearest training images, by cross-validation.

    Of R other images of a class, the share of right ones among the R nearest, or the ten if R is more.
    """

    seen: float
    """Of held-out images of classes in the training folds."""
    unseen: float | None
    """Of classes that were held out whole; null where there are too few classes."""


class BestFitFigures(TypedDict):
    """The figures that a perfect ranking would have: below 1 where classes are small."""

    precision_at_10: float
    precision_at_1: float
    mean_average_precision: float


class HeadFigures(TypedDict):
    """How good neighbours are, as means over the queries, by the figures of `search evaluate`."""

    precision_at_10: float
    precision_at_1: float
    mean_average_precision: float
    queries: int
    """Number of queries."""
    best_possible: BestFitFigures
    """The figures of a perfect ranking."""


class BeforeAndAfter(TypedDict):
    """The held-out images, each compared with the training images; null where none was held out."""

    before: HeadFigures | None
    """By the vectors of the network alone."""
    after: HeadFigures | None
    """By the vectors with the head."""


class FittedHead(TypedDict):
    """A head, and how it was chosen."""

    schema: Literal[1]
    head: str
    """Its name and 8 hex digits of its values."""
    path: Path
    """Absolute path of the head's `.npz` file."""
    model: str
    """Absolute path of the `.onnx` file with the head behind its network."""
    made: bool
    """False where the same head was there already."""
    base: ModelIdentity
    """The network that it belongs to."""
    dimension: int
    """Values of one vector behind it."""
    classes: list[str]
    """The classes that it was fitted to."""
    collections: list[str]
    """The collections whose vectors it was fitted to."""
    seed: int
    """The seed of the split."""
    split: Split
    """How the images were divided."""
    method: Candidate
    """The candidate that was taken."""
    candidates: list[CandidateScore]
    """All candidates that were tried."""
    held_out_against_training: BeforeAndAfter
    """How good neighbours are without and with the head."""


LINES = {
    "run": [(Model, ModelManifest)],
    "list": [(Model, ModelManifest)],
    "verify": [(Verification,)],
    "fit": [(FittedHead,)],
}
"""Subcommand -> the forms of a line; the keys of all records of one form stand side by side."""
